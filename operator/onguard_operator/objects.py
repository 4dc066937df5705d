"""Reading the JSON of Kubernetes objects: the few paths that everything else needs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""One API object, or a part of one, as the server's JSON. Treated as immutable: builders make new ones."""


def name_of(item: Object) -> str:
    """``metadata.name``."""
    return str(item["metadata"]["name"])


def namespace_of(item: Object) -> str:
    """``metadata.namespace``."""
    return str(item["metadata"]["namespace"])


def uid_of(item: Object) -> str:
    """``metadata.uid``."""
    return str(item["metadata"]["uid"])


def labels_of(item: Object) -> Mapping[str, str]:
    """``metadata.labels``, empty where absent."""
    return item.get("metadata", {}).get("labels") or {}


def annotations_of(item: Object) -> Mapping[str, str]:
    """``metadata.annotations``, empty where absent."""
    return item.get("metadata", {}).get("annotations") or {}


def controller_of(item: Object) -> Object | None:
    """The owner reference with ``controller: true``."""
    owners: list[Object] = item.get("metadata", {}).get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def is_owned_by(item: Object, owner: Object) -> bool:
    """Whether any owner reference of ``item`` carries the uid of ``owner``."""
    owners = item.get("metadata", {}).get("ownerReferences") or ()
    return any(reference.get("uid") == uid_of(owner) for reference in owners)


def owner_reference(owner: Object, *, controller: bool = True) -> Object:
    """
    Refer to an owner so that the garbage collector removes what we made with it.

    ``blockOwnerDeletion`` stays false: deleting a ModelDeployment never waits for us.
    """
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": controller,
        "blockOwnerDeletion": False,
    }


def is_terminating(item: Object) -> bool:
    """Whether somebody has deleted the object."""
    return item.get("metadata", {}).get("deletionTimestamp") is not None


def condition_of(item: Object, kind: str) -> Object | None:
    """The condition of this type in ``status.conditions``."""
    conditions: Iterable[Object] = (item.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is true."""
    condition = condition_of(pod, "Ready")
    return condition is not None and condition.get("status") == "True"


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether all pairs of a plain selector are among the labels; an empty selector matches nothing."""
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """
    Whether a LabelSelector (``matchLabels`` and ``matchExpressions``) matches.

    >>> selects({"matchExpressions": [{"key": "app", "operator": "In", "values": ["churn"]}]}, {"app": "churn"})
    True
    >>> selects({}, {"app": "churn"})
    False
    """
    plain = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    if not plain and not expressions:
        return False
    return all(labels.get(key) == value for key, value in plain.items()) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    outcomes = {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }
    return outcomes.get(expression["operator"], False)


def containers_of(pod_spec: Object) -> Sequence[Object]:
    """The ordinary containers of a pod or a pod template's spec."""
    return pod_spec.get("containers") or []


def time_of(text: str | None) -> datetime | None:
    """
    Read an API time stamp.

    >>> time_of("2026-11-25T02:00:00Z").isoformat()
    '2026-11-25T02:00:00+00:00'
    """
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def stamp(moment: datetime) -> str:
    """Write an API time stamp, whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of_unix(seconds: float) -> datetime:
    """The moment of a Unix time."""
    return datetime.fromtimestamp(seconds, UTC)
