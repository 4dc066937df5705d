"""A stage for the operator: controllers and kubelet in a few lines, scripted counters, a fake clock."""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from onguard import contract
from onguard.counts import Counts, Epoch, Report, to_wire
from onguard.profile import Feature, Numeric, Profile, encode_profile
from onguard.profile import Kind as FeatureKind
from onguard.sidecar_config import decode_config
from onguard_operator.cluster import Cluster
from onguard_operator.lease import Lease
from onguard_operator.scheduler import Key
from onguard_operator.scrape import NotReadable, Reading, Value
from onguard_operator.settings import Settings
from onguard_operator.store import Store
from onguard_operator.telemetry import Telemetry
from onguard_operator.visit import Tools, Visitor
from tests.integration.operator.fake_api import FakeApi, Object, serve, utc

SPACE, OURS, NAME = "shop", "onguard", "churn"
IMAGE = "registry.test/sidecar:1"
START = 1_790_000_000.0 - 1_790_000_000.0 % 60


@dataclass
class Traffic:
    """What one pod serves: requests a second, share of bad ones, connections per epoch."""

    rate: float = 20.0
    bad: float = 0.0
    connections: int = 10
    shift: int = 0
    """Bins by which the feature is moved to the right."""
    missing: float = 0.0


def make_profile() -> Profile:
    """A reference with one numeric feature in ten bins, whose limits are tight."""
    edges, counts = tuple(float(10 * i) for i in range(1, 10)), (5000,) * 10 + (0,) * 4
    numeric = Numeric(minimum=0.0, maximum=100.0, mean=50.0, sd=29.0)
    age = Feature(name="age", kind=FeatureKind.NUMERIC, edges=edges, counts=counts, numeric=numeric)
    return Profile(rows=50_000, features=(age,))


PROFILE = make_profile()


@dataclass
class PodSim:
    """Counters of one pod, made up epoch by epoch."""

    boot: str
    epoch: int
    epochs: list[Epoch] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=lambda: {"inference": 0, "analysed": 0})
    counts: Counts = field(default_factory=lambda: Counts.zero(PROFILE))

    def run_until(self, epoch_now: int, traffic: Traffic) -> None:
        """Serve closed epochs up to ``epoch_now``."""
        while self.epoch < epoch_now:
            requests = round(traffic.rate * contract.EPOCH_S)
            errors = round(requests * traffic.bad)
            share = round(traffic.bad * traffic.connections * contract.UNIT)
            self.epochs.append(Epoch(self.epoch, requests, errors, (0, 0, 0, 0), traffic.connections, share, (0,) * 4))
            self.ledger["inference"] += requests
            self.ledger["analysed"] += requests
            self.counts = self.counts + counted(requests, traffic)
            self.epoch += 1


def counted(requests: int, traffic: Traffic) -> Counts:
    """Rows spread evenly over the bins, moved and thinned as the script says."""
    missing = round(requests * traffic.missing)
    rows = np.bincount(np.arange(requests - missing) % 10, minlength=10)
    moved = np.concatenate([np.zeros(traffic.shift, np.int64), rows[: 10 - traffic.shift]])
    moved[-1] += rows[10 - traffic.shift :].sum()
    bins = np.concatenate([moved, [missing, 0, 0, 0]]).astype(np.int64)
    unit = contract.UNIT
    return replace(Counts.zero(PROFILE), rows=requests, units=requests * unit, bins=bins, unit_bins=bins * unit)


