"""A stage for the operator: controllers and kubelet in a few lines, scripted counters, a fake clock."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from onguard import contract
from onguard.counts import Report, to_wire
from onguard.profile import encode_profile
from onguard.sidecar_config import decode_config
from onguard_operator.cluster import Cluster
from onguard_operator.lease import Lease
from onguard_operator.scheduler import Key
from onguard_operator.scrape import NotReadable, Reading, Value
from onguard_operator.settings import Settings
from onguard_operator.store import Store
from onguard_operator.telemetry import Telemetry
from onguard_operator.visit import Tools, Visitor
from tests.integration.operator.controllers import NAME, OURS, SPACE, START, Controllers, version_of
from tests.integration.operator.fake_api import Object, serve, utc
from tests.integration.operator.sims import PROFILE, PodSim, Traffic

SETTINGS = "churn-settings"
IMAGE = "registry.test/sidecar:1"
__all__ = ["IMAGE", "NAME", "OURS", "PROFILE", "SETTINGS", "SPACE", "START", "ScriptedScraper", "Stage", "Traffic"]


class ScriptedScraper:
    """Answers for pods as their sidecars would."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage

    async def read(self, pods: Sequence[Object], token: str, since: Mapping[str, int]) -> Mapping[str, Reading]:
        """Read scripted counters."""
        return {pod["metadata"]["uid"]: self._stage.reading(pod, since[pod["metadata"]["uid"]]) for pod in pods}


