"""
Anytime-valid evidence against an objective, from counters alone: an e-detector over events and alternatives.

Theorem 1. Let F_i be the history of the merged requests, in any interleaving; scrape ends are stopping times. H0: for
each request i and event k, ``l_k <= P(X_i in k | F_{i-1}) <= u_k``. For u = u_k and an alternative p > u, a request
multiplies ``e`` by p/u if it is in the event, else by (1-p)/(1-u): under H0 its conditional mean is at most 1 (mirror
image below l_k). A request of many rows has weight 1 in all, split over bins, and x -> (p/u)^x ((1-p)/(1-u))^(1-x) is
convex, so the mean stays at most 1. With

    R_c <- (R_c + 1) e_c,      D_f = mean of R_c over the feature's components c = (event, side, alternative)

``R_c - t`` and so ``D_f - t`` are supermartingales over the non-empty steps t, and an alarm at ``mean_f D_f >= A`` has
E[tau] >= A and P(tau <= T) <= T/A; with resets, E[alarms in T steps] <= T/A. (``max_f D_f >= A F`` implies it.) The
e-d-BH set {features of the r largest D with D_(r) >= A F / r} has E[share of wrong names at tau] <= E[tau]/A.

Shin, Ramdas, Rinaldo, "E-detectors", arXiv 2203.03532; Dandapanthula, Ramdas, arXiv 2501.04130 (e-d-BH).

*Latch.* An alarm stays until reverse e-detectors, whose null is that the strongest event of each named feature is
still at or outside its limit, have all passed CLEAR_LOG. Then R starts again: one episode is one alarm.
"""

import dataclasses
from functools import cached_property
from typing import Final

import numpy as np

from onguard.budget import Threshold
from onguard.contract import UNIT
from onguard.limits import Floats, Ints, Limits
from onguard.states import State

