"""
A recorded visit as the operator would have observed it: the few objects of a cluster that its evaluation looks at.

What a recording does not say is as the operator finds it where all is well: the pods have their sidecar, the Service is
guarded, rights are given. Who is ready, since when, and with which revision is as recorded.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from onguard import contract
from onguard.frames import Frame, PodFrame
from onguard.spec import Spec
from onguard_operator import release, rollback
from onguard_operator.objects import Object, stamp, time_of_unix
from onguard_operator.observe import Observed
from onguard_operator.release import History, Standing
from onguard_operator.scrape import NotReadable, Reading, Value

NAMESPACE: Final = "replay"
_GOOD: Final = (Standing.GOOD, Standing.ASSUMED_GOOD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A ModelDeployment outside a cluster: its object, and the spec that was read of it."""

    mdep: Object
    spec: Spec

    @property
    def name(self) -> str:
        """Name of the ModelDeployment."""
        return str(self.mdep["metadata"]["name"])


@dataclasses.dataclass(frozen=True)
class Names:
    """Revisions of a recording by the digest that the operator gives them, and back."""

    digests: Mapping[str, str]

    @classmethod
    def of(cls, revisions: Iterable[str]) -> "Names":
        """Name each revision by its template's digest."""
        return cls({revision: release.identity(template(revision), {}) for revision in revisions})

    def readable(self, digest: str | None) -> str:
        """Name in the recording of a digest."""
        return next((name for name, known in self.digests.items() if known == digest), digest or "")


def template(revision: str) -> Object:
    """The pod template of a revision: nothing but its name tells one from another."""
    container = {"name": "model", "image": f"recorded:{revision}", "ports": [{"name": "http", "containerPort": 8080}]}
    return {"metadata": {"labels": {"app": "model"}}, "spec": {"containers": [container]}}


def observed(model: Model, frame: Frame, first_seen: Mapping[str, float], history: History) -> Observed:
    """
    The cluster at one visit.

    Args:
        model: whose visit it is.
        frame: what was read.
        first_seen: Unix time at which each revision became the target's template.
        history: what is remembered; the templates of its good revisions are kept.
    """
    pods = [_pod(pod) for pod in frame.pods]
    replicas = max(sum(pod.revision == frame.current for pod in frame.pods), 1)
    target: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": model.name, "namespace": NAMESPACE, "uid": "target", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "model"}},
            "template": template(frame.current),
        },
        "status": {"observedGeneration": 1, "updatedReplicas": replicas, "replicas": replicas},
    }
    kept = [known for known in history.revisions if known.standing in _GOOD]
    names = Names.of(first_seen)
    return Observed(
        mdep=model.mdep,
        spec=model.spec,
        namespace={"metadata": {"name": NAMESPACE, "labels": {contract.LABEL_INJECT: "enabled"}}},
        target=target,
        replica_sets=[_replica_set(revision, began) for revision, began in first_seen.items()],
        pods=pods,
        sidecar_map={"metadata": {"name": f"{model.name}-onguard", "namespace": NAMESPACE}},
        good_templates=[_kept(number, known.id, names) for number, known in enumerate(kept, 1)],
    )


def readings_of(frame: Frame) -> Mapping[str, Reading]:
    """What each pod said."""
    return {p.uid: Value(p.report) if p.report is not None else NotReadable("TimedOut") for p in frame.pods}


def _kept(number: int, digest: str, names: Names) -> Object:
    labels = {contract.LABEL_REVISION: digest}
    data = {rollback.DATA: template(names.readable(digest))}
    return {"metadata": {"name": f"kept-{number}", "labels": labels}, "revision": number, "data": data}


def _replica_set(revision: str, began: float) -> Object:
    meta = {"name": f"rs-{revision}", "namespace": NAMESPACE, "creationTimestamp": _stamp(began)}
    return {"metadata": meta, "spec": {"template": template(revision), "replicas": 1}}


def _pod(pod: PodFrame) -> Object:
    labels = {"app": "model"}
    if pod.arm != contract.ARM_CANDIDATE:
        labels |= {contract.LABEL_ARM: pod.arm, contract.LABEL_REVISION: release.identity(template(pod.revision), {})}
    meta: dict[str, Any] = {
        "name": pod.uid,
        "namespace": NAMESPACE,
        "uid": pod.uid,
        "labels": labels,
        "annotations": {contract.ANNOTATION_INJECTION: contract.INJECTION_DONE},
        "creationTimestamp": _stamp(pod.born),
        "ownerReferences": [{"name": f"rs-{pod.revision}", "uid": f"rs-{pod.revision}", "controller": True}],
    }
    if pod.terminating:
        meta["deletionTimestamp"] = _stamp(pod.born)
    status = "False" if pod.ready_at is None else "True"
    ready = {"type": "Ready", "status": status, "lastTransitionTime": _stamp(pod.ready_at or pod.born)}
    return {
        "metadata": meta,
        "spec": template(pod.revision)["spec"],
        "status": {"phase": "Running", "conditions": [ready]},
    }


def _stamp(seconds: float) -> str:
    return stamp(time_of_unix(seconds))
