"""What the model's containers use, from metrics.k8s.io, against their limits; a threshold, no e-value."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

from onguard import contract
from onguard.spec import Memory
from onguard_operator.objects import Object, containers_of, name_of
from onguard_operator.records import Measured

SATURATED: Final = 0.9
"""CPU over its limit from which a slow model counts as saturated."""
OUTSIDE: Final = "it is outside the guarantee of falseAlarms"
_OURS: Final = (contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST)
_FACTORS: Final[Mapping[str, float]] = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
    "Ei": 2.0**60,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Usage:
    """Use of all the model's containers of one pod; limits are None unless each of them has one."""

    pod: str
    cpu_cores: float
    memory_bytes: float
    cpu_limit: float | None
    memory_limit: float | None


def quantity(text: str | int | float) -> float:
    """
    Read a Kubernetes quantity.

    >>> quantity("250m"), quantity("1Gi"), quantity("3"), quantity("1e3")
    (0.25, 1073741824.0, 3.0, 1000.0)
    """
    written = str(text)
    for suffix in sorted(_FACTORS, key=len, reverse=True):
        if written.endswith(suffix):
            return float(written.removesuffix(suffix)) * _FACTORS[suffix]
    return float(written)


def usages(pods: Iterable[Object], metrics: Iterable[Object]) -> list[Usage]:
    """Join pods with their PodMetrics; pods without metrics are left out."""
    by_name = {name_of(item): item for item in metrics}
    return [_usage(pod, by_name[name_of(pod)]) for pod in pods if name_of(pod) in by_name]


def _usage(pod: Object, item: Object) -> Usage:
    used = [c["usage"] for c in item.get("containers") or () if c["name"] not in _OURS]
    return Usage(
        pod=name_of(pod),
        cpu_cores=sum(quantity(u.get("cpu", "0")) for u in used),
        memory_bytes=sum(quantity(u.get("memory", "0")) for u in used),
        cpu_limit=_limit(pod, "cpu"),
        memory_limit=_limit(pod, "memory"),
    )


def _limit(pod: Object, resource: str) -> float | None:
    limits = [((c.get("resources") or {}).get("limits") or {}).get(resource) for c in containers_of(pod["spec"])]
    known = [quantity(limit) for limit in limits if limit]
    return sum(known) if known and len(known) == len(limits) else None


def is_saturated(found: Iterable[Usage]) -> bool:
    """Whether the model's containers together run at their CPU limit."""
    limited = [usage for usage in found if usage.cpu_limit]
    limit = sum(usage.cpu_limit or 0.0 for usage in limited)
    return bool(limited) and sum(usage.cpu_cores for usage in limited) >= SATURATED * limit


def memory_share(found: Iterable[Usage]) -> float | None:
    """Largest working set over its limit; None without limits or metrics."""
    shares = [usage.memory_bytes / usage.memory_limit for usage in found if usage.memory_limit]
    return max(shares, default=None)


def passed_since(objective: Memory | None, share: float | None, since: float, now: float) -> float:
    """Unix time since which memory is over its bound; 0 if it is not, or nothing is known."""
    if objective is None or share is None or share < objective.below:
        return 0.0
    return since or now


def breach(objective: Memory | None, share: float | None, since: float, now: float) -> Measured | None:
    """The broken memory objective as a figure; None while it is kept."""
    if objective is None or not is_broken(objective, since, now):
        return None
    return Measured(
        name="memory",
        value=share,
        unit="share of the limit",
        detail=f"the largest working set of a pod has been at {objective.below:.0%} of its limit or more for "
        f"{now - since:.0f} s, {objective.for_:.0f} s are allowed; a threshold with a duration: {OUTSIDE}",
    )


def is_broken(objective: Memory | None, since: float, now: float) -> bool:
    """Whether the bound has been passed for as long as the objective says."""
    return objective is not None and since > 0.0 and now - since >= objective.for_