class ScriptedScraper:
    """Answers for pods as their sidecars would."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage

    async def read(self, pods: Sequence[Object], token: str, since: Mapping[str, int]) -> Mapping[str, Reading]:
        """Read scripted counters."""
        return {pod["metadata"]["uid"]: self._stage.reading(pod, since[pod["metadata"]["uid"]]) for pod in pods}


@dataclass
class Stage:
    """Everything around the operator."""

    folder: Path
    now: float = START
    traffic: dict[str, Traffic] = field(default_factory=dict)
    """By the value of VERSION in the pod's environment."""
    unreadable: set[str] = field(default_factory=set)
    """Versions whose pods can't be read."""
    broken: set[str] = field(default_factory=set)
    """Versions whose container crash-loops."""
    image_ids: dict[str, str] = field(default_factory=dict)
    """What the kubelet says of the image that it runs, by version."""
    is_gate_up: bool = True
    sims: dict[str, PodSim] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.api = FakeApi(clock=lambda: utc(self.now))
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

    def release(self, version: str, replicas: int = 2) -> None:
        """Apply a release of the model."""
        old = self.api.find("deployments", SPACE, NAME) or {}
        container = {
            "name": "model",
            "image": "model:1",
            "env": [{"name": "VERSION", "value": version}],
            "ports": [{"name": "http", "containerPort": 8080}],
        }
        template = {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [container]}}
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

    # --- controllers and kubelet ---------------------------------------------------------------------------------
    def settle(self) -> None:
        """Let the Deployment controller, the ReplicaSet controller and the kubelet finish what they would do."""
        target = self.api.find("deployments", SPACE, NAME)
        if target is not None:
            self._roll(target)
        for owner in self.api.all("replicasets", SPACE):
            self._pods_of(owner)
        self._slices()

    def _roll(self, target: Object) -> None:
        template = target["spec"]["template"]
        mark = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:8]
        stays = "crash" if version_of(template) in self.broken else ""
        for owner in self.api.all("replicasets", SPACE):
            is_new = owner["metadata"]["labels"].get(contract.LABEL_POD_TEMPLATE_HASH) == mark
            is_ours = contract.LABEL_ARM in owner["metadata"]["labels"]
            if not is_ours and not is_new and not stays:
                self.api.put({**owner, "spec": {**owner["spec"], "replicas": 0}})
        labels = {**template["metadata"]["labels"], contract.LABEL_POD_TEMPLATE_HASH: mark}
        meta = {"name": f"{NAME}-{mark}", "namespace": SPACE, "labels": labels, "ownerReferences": [owner_ref(target)]}
        spec = {
            "replicas": 1 if stays else target["spec"]["replicas"],
            "selector": {"matchLabels": labels},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        }
        self.api.put({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": spec})
        n = target["spec"]["replicas"]
        done = {"updatedReplicas": n, "replicas": n, "availableReplicas": n}
        generation = self.api.find("deployments", SPACE, NAME)["metadata"]["generation"]
        status = {
            "observedGeneration": generation,
            **(done if not stays else {"updatedReplicas": 1, "replicas": n + 1}),
        }
        self.api.put({**target, "status": status})

    def _pods_of(self, owner: Object) -> None:
        pods = [
            p
            for p in self.api.all("pods", SPACE)
            if p["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
        ]
        for pod in pods[owner["spec"]["replicas"] :]:
            self.api.delete(next(p for p, o in self.api.objects.items() if o is pod), {})
        for number in range(len(pods), owner["spec"]["replicas"]):
            self._start_pod(owner, number)

    def _start_pod(self, owner: Object, number: int) -> None:
        template = owner["spec"]["template"]
        annotations = dict(template["metadata"].get("annotations", {}))
        if self.is_gate_up:
            annotations[contract.ANNOTATION_INJECTION] = contract.INJECTION_DONE
        crashes = version_of(template) in self.broken
        state = {"waiting": {"reason": "CrashLoopBackOff"}} if crashes else {"running": {}}
        ready = {"type": "Ready", "status": "False" if crashes else "True", "lastTransitionTime": self.stamp()}
        self.api.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{owner['metadata']['name']}-{number}",
                    "namespace": SPACE,
                    "labels": template["metadata"]["labels"],
                    "annotations": annotations,
                    "ownerReferences": [owner_ref(owner)],
                },
                "spec": template["spec"],
                "status": {
                    "phase": "Running",
                    "podIP": "10.1.0.1",
                    "conditions": [ready],
                    "containerStatuses": [
                        {
                            "name": "model",
                            "state": state,
                            "restartCount": 3 if crashes else 0,
                            "imageID": self.image_ids.get(version_of(template), ""),
                        }
                    ],
                    "initContainerStatuses": [
                        {"name": contract.CONTAINER_WIRE, "started": True, "state": {"running": {}}}
                    ],
                },
            }
        )

    def _slices(self) -> None:
        ready = [p for p in self.api.all("pods", SPACE) if p["status"]["conditions"][0]["status"] == "True"]
        injected = [p for p in ready if contract.ANNOTATION_INJECTION in p["metadata"]["annotations"]]
        for name, port, pods in (
            ("a", contract.PORT_WIRE, injected),
            ("b", 8080, [p for p in ready if p not in injected]),
        ):
            meta = {"name": f"{NAME}-{name}", "namespace": SPACE, "labels": {"kubernetes.io/service-name": NAME}}
            ends = [{"targetRef": {"uid": p["metadata"]["uid"]}, "conditions": {"ready": True}} for p in pods]
            self.api.put(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": meta,
                    "ports": [{"port": port}],
                    "endpoints": ends,
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
        sim.run_until(epoch_now, self.traffic.get(version, Traffic()))
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

    # --- time ----------------------------------------------------------------------------------------------------
    def stamp(self) -> str:
        """The time as the API writes it."""
        return utc(self.now).strftime("%Y-%m-%dT%H:%M:%SZ")

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


def version_of(item: Object) -> str:
    """VERSION in the environment of a pod or a template."""
    return next(v["value"] for v in item["spec"]["containers"][0]["env"] if v["name"] == "VERSION")


def owner_ref(owner: Object) -> Object:
    """Controller reference."""
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def utc_seconds(stamp: str) -> float:
    """Unix time of an API time stamp."""
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()
