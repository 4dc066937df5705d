"""What a detector says: a value with three states, so that "no data" can never pass for a breach or for health."""

import dataclasses
from enum import StrEnum

from onguard.budget import Objective


class Verdict(StrEnum):
    """State of an objective."""

    NO_DATA = "NoData"
    QUIET = "Quiet"
    ALARMED = "Alarmed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effect:
    """
    How far one feature moved in the recent traffic of the episode.

    Attributes:
        feature: its name.
        event: the event that moved most, as a person reads it.
        shift: observed less reference probability of the event, signed; its size is the CDF shift.
        shift_low: size that the shift has at least, at 95 % over the feature's events (0: not distinguishable).
        expected: reference probability.
        observed: probability in the recent traffic.
        requests: weight of the requests behind ``observed``.
        log_e: ln of the feature's evidence D_f.
    """

    feature: str
    event: str
    shift: float
    shift_low: float
    expected: float
    observed: float
    requests: float
    log_e: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """
    Evidence against one objective.

    Attributes:
        objective: what is judged.
        slot: which latency objective.
        verdict: no data, quiet or alarmed (latched).
        since_step: the step of the alarm that is latched, None unless alarmed.
        step: non-empty steps so far.
        episodes: alarms so far.
        log_e: ln of the evidence.
        log_threshold: ln A, what it takes.
        named: features that moved, strongest first; the false-discovery rate among them is bounded.
        leading: the feature with most evidence, named or not, None without data.
        requests: requests (or, for errors and latency, requests of the epochs) behind the recent estimate.
        observed: share of bad requests in the recent epochs; None for drift and data quality.
    """

    objective: Objective
    slot: int = 0
    verdict: Verdict
    since_step: int | None = None
    step: int
    episodes: int = 0
    log_e: float
    log_threshold: float
    named: tuple[Effect, ...] = ()
    leading: Effect | None = None
    requests: float = 0.0
    observed: float | None = None

    @property
    def alarmed(self) -> bool:
        """Whether the alarm is latched."""
        return self.verdict is Verdict.ALARMED

    @property
    def widest_shift(self) -> float:
        """Largest CDF shift among the named features, else of the leading one; 0 unless alarmed."""
        effects = self.named or ((self.leading,) if self.leading else ())
        return max((abs(e.shift) for e in effects), default=0.0) if self.alarmed else 0.0
