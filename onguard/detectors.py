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
from onguard.scores import MOST_R
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
        sizes: (K,) number of components of each event.
        apart, outside: (C,) log e of one request in the event, less that of one outside; and the latter.
        bets: log e of one request in each bin, of the scores' components.
    """

    event: Ints
    upper: np.ndarray[tuple[int], np.dtype[np.bool_]]
    starts: Ints
    sizes: Ints
    apart: Floats
    outside: Floats
    bets: Floats


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
    def scored(self) -> tuple[Ints, Ints]:
        """Positions in ``judged`` of features with scores, and their rows in the scores."""
        _, positions, rows = np.intersect1d(
            self.judged, self.limits.scores.feature, assume_unique=True, return_indices=True
        )
        return positions, rows

    @cached_property
    def tables(self) -> Tables:
        """Components at full coverage, without regard to the hour."""
        return self.tables_at(self.limits)

    def tables_at(self, limits: Limits, hours: frozenset[int] = frozenset(), lost: float = 0.0) -> Tables:
        """Components against these limits, where a fraction ``lost`` of the traffic was not seen."""
        scores = limits.scores
        lower, upper = limits.widened(lost) if lost > 0 else (limits.lower, limits.upper)
        return _tables(self, lower, upper, scores.bets(scores.at(hours), lost=lost))

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
            self._by_hour[hours] = limits, self.tables_at(limits, hours)
        return self._by_hour[hours]


def _logit(p: Floats) -> Floats:
    return np.log(p) - np.log1p(-p)


def _ratios(edge: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Log of p/edge and (1-p)/(1-edge) for p = sigmoid(logit(edge) + shift), without cancellation."""
    # p/edge = e^s / (1 - edge + edge e^s) and (1-p)/(1-edge) = 1 / (1 - edge + edge e^s).
    outside = -np.log1p(edge * np.expm1(shift))
    return shift + outside, outside


def _tables(detector: Detector, lower: Floats, upper: Floats, bets: Floats) -> Tables:
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
    inside, outside = np.where(closed, 0.0, inside), np.where(closed, 0.0, outside)
    sizes = detector.valid.sum(axis=1) * ETAS.size
    return Tables(event, side, starts, sizes, inside - outside, outside, bets)


def start(detector: Detector) -> State:
    """No evidence yet."""
    events, features = len(detector.limits.labels), len(detector.limits.features)
    return State(
        key=detector.limits.key,
        r=np.zeros(detector.tables.event.size),
        log_d=np.full(detector.judged.size, -np.inf),
        inside=np.zeros(events, np.int64),
        weight=np.zeros(events, np.int64),
        foreseen=np.zeros(events, np.int64),
        latched=np.full(features, -1, np.int64),
        log_v=np.full((features, ETAS.size), -np.inf),
        scores=detector.limits.scores.start(),
    )


def resume(detector: Detector, state: State | None) -> State:
    """The saved state if it belongs to these limits, else a new one: evidence never moves to another reference."""
    fresh = start(detector)
    if state is None or state.key != fresh.key:
        return fresh
    # The key knows nothing of the grid, which another version of the program may have.
    fits = all(getattr(state, name).shape == getattr(fresh, name).shape for name in ("r", "log_d", "latched", "log_v"))
    if not fits:
        return fresh
    if state.foreseen.shape != fresh.foreseen.shape:  # saved before there were seasons
        state = dataclasses.replace(state, foreseen=_foreseen(detector.limits, state.weight))
    if state.scores.shape != fresh.scores.shape:  # saved before there were scores, or by other bets
        return dataclasses.replace(state, scores=fresh.scores)
    return state


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
        tables = detector.tables_at(limits, hours, lost)
    counts = limits.scores.tally(unit_bins)
    r = _added(state.r, tables, inside, weight)
    scores = limits.scores.step(state.scores, tables.bets, counts)
    log_d = np.log(np.maximum(_joined(detector, _means(r, tables.starts), limits.scores.d(scores)), 1e-300))
    recent = _recent(detector, state, (inside, weight, _foreseen(limits, weight)))
    moved = dataclasses.replace(
        state,
        steps=state.steps + 1,
        r=r,
        log_d=log_d,
        inside=recent[0],
        weight=recent[1],
        foreseen=recent[2],
        scores=scores,
    )
    moved = _scores_reversed(limits, _reversed(limits, moved, inside, weight), counts, hours)
    return _latch(detector, moved, tables)


