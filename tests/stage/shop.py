"""A namespace in which the sample model is served and guarded: what tests and the demo do to it and see of it."""

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Any, Final

from onguard import contract
from tests.models.load import Background, Plan
from tests.models.traffic import Mix
from tests.stage import objects
from tests.stage.kube import Kube, Object, StageError, wait_for

NAME: Final = "churn"
QUICK_RELEASE: Final = {"watch": "10m", "bake": {"for": "30s", "requests": 200}}
"""A release bakes in half a minute, so that a test need not wait for an hour."""


class Shop:
    """One namespace."""

    def __init__(self, kube: Kube, space: str, profile: str) -> None:
        self.kube, self.space, self._profile = kube, space, profile

    # --- doing -----------------------------------------------------------------------------------------------
    def open(self, **labels: str) -> None:
        """Make the namespace with the right to act in it, the reference, the retraining and the Service."""
        self.kube.apply(objects.namespace(self.space, **labels))
        parts = (objects.leave_to_act, objects.cron_job, objects.service)
        self.kube.apply(objects.profile_map(self.space, self._profile), *(part(self.space) for part in parts))

    def serve(self, *, replicas: int = 2, **environment: str) -> None:
        """Apply the model as this release and wait until its pods are Ready."""
        self.release(replicas=replicas, **environment)
        self.kube.kubectl("rollout", "status", "-n", self.space, f"deployment/{NAME}", "--timeout=120s", timeout_s=130)
        self.wait_answers()

    def release(self, *, replicas: int = 2, **environment: str) -> None:
        """Apply the model as this release, as a person or a pipeline does, and do not wait."""
        self.kube.apply(objects.deployment(self.space, environment, replicas=replicas))

    def guard(self, **spec: Any) -> None:
        """Apply the ModelDeployment and wait until the operator has made the sidecar's configuration."""
        self.kube.apply(objects.model_deployment(self.space, **spec))
        wait_for(
            "the sidecar's ConfigMap", lambda: self.kube.get("configmap", f"{NAME}-onguard", self.space), timeout_s=45
        )

    def stand(self, *, replicas: int = 2, **spec: Any) -> None:
        """Guard, serve, and wait until the status says that traffic is guarded."""
        self.guard(**spec)
        self.serve(replicas=replicas)
        self.wait_condition(contract.CONDITION_TRAFFIC_GUARDED, "True")

    def load(self, *, rate: float = 50.0, connections: int = 10, mix: Mix | None = None, **more: Any) -> Background:
        """Traffic to the Service; use it with ``with``."""
        plan = Plan(url=self.url(), model=NAME, rate=rate, connections=connections, mix=mix or Mix(), **more)
        return Background(plan)

    def approve(self, decision: str) -> str:
        """Approve a Decision as a person would, by their own name as the API server knows it; return the name."""
        me = json.loads(self.kube.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
        mark = f"{contract.ANNOTATION_APPROVE}={me}"
        self.kube.kubectl("annotate", "decision", decision, "-n", self.space, mark)
        return str(me)

    # --- seeing ----------------------------------------------------------------------------------------------
    def url(self) -> str:
        """Address of the Service as the host reaches it."""
        service = self.kube.get("service", NAME, self.space)
        if service is None:
            raise StageError(f"no Service {NAME} in {self.space}")
        return f"http://{service['spec']['clusterIP']}:80"

    def pods(self) -> Sequence[Object]:
        """The Deployment's pods, without those that are going."""
        return [pod for pod in self.all_pods() if contract.LABEL_ARM not in pod["metadata"]["labels"]]

    def all_pods(self) -> Sequence[Object]:
        """Every pod behind the Service that is not going, the baseline arm's too."""
        pods = self.kube.list("pods", self.space, "app=churn")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def model_deployment(self) -> Object:
        """The ModelDeployment as it stands."""
        return self.kube.get("modeldeployment", NAME, self.space) or {}

    def condition(self, kind: str) -> Object:
        """A condition of the ModelDeployment."""
        return objects.condition(self.model_deployment(), kind)

    def decisions(self, **spec: str) -> list[Object]:
        """Decisions whose spec has these values, oldest first."""
        found = self.kube.list("decisions", self.space)
        return [d for d in found if all(d["spec"].get(key) == value for key, value in spec.items())]

    def jobs(self) -> Sequence[Object]:
        """Retraining Jobs that OnGuard started."""
        return self.kube.list("jobs", self.space, f"{contract.LABEL_MODEL_DEPLOYMENT}={NAME}")

    def standings(self) -> dict[str, str]:
        """State of each revision that the status names."""
        revisions = self.model_deployment().get("status", {}).get("revisions", ())
        return {entry["revision"]: entry.get("state", "") for entry in revisions}

    def versions(self) -> set[tuple[str, str]]:
        """(VERSION, BUG) of the Deployment's pods that are Ready."""
        ready = [pod for pod in self.pods() if objects.is_ready(pod)]
        return {(objects.environment_of(p)["VERSION"], objects.environment_of(p)["BUG"]) for p in ready}

    def _answers(self) -> bool:
        try:
            for _ in range(4):
                with urllib.request.urlopen(f"{self.url()}/v2/health/ready", timeout=1):
                    pass
        except OSError:
            return False
        return True

    # --- waiting ---------------------------------------------------------------------------------------------
    def wait_answers(self) -> None:
        """Wait for kube-proxy, which programs a new Service within a second or so; until then its address refuses."""
        wait_for("answers from the Service", self._answers, timeout_s=30, every_s=0.5)

    def wait_condition(self, kind: str, status: str, *, reason: str = "", timeout_s: float = 90.0) -> Object:
        """Wait for a condition's status, and reason where given."""

        def look() -> Object | None:
            now = self.condition(kind)
            return now if now.get("status") == status and reason in ("", now.get("reason")) else None

        try:
            return wait_for(f"condition {kind}={status} {reason}", look, timeout_s=timeout_s)
        except StageError as error:
            raise StageError(f"{error}; it is {self.condition(kind)}") from None

    def wait_decision(self, *, timeout_s: float, **spec: str) -> Object:
        """Wait for a Decision with these values in its spec."""
        try:
            return wait_for(f"a Decision {spec}", lambda: self.decisions(**spec), timeout_s=timeout_s)[0]
        except StageError as error:
            seen = [
                (d["spec"]["cause"], d["spec"]["action"], d.get("status", {}).get("phase")) for d in self.decisions()
            ]
            raise StageError(f"{error}; there are {seen}") from None

    def wait_phase(self, name: str, *phases: str, timeout_s: float = 120.0) -> Object:
        """Wait until a Decision is in one of these phases."""

        def look() -> Object | None:
            decision = self.kube.get("decision", name, self.space)
            return decision if decision and decision.get("status", {}).get("phase") in phases else None

        return wait_for(f"Decision {name} in {phases}", look, timeout_s=timeout_s)

    def wait_rolled_back(self, *, version: str, control: str = "availability", timeout_s: float = 180.0) -> Object:
        """Wait until a release was rolled back by ``control`` and ``version`` alone serves; the Decision."""
        decision = self.wait_decision(cause="release", action="Rollback", timeout_s=timeout_s)
        if decision["spec"]["control"] != control:
            raise StageError(f"expected control {control}, got {decision['spec']}")
        done = self.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=120)
        self.wait_served(version)
        return done

    def wait_served(self, version: str, *, replicas: int = 2, timeout_s: float = 120.0) -> None:
        """Wait until exactly this version is Ready, in this number."""

        def look() -> bool:
            pods = self.pods()
            ready = [p for p in pods if objects.is_ready(p) and objects.environment_of(p)["VERSION"] == version]
            return len(ready) == len(pods) == replicas

        wait_for(f"{replicas} Ready pods of version {version} and no other", look, timeout_s=timeout_s)


def wait_tally(load: Background, outcome: str, count: int, *, timeout_s: float) -> float:
    """Wait until the client has seen so many of an outcome; return the monotonic time."""
    wait_for(
        f"{count} answers {outcome}", lambda: load.tally.outcomes[outcome] >= count, timeout_s=timeout_s, every_s=0.2
    )
    return time.monotonic()
