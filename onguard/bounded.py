"""
Anytime-valid evidence that the share of bad requests passes an objective, epoch by epoch.

Theorem 4. Let x_t in [0, 1] be bad/total of the t-th non-empty epoch of 5 s and H0: ``E[x_t | past] <= m``. For
``lambda_j = f_j / m`` with f_j < 1 the factor ``1 + lambda_j (x_t - m)`` is positive and its conditional mean is at
most 1, whatever the correlation inside an epoch: bursts cannot fool it. With ``R_j <- (R_j + 1)(1 + lambda_j (x_t -
m))`` and D the mean of R_j, ``D_t - t`` is a supermartingale, so alarms at D >= A come at most T/A times in T epochs.

*Latch.* The alarm is cleared by evidence against ``P(epoch over the objective | past) >= q``, q half of the share of
epochs over the objective between half of the evidence and all of it: a steady breach clears within two minutes of
health, a bursty one needs a silence that its bursts would not leave.

Waudby-Smith, Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 86 (2024).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
import numpy as np

from onguard.budget import Threshold
from onguard.detectors import CLEAR_LOG, ETAS
from onguard.effects import verdict_of
from onguard.findings import Finding
from onguard.limits import Floats
from onguard.states import StateError, bytes_to_floats, floats_to_bytes

FRACTIONS: Final = np.array([0.01, 0.04, 0.16, 0.32, 0.64, 0.95])
"""Bets as fractions of the largest that H0 allows."""
RECENT_EPOCHS: Final = 720
"""Epochs behind the recent share: halved beyond this many (one hour)."""
LEAST: Final = 1e-6
FORMAT: Final = 1


@dataclasses.dataclass(frozen=True)
class BoundedDetector:
    """``at_most`` is the objective: the largest share of bad requests that is still fine, in [0, 1]."""

    threshold: Threshold
    at_most: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.at_most <= 1.0:
            raise ValueError(f"expected an objective from 0 to 1, got {self.at_most}")

    @property
    def mean(self) -> float:
        """The m of Theorem 4: bets need room on both sides, so "none at all" is one in a million."""
        return min(max(self.at_most, LEAST), 1.0 - LEAST)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class BoundedState:
    """
    Evidence so far.

    Attributes:
        key: identity of the objective.
        steps: non-empty epochs.
        episodes: alarms raised.
        since: step of the alarm that is latched.
        log_r: (6,) ln R of each bet.
        bad, total: requests in the recent epochs of the episode.
        over, epochs: recent epochs that passed the objective, and all of them.
        q: share of epochs over the objective that a persisting breach would have at least.
        log_v: (6,) ln of the evidence that the breach is over.
    """

    key: str
    steps: int = 0
    episodes: int = 0
    since: int | None = None
    log_r: Floats
    bad: int = 0
    total: int = 0
    over: int = 0
    epochs: int = 0
    q: float = 0.5
    log_v: Floats

    @property
    def log_d(self) -> float:
        """Ln of the evidence."""
        return float(np.logaddexp.reduce(self.log_r) - np.log(self.log_r.size))

    def encode(self) -> bytes:
        """Msgpack, about 150 bytes."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        floats = {name: floats_to_bytes(fields[name]) for name in ("log_r", "log_v")}
        return msgspec.msgpack.encode(fields | floats | {"version": FORMAT})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Read what :meth:`encode` wrote.

        Raises:
            StateError: if it is damaged or of another format.
        """
        try:
            saved = msgspec.msgpack.decode(data, type=_Saved)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(str(error).replace("`$", "`state")) from None
        if saved.version != FORMAT or len(saved.log_r) != 24 or len(saved.log_v) != 24:
            raise StateError(f"expected format {FORMAT} with 6 bets, got {saved.version} - at `state.version`")
        fields: dict[str, Any] = {k: v for k, v in msgspec.structs.asdict(saved).items() if k != "version"}
        fields |= {"log_r": bytes_to_floats(saved.log_r), "log_v": bytes_to_floats(saved.log_v)}
        return cls(**fields)


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    key: str
    steps: int
    episodes: int
    since: int | None
    log_r: bytes
    bad: int
    total: int
    over: int
    epochs: int
    q: float
    log_v: bytes


def key_of(detector: BoundedDetector) -> str:
    """Evidence against 1 % is none against 2 %."""
    return f"{detector.threshold.objective}/{detector.threshold.slot}/{detector.at_most!r}"


def start(detector: BoundedDetector) -> BoundedState:
    """No evidence yet."""
    nothing = np.full(FRACTIONS.size, -np.inf)
    return BoundedState(key=key_of(detector), log_r=nothing, log_v=nothing)


def resume(detector: BoundedDetector, state: BoundedState | None) -> BoundedState:
    """The saved state if it is of this objective, else a new one."""
    return state if state is not None and state.key == key_of(detector) else start(detector)


def steps(detector: BoundedDetector, state: BoundedState, epochs: Sequence[tuple[int, int]]) -> BoundedState:
    """One :func:`step` for each (bad, total) of consecutive closed epochs, all replicas summed."""
    for bad, total in epochs:
        state = step(detector, state, bad, total)
    return state


def step(detector: BoundedDetector, state: BoundedState, bad: int, total: int) -> BoundedState:
    """
    Evidence after one more closed epoch. An empty epoch changes nothing.

    Raises:
        ValueError: unless 0 <= bad <= total.

    >>> from onguard.budget import Objective
    >>> threshold = Threshold(objective=Objective.ERRORS, share=1.0, log_alarm=13.0, log_naming=17.0)
    >>> detector = BoundedDetector(threshold, at_most=0.01)
    >>> finding(detector, steps(detector, start(detector), [(0, 100)] * 5)).verdict
    <Verdict.QUIET: 'Quiet'>
    >>> finding(detector, steps(detector, start(detector), [(50, 100)] * 5)).verdict
    <Verdict.ALARMED: 'Alarmed'>
    """
    if not 0 <= bad <= total:
        raise ValueError(f"expected 0 <= bad <= total in an epoch, got {bad} of {total}")
    if total == 0:
        return state
    x, m = bad / total, detector.mean
    moved = dataclasses.replace(
        _recent(detector, state, bad, total, is_over=x > m),
        steps=state.steps + 1,
        log_r=np.logaddexp(state.log_r, 0.0) + np.log1p(FRACTIONS * (x / m - 1.0)),
    )
    if moved.since is None:
        if moved.log_d < detector.threshold.log_alarm:
            return moved
        q = max(moved.over, 1) / (2 * moved.epochs)
        return dataclasses.replace(moved, since=moved.steps, episodes=moved.episodes + 1, q=q)
    return _cleared(detector, moved, is_over=x > m)


def _recent(detector: BoundedDetector, state: BoundedState, bad: int, total: int, *, is_over: bool) -> BoundedState:
    """Counts since the evidence passed half of what alarms: before, a healthy stretch would dilute the breach."""
    kept = 1 if state.since is not None or state.log_d > detector.threshold.log_alarm / 2 else 0
    halved = 1 if state.epochs >= RECENT_EPOCHS else 0
    return dataclasses.replace(
        state,
        bad=(kept * state.bad >> halved) + bad,
        total=(kept * state.total >> halved) + total,
        over=(kept * state.over >> halved) + int(is_over),
        epochs=(kept * state.epochs >> halved) + 1,
    )


def _cleared(detector: BoundedDetector, state: BoundedState, *, is_over: bool) -> BoundedState:
    """Reverse e-detector; q was fixed at the alarm, so that it does not look at the epochs it is used on."""
    outside = -np.log1p(state.q * np.expm1(-ETAS))
    log_v = np.logaddexp(state.log_v, 0.0) + (outside - ETAS if is_over else outside)
    if float(np.logaddexp.reduce(log_v)) - math.log(ETAS.size) >= CLEAR_LOG:
        return dataclasses.replace(start(detector), steps=state.steps, episodes=state.episodes)
    return dataclasses.replace(state, log_v=log_v)


def finding(detector: BoundedDetector, state: BoundedState) -> Finding:
    """What ``state`` says about its objective."""
    return Finding(
        objective=detector.threshold.objective,
        slot=detector.threshold.slot,
        verdict=verdict_of(state.steps, state.since),
        since_step=state.since,
        step=state.steps,
        episodes=state.episodes,
        log_e=state.log_d,
        log_threshold=detector.threshold.log_alarm,
        requests=float(state.total),
        observed=state.bad / state.total if state.total else None,
    )