@dataclass
class Stage(Controllers):
    """Everything around the operator."""

    traffic: dict[str, Traffic] = field(default_factory=dict)
    """By the value of VERSION in the pod's environment; with settings by ``version/content``."""
    unreadable: set[str] = field(default_factory=set)
    """Versions whose pods can't be read."""
    sims: dict[str, PodSim] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        super().__post_init__()
        (self.folder / "key").write_bytes(b"k" * 32)

    async def open(self) -> None:
        """Start the API server and the first operator."""
        self.cluster: Cluster = await self.stack.enter_async_context(serve(self.api))
        self.api.put(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": SPACE, "labels": {contract.LABEL_INJECT: "enabled"}},
            }
        )
        gate = {"name": "gate", "namespace": OURS, "labels": {"app.kubernetes.io/component": "gate"}}
        self.api.put(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": gate,
                "endpoints": [{"conditions": {"ready": True}}],
            }
        )
        service = {"selector": {"app": NAME}, "clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": "http"}]}
        self.api.put(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME, "namespace": SPACE}, "spec": service}
        )
        await self.restart()

    async def close(self) -> None:
        """End everything."""
        await self.stack.aclose()

    def snapshot(self) -> Any:
        """All there is, to come back to."""
        kept = (self.api.objects, self.sims, self.now, self.traffic, self.broken)
        return copy.deepcopy(kept)

    async def load(self, kept: Any) -> None:
        """Come back to a snapshot, with a new operator."""
        self.api.objects, self.sims, self.now, self.traffic, self.broken = copy.deepcopy(kept)
        self.api.writes_until_outage = None
        self.api.writes.clear()
        await self.restart()

    async def restart(self) -> None:
        """A new operator process: nothing in memory."""
        settings = Settings(OURS, "operator-0", IMAGE, self.folder / "key")
        lease = Lease(self.cluster, OURS, "operator-0", monotonic=lambda: self.now, clock=lambda: utc(self.now))
        self.lease = lease
        self.tools = Tools(
            cluster=self.cluster,
            store=Store(self.cluster, OURS),
            scraper=ScriptedScraper(self),  # type: ignore[arg-type]  # same method, scripted
            lease=lease,
            telemetry=Telemetry(CollectorRegistry()),
            settings=settings,
            clock=lambda: utc(self.now),
        )
        self.visitor = Visitor(self.tools)

    # --- what people do ----------------------------------------------------------------------------------------
    def guard(self, **spec: Any) -> Object:
        """Apply the ModelDeployment."""
        body = {"targetRef": {"name": NAME}, "objectives": {"availability": {}, "errors": {"below": "1%"}}, **spec}
        meta = {"name": NAME, "namespace": SPACE}
        return self.api.put(
            {"apiVersion": contract.API_VERSION, "kind": contract.MODEL_DEPLOYMENT, "metadata": meta, "spec": body}
        )

    def put_reference(self) -> None:
        """Apply the reference and the training."""
        meta = {"name": "churn-profile", "namespace": SPACE}
        data = {"profile.json": encode_profile(PROFILE).decode()}
        self.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
        pod = {"containers": [{"name": "train", "image": "train:1"}], "restartPolicy": "Never"}
        job = {"spec": {"template": {"spec": pod}}}
        cron = {"name": "churn-train", "namespace": SPACE}
        self.api.put({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": cron, "spec": {"jobTemplate": job}})

    def alert(self, starts_at: str) -> None:
        """What the gate writes for an alert of Alertmanager."""
        mdep = self.api.find("modeldeployments", SPACE, NAME)
        spec = {
            "modelDeployment": {"name": NAME, "uid": mdep["metadata"]["uid"]},
            "cause": "alert",
            "action": "Rollback",
            "mode": "Automatic",
            "decidedAt": self.stamp(),
            "trigger": {"alert": "Drop", "fingerprint": "f", "startsAt": starts_at},
        }
        meta = {"name": f"{NAME}-alert", "namespace": SPACE, "labels": {contract.LABEL_MODEL_DEPLOYMENT: NAME}}
        self.api.put(
            {
                "apiVersion": contract.API_VERSION,
                "kind": "Decision",
                "metadata": meta,
                "spec": spec,
                "status": {"phase": "Requested"},
            }
        )

    def put_settings(self, content: str, name: str = SETTINGS) -> None:
        """Apply the ConfigMap that a release with settings mounts."""
        meta = {"name": name, "namespace": SPACE}
        self.api.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"scale": content}})

    def release(self, version: str, replicas: int = 2, *, settings: str = "") -> None:
        """Apply a release of the model; ``settings`` names a ConfigMap that it mounts."""
        old = self.api.find("deployments", SPACE, NAME) or {}
        container = {
            "name": "model",
            "image": "model:1",
            "env": [{"name": "VERSION", "value": version}],
            "ports": [{"name": "http", "containerPort": 8080}],
        }
        template: Object = {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [container]}}
        if settings:
            template["spec"]["volumes"] = [{"name": "settings", "configMap": {"name": settings}}]
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": NAME}}, "template": template}
        managed = [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}]
        meta = {"name": NAME, "namespace": SPACE, "managedFields": managed}
        self.api.put(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": spec,
                "status": old.get("status", {}),
            }
        )

    # --- sidecars ------------------------------------------------------------------------------------------------
    def reading(self, pod: Object, since: int) -> Reading:
        """What /counts of the pod says now."""
        version = version_of(pod)
        if version in self.unreadable:
            return NotReadable("TimedOut")
        epoch_now = int(self.now // contract.EPOCH_S)
        born = int(utc_seconds(pod["metadata"]["creationTimestamp"]) // contract.EPOCH_S)
        sim = self.sims.setdefault(pod["metadata"]["uid"], PodSim(boot=f"w-{pod['metadata']['uid']}", epoch=born))
        sim.run_until(epoch_now, self.traffic.get(self._behaviour(pod), Traffic()))
        config = self.api.find("configmaps", SPACE, f"{NAME}-onguard")
        return Value(
            Report(
                sidecar_version="1",
                wire_boot=sim.boot,
                analyst_boot=sim.boot,
                model=NAME,
                revision="",
                arm="candidate",
                objectives_hash=decode_config(config["data"]["sidecar.json"].encode()).objectives_hash,
                epoch_now=epoch_now,
                epochs=tuple(e for e in sim.epochs[-contract.EPOCHS_SERVED :] if e.id > since),
                ledger=dict(sim.ledger),
                profile_hash=PROFILE.hash,
                counts=to_wire(sim.counts),
            )
        )

    def _behaviour(self, pod: Object) -> str:
        """What the pod does depends on its version and, at once, on the settings that it mounts."""
        mounted = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes", ())]
        contents = [(self.api.find("configmaps", SPACE, name) or {"data": {"scale": "gone"}}) for name in mounted]
        return "/".join([version_of(pod), *(content["data"]["scale"] for content in contents)])

    # --- time ----------------------------------------------------------------------------------------------------
    async def visit(self) -> None:
        """One visit now."""
        await self.lease.renew()
        await self.visitor.visit(Key(SPACE, NAME))

    async def run(self, seconds: float) -> None:
        """Visits every 15 s, the cluster settling in between."""
        end = self.now + seconds
        while self.now < end:
            self.settle()
            await self.visit()
            self.now += contract.SCRAPE_S
        self.settle()

    # --- looking -------------------------------------------------------------------------------------------------
    @property
    def status(self) -> Object:
        """Status of the ModelDeployment."""
        return self.api.find("modeldeployments", SPACE, NAME).get("status", {})

    def condition(self, kind: str) -> Object:
        """One condition."""
        return next((c for c in self.status.get("conditions", ()) if c["type"] == kind), {})

    def decisions(self, action: str | None = None) -> list[Object]:
        """Decisions, all or of one action."""
        return [d for d in self.api.all("decisions", SPACE) if action in (None, d["spec"]["action"])]

    @property
    def version(self) -> str:
        """Version that the target runs."""
        return version_of(self.api.find("deployments", SPACE, NAME)["spec"]["template"])


def utc_seconds(stamp: str) -> float:
    """Unix time of an API time stamp."""
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()
