"""Deployment controller, ReplicaSet controller and kubelet in a few lines, on a clock that stands still."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from onguard import contract
from tests.integration.operator.fake_api import FakeApi, Object, utc

SPACE, OURS, NAME = "shop", "onguard", "churn"
START = 1_790_000_000.0 - 1_790_000_000.0 % 60


@dataclass
class Controllers:
    """What would go on in the cluster by itself."""

    folder: Path
    now: float = START
    broken: set[str] = field(default_factory=set)
    """Versions whose container crash-loops."""
    image_ids: dict[str, str] = field(default_factory=dict)
    """What the kubelet says of the image that it runs, by version."""
    is_gate_up: bool = True

    def __post_init__(self) -> None:
        self.api = FakeApi(clock=lambda: utc(self.now))

    def stamp(self) -> str:
        """The time as the API writes it."""
        return utc(self.now).strftime("%Y-%m-%dT%H:%M:%SZ")

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
