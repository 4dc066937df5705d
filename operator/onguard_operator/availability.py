"""Does the rollout make progress, and do the new revision's containers stay up? Read off the pods, no statistics."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from onguard import contract
from onguard.cause import Signal
from onguard_operator import rollback
from onguard_operator.objects import Object, condition_of, is_ready, name_of, time_of, uid_of
from onguard_operator.observe import Observed

PATIENCE: Final = timedelta(seconds=60)
SLOWER: Final = 3
"""A new revision may take so many times as long to start as the old one's slowest pod, and at least ``PATIENCE``."""
_BROKEN: Final = frozenset(
    {
        "CrashLoopBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_OURS: Final = (contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST)


def availability(seen: Observed, revisions: Mapping[str, str], current: str, now: datetime) -> tuple[Signal, str]:
    """
    Judge the revision that the target should run.

    Args:
        seen: the cluster.
        revisions: revision by pod uid.
        current: the judged revision.
        now: the time.

    Returns:
        the signal, and what is the matter. A pod that hangs on our own sidecar says nothing about the model.
    """
    if seen.target is None:
        return Signal.UNKNOWN, ""
    new = [pod for pod in seen.model_pods if revisions.get(uid_of(pod)) == current]
    old = [pod for pod in seen.model_pods if revisions.get(uid_of(pod)) != current]
    own = [pod for pod in new if not _waits_on_us(pod)]
    for pod in own:
        reason = _broken(pod, now)
        if reason:
            return Signal.ALARM, f"pod {name_of(pod)}: {reason}"
    if any(is_ready(pod) for pod in new):
        return Signal.QUIET, ""
    if own and rollback.is_stuck(seen.target):
        return Signal.ALARM, "the rollout exceeded its progress deadline"
    patience = max([PATIENCE, *(SLOWER * took for took in _starts(old))])
    late = [pod for pod in own if _age(pod, now) > patience]
    if late and any(is_ready(pod) for pod in old):
        return Signal.ALARM, f"pod {name_of(late[0])} is not ready after {_age(late[0], now).total_seconds():.0f} s"
    return Signal.UNKNOWN, ""


def _age(pod: Object, now: datetime) -> timedelta:
    return now - (time_of(pod["metadata"].get("creationTimestamp")) or now)


def _starts(pods: Iterable[Object]) -> Iterable[timedelta]:
    """How long ready pods took to become ready."""
    for pod in pods:
        condition = condition_of(pod, "Ready") or {}
        ready, born = time_of(condition.get("lastTransitionTime")), time_of(pod["metadata"].get("creationTimestamp"))
        if condition.get("status") == "True" and ready and born:
            yield ready - born


def _waits_on_us(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or ()
    return any(c["name"] in _OURS and not c.get("started") for c in statuses)


def _broken(pod: Object, now: datetime) -> str | None:
    """Why a container of the model does not run, if it has been so for over a minute."""
    if is_ready(pod) or _age(pod, now) <= PATIENCE:
        return None
    status = pod.get("status") or {}
    for container in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
        reason = ((container.get("state") or {}).get("waiting") or {}).get("reason", "")
        if container["name"] not in _OURS and reason in _BROKEN:
            return f"container {container['name']} is in {reason}, restarted {container.get('restartCount', 0)} times"
    return None