def _joined(detector: Detector, of_events: Floats, of_scores: Floats) -> Floats:
    """Mean of the mean over events and the mean over scores, where a feature has both."""
    positions, rows = detector.scored
    there = np.maximum(np.count_nonzero(detector.limits.scores.sd[rows], axis=1), 1)
    d = of_events.copy()
    d[positions] = 0.5 * (d[positions] + of_scores[rows].sum(axis=1) / there)
    return d


def _added(r: Floats, tables: Tables, inside: Ints, weight: Ints) -> Floats:
    """R <- (R + 1) e where the event's condition was met at all."""
    s, n = (np.repeat(v / UNIT, tables.sizes) for v in (inside, weight))
    with np.errstate(over="ignore"):
        grown = np.minimum((r + 1.0) * np.exp(s * tables.apart + n * tables.outside), MOST_R)
    return grown if weight.all() else np.where(n > 0, grown, r)


def _means(r: Floats, starts: Ints) -> Floats:
    """Mean of R over each feature's components."""
    if not starts.size:
        return np.zeros(0)
    return np.add.reduceat(r, starts) / np.diff(np.append(starts, r.size))


def _log1p_exp(x: Floats) -> Floats:
    # np.logaddexp is four times slower; the absolute error of this form is below 1e-15.
    return np.maximum(x, 0.0) + np.log(1.0 + np.exp(-np.abs(x)))


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
    features = np.flatnonzero((state.latched >= 0) & (state.latched < 2 * len(limits.labels)))
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


def _scores_reversed(limits: Limits, state: State, counts: Floats, hours: frozenset[int]) -> State:
    """Evidence that each latched score is back below its level."""
    first = 2 * len(limits.labels)
    features = np.flatnonzero(state.latched >= first)
    if not features.size:
        return state
    log_v = state.log_v.copy()
    for feature in features:
        row, score = divmod(int(state.latched[feature]) - first, limits.scores.sd.shape[1])
        if counts[row].any():
            gain = limits.scores.returned(row, score, counts, hours)
            log_v[feature] = _log1p_exp(log_v[feature]) + gain
    return dataclasses.replace(state, log_v=log_v)


def _latch(detector: Detector, state: State, tables: Tables) -> State:
    if state.since is None:
        if log_mean(state.log_d) < detector.threshold.log_alarm:
            return state
        state = dataclasses.replace(state, since=state.steps, episodes=state.episodes + 1)
        return _with_names(detector, state, tables, [int(np.argmax(state.log_d)), *named(detector, state)])
    features = np.flatnonzero(state.latched >= 0)
    log_v = state.log_v[features]
    if np.all(np.logaddexp.reduce(log_v, axis=1) - np.log(ETAS.size) >= CLEAR_LOG):
        return dataclasses.replace(start(detector), steps=state.steps, episodes=state.episodes)
    return _with_names(detector, state, tables, named(detector, state))


def _with_names(detector: Detector, state: State, tables: Tables, positions: list[int]) -> State:
    """Latch each feature that is new among ``positions`` (in ``judged``) at its strongest event and side, or score."""
    latched = state.latched.copy()
    for at in positions:
        if latched[detector.judged[at]] < 0:
            latched[detector.judged[at]] = _strongest(detector, state, tables, at)
    return dataclasses.replace(state, latched=latched)


def _strongest(detector: Detector, state: State, tables: Tables, at: int) -> int:
    first, last = np.append(tables.starts, tables.event.size)[at : at + 2]
    best = int(first + np.argmax(state.r[first:last]))
    event = int(2 * tables.event[best] + (0 if tables.upper[best] else 1))
    positions, rows = detector.scored
    if at not in positions:
        return event
    scores, row = detector.limits.scores, int(rows[np.searchsorted(positions, at)])
    d = scores.d(state.scores)[row]
    # Each holds such a share of the feature's evidence.
    if state.r[best] / (last - first) >= d.max() / max(np.count_nonzero(scores.sd[row]), 1):
        return event
    return 2 * len(detector.limits.labels) + row * int(d.size) + int(np.argmax(d))


def log_mean(log_d: Floats) -> float:
    """Ln of the mean over features; -inf without any."""
    return float(np.logaddexp.reduce(log_d) - np.log(log_d.size)) if log_d.size else -np.inf


def named(detector: Detector, state: State) -> list[int]:
    """Positions in ``judged`` of the e-d-BH set, strongest first."""
    order = np.argsort(-state.log_d, kind="stable")
    ranks = np.arange(1, order.size + 1)
    passing = np.flatnonzero(state.log_d[order] >= detector.threshold.log_naming + np.log(order.size / ranks))
    return [int(i) for i in order[: passing[-1] + 1]] if passing.size else []
