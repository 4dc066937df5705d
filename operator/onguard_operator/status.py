"""ModelDeployment's status: conditions with stable transition times, and whether there is anything to write."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from onguard import contract
from onguard_operator.objects import Object, stamp

State = Literal["True", "False", "Unknown"]
MAX_MESSAGE: Final = 1024
_ORDER: Final = (
    contract.CONDITION_READY,
    contract.CONDITION_TARGET_FOUND,
    contract.CONDITION_INJECTED,
    contract.CONDITION_TRAFFIC_GUARDED,
    contract.CONDITION_SCRAPABLE,
    contract.CONDITION_REFERENCE_VALID,
    contract.CONDITION_ACTIONS_ALLOWED,
    contract.CONDITION_DRAIN_GUARANTEED,
    contract.CONDITION_ARMS_EXCHANGEABLE,
    contract.CONDITION_HEALTHY,
)
_NEEDED: Final = (
    contract.CONDITION_TARGET_FOUND,
    contract.CONDITION_INJECTED,
    contract.CONDITION_TRAFFIC_GUARDED,
    contract.CONDITION_SCRAPABLE,
    contract.CONDITION_REFERENCE_VALID,
)
"""What must hold for the model to be on guard; the others are said beside it."""


class Condition(msgspec.Struct, frozen=True):
    """One statement about a ModelDeployment. ``message`` ends with what to do about it, where that is known."""

    type: str
    status: State
    reason: str
    message: str = ""


class Change(msgspec.Struct, frozen=True):
    """A condition whose status or reason has changed: worth a Kubernetes Event."""

    condition: Condition
    is_warning: bool


def holds(kind: str, reason: str, message: str = "") -> Condition:
    """State that it is so."""
    return Condition(kind, "True", reason, message)


def fails(kind: str, reason: str, message: str) -> Condition:
    """State that it is not so, and what to do."""
    return Condition(kind, "False", reason, message)


def unknown(kind: str, reason: str, message: str = "") -> Condition:
    """State that it is not known."""
    return Condition(kind, "Unknown", reason, message)


def ready(conditions: Iterable[Condition]) -> Condition:
    """
    Sum up: ready when everything that guarding needs holds; else the first that does not.

    >>> ready([fails("TargetFound", "TargetNotFound", "no Deployment churn")]).reason
    'TargetNotFound'
    """
    by_type = {condition.type: condition for condition in conditions}
    for kind in _NEEDED:
        condition = by_type.get(kind)
        if condition is not None and condition.status != "True":
            return Condition(contract.CONDITION_READY, condition.status, condition.reason, condition.message)
    return holds(contract.CONDITION_READY, "Guarded", "the model is on guard")


def merge(
    old: Iterable[Object], new: Iterable[Condition], *, generation: int, now: datetime
) -> tuple[list[Object], list[Change]]:
    """
    Carry transition times over; conditions that ``new`` does not name stay as they were.

    Returns:
        the list for ``status.conditions``, and what changed; that all is well from the start is no change.
    """
    merged = {condition["type"]: condition for condition in old}
    changes: list[Change] = []
    for condition in new:
        before = merged.get(condition.type) or {}
        same_status = before.get("status") == condition.status
        merged[condition.type] = {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message[:MAX_MESSAGE],
            "observedGeneration": generation,
            "lastTransitionTime": before["lastTransitionTime"] if same_status else stamp(now),
        }
        is_news = bool(before) or condition.status == "False"
        if is_news and (not same_status or before.get("reason") != condition.reason):
            changes.append(Change(condition, condition.status == "False"))
    ordered = sorted(merged.values(), key=lambda c: (_rank(c["type"]), c["type"]))
    return ordered, changes


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def rounded(value: float | None, digits: int = 3) -> float | None:
    """Round a figure for display, so that status is written when it says something new, not at each scrape."""
    return None if value is None or math.isnan(value) else round(value, digits)


def differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether writing ``new`` over ``old`` would change a field that ``new`` names."""
    return any(old.get(key) != value for key, value in new.items())


def phase(conditions: Sequence[Condition], *, alarmed: bool, acting: bool, watching: bool) -> str:
    """
    One word for the printer column.

    >>> phase([fails("TargetFound", "TargetNotFound", "")], alarmed=False, acting=False, watching=False)
    'Degraded'
    """
    if acting:
        return "Acting"
    if alarmed:
        return "Alarmed"
    if ready(conditions).status != "True":
        return "Degraded" if ready(conditions).status == "False" else "Pending"
    return "Watching" if watching else "Guarding"
