"""
How a ModelDeployment's false-alarm budget is split over what it judges.

An e-detector that alarms at A raises at most T/A false alarms in T non-empty steps, in expectation, resets included.
With ``falseAlarms: {atMost: m, per: P}`` and a share w_j of the budget for objective j, A_j = T / (w_j m), where T is
the number of steps in P: scrapes of 15 s for drift and data quality, epochs of 5 s for errors and latency. Shares sum
to 1 over the objectives present, so the whole ModelDeployment keeps its budget.
"""

import dataclasses
import math
from enum import StrEnum
from typing import Final

from onguard import contract
from onguard.spec import FalseAlarms, Objectives


class Objective(StrEnum):
    """What is judged; the names appear in status, metrics and Decisions."""

    AVAILABILITY = "availability"
    ERRORS = "errors"
    LATENCY = "latency"
    DRIFT = "drift"
    OUTPUTS = "outputs"
    DATA_QUALITY = "dataQuality"
    MEMORY = "memory"


SHARES: Final = {
    Objective.DRIFT: 0.3,
    Objective.ERRORS: 0.2,
    Objective.LATENCY: 0.2,
    Objective.DATA_QUALITY: 0.2,
    Objective.MEMORY: 0.1,
}
"""Availability is read off the cluster's own state and spends nothing."""
NAMING_ALPHA: Final = 0.05
"""Expected share of wrong names among named features, over one period."""
REFERENCE_ALPHA: Final = 0.05
"""Probability, over all references of a model together, that a reference's limits miss."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Threshold:
    """
    What one detector must pass.

    Attributes:
        objective: whose detector.
        slot: which latency objective; 0 otherwise.
        share: part of the ModelDeployment's budget.
        log_alarm: ln A of the alarm.
        log_naming: ln A of naming features.
    """

    objective: Objective
    slot: int = 0
    share: float
    log_alarm: float
    log_naming: float


def thresholds(objectives: Objectives, false_alarms: FalseAlarms, *, has_outputs: bool) -> tuple[Threshold, ...]:
    """
    One threshold for each detector that runs.

    Args:
        objectives: those present share the budget.
        false_alarms: at most so many per period.
        has_outputs: the profile has outputs; they take half of drift's share.

    >>> from onguard.spec import Drift, Errors
    >>> for t in thresholds(Objectives(drift=Drift(), errors=Errors()), FalseAlarms(), has_outputs=True):
    ...     print(t.objective, round(t.share, 2), round(t.log_alarm, 1))
    drift 0.3 14.4
    outputs 0.3 14.4
    errors 0.4 15.2
    """
    parts = _parts(objectives, has_outputs=has_outputs)
    total = sum(share for _, _, share in parts)
    return tuple(
        _threshold(objective, slot, share / total, false_alarms)
        for objective, slot, share in parts
        if objective is not Objective.MEMORY
    )


def _parts(objectives: Objectives, *, has_outputs: bool) -> list[tuple[Objective, int, float]]:
    parts: list[tuple[Objective, int, float]] = []
    if objectives.drift:
        judged = (Objective.DRIFT, Objective.OUTPUTS) if has_outputs else (Objective.DRIFT,)
        parts += [(objective, 0, SHARES[Objective.DRIFT] / len(judged)) for objective in judged]
    if objectives.errors:
        parts.append((Objective.ERRORS, 0, SHARES[Objective.ERRORS]))
    slots = len(objectives.latency[: contract.LATENCY_SLOTS])
    parts += [(Objective.LATENCY, slot, SHARES[Objective.LATENCY] / slots) for slot in range(slots)]
    if objectives.data_quality:
        parts.append((Objective.DATA_QUALITY, 0, SHARES[Objective.DATA_QUALITY]))
    if objectives.memory:
        parts.append((Objective.MEMORY, 0, SHARES[Objective.MEMORY]))
    return parts


def _threshold(objective: Objective, slot: int, share: float, false_alarms: FalseAlarms) -> Threshold:
    by_epoch = objective in (Objective.ERRORS, Objective.LATENCY)
    horizon = false_alarms.per / (contract.EPOCH_S if by_epoch else contract.SCRAPE_S)
    return Threshold(
        objective=objective,
        slot=slot,
        share=share,
        log_alarm=max(math.log(horizon / (share * false_alarms.at_most)), 0.0),
        log_naming=max(math.log(horizon / NAMING_ALPHA), 0.0),
    )


def reference_alpha(ordinal: int) -> float:
    """
    What the ``ordinal``-th reference (from 1) of a model may spend: alpha 6 / (pi k)^2, which sums to alpha.

    >>> round(reference_alpha(1), 4), round(sum(map(reference_alpha, range(1, 10_000))), 4)
    (0.0304, 0.05)
    """
    return REFERENCE_ALPHA * 6.0 / (math.pi * ordinal) ** 2
