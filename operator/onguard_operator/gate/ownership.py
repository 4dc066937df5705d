"""Which ModelDeployment a pod belongs to: by its arm label, or by its owner. Pure."""

from collections.abc import Iterable, Sequence

from onguard import contract
from onguard_operator import naming
from onguard_operator.objects import Object, controller_of, is_terminating, labels_of, name_of, uid_of


def guard_of(pod: Object, model_deployments: Sequence[Object]) -> Object | None:
    """
    Find the ModelDeployment of a pod among those of its namespace.

    Where several name one target, the oldest guards its pods: the choice must not change while they live.
    """
    found = [each for each in model_deployments if not is_terminating(each) and _is_of(pod, each)]
    return min(found, key=lambda each: (each["metadata"].get("creationTimestamp", ""), uid_of(each)), default=None)


def workload_of(pod: Object) -> tuple[str, str] | None:
    """
    Kind and name of the workload that owns the pod; a ReplicaSet of a Deployment counts as the Deployment.

    >>> owner = {"kind": "ReplicaSet", "apiVersion": "apps/v1", "name": "churn-5d4f", "controller": True}
    >>> workload_of({"metadata": {"labels": {"pod-template-hash": "5d4f"}, "ownerReferences": [owner]}})
    ('Deployment', 'churn')
    """
    owner = controller_of(pod)
    if owner is None or owner.get("apiVersion") != "apps/v1":
        return None
    kind, name = str(owner["kind"]), str(owner["name"])
    suffix = "-" + labels_of(pod).get(contract.LABEL_POD_TEMPLATE_HASH, "")
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        return "Deployment", name.removesuffix(suffix)
    return kind, name


def _is_of(pod: Object, model_deployment: Object) -> bool:
    name = name_of(model_deployment)
    if contract.LABEL_ARM in labels_of(pod):
        named = labels_of(pod).get(contract.LABEL_MODEL_DEPLOYMENT)
        return name == named or workload_of(pod) == ("ReplicaSet", naming.baseline(name))
    target = model_deployment["spec"]["targetRef"]
    return workload_of(pod) == (target.get("kind", "Deployment"), target["name"])


def is_suspended(model_deployment: Object, image: str) -> bool:
    """Whether the operator saw a pod stuck on this sidecar image."""
    suspended: Iterable[str] = (model_deployment.get("status") or {}).get("suspendedImages") or ()
    return image in suspended