ETAS: Final = np.array([0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
"""Alternatives: distance in log-odds from the limit."""
CLEAR_LOG: Final = float(np.log(10_000.0))
"""ln of the evidence that clears an alarm: a persisting breach is falsely cleared once in 10,000 steps at most."""
RECENT_UNITS: Final = 10_000 * UNIT
"""Counts behind the effect are halved beyond twice this weight, so that they follow a changing world."""
_EDGE: Final = 1e-9
_KEPT: Final = 4
"""Hours whose tables are kept: the present one, the last, and the change between."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tables:
    """
    Log-likelihood ratios of the components, events first, then side, then alternative.

    Attributes:
        event: (C,) event of each component.
        upper: (C,) whether it bets on more than the upper limit.
        starts: (F',) first component of each feature that has any.
        inside, outside: (C,) log e of one request in the event, and not in it.
    """

    event: Ints
    upper: np.ndarray[tuple[int], np.dtype[np.bool_]]
    starts: Ints
    inside: Floats
    outside: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """One objective's limits with what its evidence must pass."""

    limits: Limits
    threshold: Threshold

    @cached_property
    def valid(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """(K, 2) whether there is room above the upper and below the lower limit, at any hour."""
        limits = self.limits
        upper = np.min([limits.upper, *(one.upper for one in limits.by_hour.values())], axis=0)
        lower = np.max([limits.lower, *(one.lower for one in limits.by_hour.values())], axis=0)
        return np.stack([upper < 1.0 - _EDGE, lower > _EDGE], axis=1)

    @cached_property
    def judged(self) -> Ints:
        """Indexes of the features that have at least one component."""
        room = np.add.reduceat(self.valid.any(axis=1), self.limits.starts) if self.limits.labels else np.zeros(0)
        return np.flatnonzero(room)

    @cached_property
    def tables(self) -> Tables:
        """Components at full coverage, without regard to the hour."""
        return _tables(self, self.limits.lower, self.limits.upper)

    @cached_property
    def _by_hour(self) -> dict[frozenset[int], tuple[Limits, Tables]]:
        return {}

    def at(self, hours: frozenset[int]) -> tuple[Limits, Tables]:
        """Limits and components of requests that came in these cells of the season."""
        if not self.limits.by_hour or not hours:
            return self.limits, self.tables
        if hours not in self._by_hour:
            if len(self._by_hour) >= _KEPT:
                self._by_hour.clear()
            limits = self.limits.at(hours)
            self._by_hour[hours] = limits, _tables(self, limits.lower, limits.upper)
        return self._by_hour[hours]


def _logit(p: Floats) -> Floats:
    return np.log(p) - np.log1p(-p)


def _ratios(edge: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Log of p/edge and (1-p)/(1-edge) for p = sigmoid(logit(edge) + shift), without cancellation."""
    # p/edge = e^s / (1 - edge + edge e^s) and (1-p)/(1-edge) = 1 / (1 - edge + edge e^s).
    outside = -np.log1p(edge * np.expm1(shift))
    return shift + outside, outside


def _tables(detector: Detector, lower: Floats, upper: Floats) -> Tables:
    shape = (*detector.valid.shape, ETAS.size)
    chosen = np.broadcast_to(detector.valid[:, :, None], shape).ravel()
    edges = np.broadcast_to(np.stack([upper, lower], axis=1)[:, :, None], shape).ravel()[chosen]
    side = np.broadcast_to(np.array([True, False])[None, :, None], shape).ravel()[chosen]
    shift = np.where(side, 1.0, -1.0) * np.broadcast_to(ETAS, shape).ravel()[chosen]
    event = np.broadcast_to(np.arange(shape[0])[:, None, None], shape).ravel()[chosen]
    inside, outside = _ratios(edges, shift)
    # A limit that lost traffic has pushed to 0 or 1 can't be broken: no bet on it.
    closed = (edges <= _EDGE) | (edges >= 1.0 - _EDGE)
    starts = np.searchsorted(event, detector.limits.starts[detector.judged])
    return Tables(event, side, starts, np.where(closed, 0.0, inside), np.where(closed, 0.0, outside))


def start(detector: Detector) -> State:
    """No evidence yet."""
    events, features = len(detector.limits.labels), len(detector.limits.features)
    return State(
        key=detector.limits.key,
        log_r=np.full(detector.tables.event.size, -np.inf),
        log_d=np.full(detector.judged.size, -np.inf),
        inside=np.zeros(events, np.int64),
        weight=np.zeros(events, np.int64),
        foreseen=np.zeros(events, np.int64),
        latched=np.full(features, -1, np.int64),
        log_v=np.full((features, ETAS.size), -np.inf),
    )


def resume(detector: Detector, state: State | None) -> State:
    """The saved state if it belongs to these limits, else a new one: evidence never moves to another reference."""
    fresh = start(detector)
    if state is None or state.key != fresh.key:
        return fresh
    # The key knows nothing of the grid, which another version of the program may have.
    fits = all(
        getattr(state, name).shape == getattr(fresh, name).shape for name in ("log_r", "log_d", "latched", "log_v")
    )
    if fits and state.foreseen.shape != fresh.foreseen.shape:  # saved before there were seasons
        return dataclasses.replace(state, foreseen=_foreseen(detector.limits, state.weight))
    return state if fits else fresh


def step(
    detector: Detector, state: State, unit_bins: Ints, *, lost: float = 0.0, hours: frozenset[int] = frozenset()
) -> State:
    """
    Evidence after one more scrape.

    Args:
        detector: limits and threshold.
        state: before; not changed.
        unit_bins: (B,) fixed-point weight per bin of the profile that the scrape added, all replicas summed.
        lost: fraction of inference traffic in the scrape that was dropped or could not be read.
        hours: cells of the season that its requests came in (``onguard.season``); none: the reference as a whole.

    Raises:
        ValueError: for a vector of another length or negative weight.
    """
    inside, weight = detector.limits.tally(unit_bins)
    if not weight.any():
        return state
    limits, tables = detector.at(hours)
    if lost > 0:
        tables = _tables(detector, *limits.widened(lost))
    log_r = _added(state.log_r, tables, inside, weight)
    log_d = _means(log_r, tables.starts)
    recent = _recent(detector, state, (inside, weight, _foreseen(limits, weight)))
    moved = dataclasses.replace(
        state,
        steps=state.steps + 1,
        log_r=log_r,
        log_d=log_d,
        inside=recent[0],
        weight=recent[1],
        foreseen=recent[2],
    )
    return _latch(detector, _reversed(limits, moved, inside, weight), tables)


def _added(log_r: Floats, tables: Tables, inside: Ints, weight: Ints) -> Floats:
    """R <- (R + 1) e where the event's condition was met at all."""
    s, n = inside / UNIT, weight / UNIT
    gain = s[tables.event] * tables.inside + (n - s)[tables.event] * tables.outside
    grown = _log1p_exp(log_r) + gain
    return grown if weight.all() else np.where((weight > 0)[tables.event], grown, log_r)


def _log1p_exp(x: Floats) -> Floats:
    # np.logaddexp is four times slower; the absolute error of this form is below 1e-15.
    return np.maximum(x, 0.0) + np.log(1.0 + np.exp(-np.abs(x)))


def _means(log_r: Floats, starts: Ints) -> Floats:
    """Ln of the mean of R over each feature's components."""
    if not starts.size:
        return np.zeros(0)
    sizes = np.diff(np.append(starts, log_r.size))
    top = np.maximum(np.maximum.reduceat(log_r, starts), -1e300)
    sums = np.add.reduceat(np.exp(log_r - np.repeat(top, sizes)), starts)
    return top + np.log(np.maximum(sums, 1e-300) / sizes)


def _foreseen(limits: Limits, weight: Ints) -> Ints:
    """Weight that the reference would have put into each event."""
    return np.rint(limits.expected * weight).astype(np.int64)


def _recent(detector: Detector, state: State, new: tuple[Ints, Ints, Ints]) -> tuple[Ints, Ints, Ints]:
    """Counts since the feature's evidence passed half of what alarms: before, healthy time would dilute them."""
    keeps = state.latched >= 0
    keeps[detector.judged] |= state.log_d > detector.threshold.log_alarm / 2
    kept = np.repeat(keeps, detector.limits.ends - detector.limits.starts)
    before = (state.inside, state.weight, state.foreseen)
    inside, weight, foreseen = (np.where(kept, old, 0) + added for old, added in zip(before, new, strict=True))
    full = weight > 2 * RECENT_UNITS
    return (
        np.where(full, inside >> 1, inside),
        np.where(full, weight >> 1, weight),
        np.where(full, foreseen >> 1, foreseen),
    )


def _reversed(limits: Limits, state: State, inside: Ints, weight: Ints) -> State:
    """Evidence that each latched event is back inside its limits."""
    features = np.flatnonzero(state.latched >= 0)
    if not features.size:
        return state
    event, is_lower = np.divmod(state.latched[features], 2)
    edge = np.where(is_lower == 1, limits.lower[event], limits.upper[event])
    shift = np.where(is_lower == 1, 1.0, -1.0)[:, None] * ETAS
    hit, miss = _ratios(edge[:, None], shift)
    no_limit = ((edge <= _EDGE) | (edge >= 1.0 - _EDGE))[:, None]  # at this hour, or with this loss
    hit, miss = np.where(no_limit, 0.0, hit), np.where(no_limit, 0.0, miss)
    s, n = inside[event, None] / UNIT, weight[event, None] / UNIT
    log_v = state.log_v.copy()
    log_v[features] = np.where(n > 0, _log1p_exp(log_v[features]) + s * hit + (n - s) * miss, log_v[features])
    return dataclasses.replace(state, log_v=log_v)


def _latch(detector: Detector, state: State, tables: Tables) -> State:
    if state.since is None:
        if log_mean(state.log_d) < detector.threshold.log_alarm:
            return state
        state = dataclasses.replace(state, since=state.steps, episodes=state.episodes + 1)
        return _with_names(detector, state, tables, [int(np.argmax(state.log_d)), *named(detector, state)])
    features = np.flatnonzero(state.latched >= 0)
    log_v = state.log_v[features]
    if np.all(_means(log_v.ravel(), np.arange(features.size) * ETAS.size) >= CLEAR_LOG):
        return dataclasses.replace(start(detector), steps=state.steps, episodes=state.episodes)
    return _with_names(detector, state, tables, named(detector, state))


def _with_names(detector: Detector, state: State, tables: Tables, positions: list[int]) -> State:
    """Latch each feature that is new among ``positions`` (in ``judged``) at its strongest event and side."""
    latched = state.latched.copy()
    bounds = np.append(tables.starts, tables.event.size)
    for at in positions:
        feature = detector.judged[at]
        if latched[feature] < 0:
            best = bounds[at] + int(np.argmax(state.log_r[bounds[at] : bounds[at + 1]]))
            latched[feature] = 2 * tables.event[best] + (0 if tables.upper[best] else 1)
    return dataclasses.replace(state, latched=latched)


def log_mean(log_d: Floats) -> float:
    """Ln of the mean over features; -inf without any."""
    return float(np.logaddexp.reduce(log_d) - np.log(log_d.size)) if log_d.size else -np.inf


def named(detector: Detector, state: State) -> list[int]:
    """Positions in ``judged`` of the e-d-BH set, strongest first."""
    order = np.argsort(-state.log_d, kind="stable")
    ranks = np.arange(1, order.size + 1)
    passing = np.flatnonzero(state.log_d[order] >= detector.threshold.log_naming + np.log(order.size / ranks))
    return [int(i) for i in order[: passing[-1] + 1]] if passing.size else []
