"""
Whether the error is worse than the reference's, and whether it is at equal scores: a change of what scores mean.

The reference's rates r_b of wrong answers in score bin b lie, with probability 1 - alpha_ref, in a region C: each
within its Clopper-Pearson limits, and their mean over the reference's mix within its own (errors at different rates
are spread no wider than binomial ones of their mean: Hoeffding, Ann. Math. Stat. 27, 1956). For a mix q of scores,
``slack(q)`` is the most by which sum_b q_b (r_b - rhat_b) can be above 0 in C.

*Once* (a file): the error at equal scores is worse if the lower Clopper-Pearson limit of the batch's error passes
``sum_b q_b rhat_b + slack(q) + tolerance``.

*At every step* (an e-detector). Theorem. H0: each labelled row in bin b is wrong with conditional probability at most
``r_b + tolerance``, given all before it and the scores of its step, whatever the scores do. With the step's own mix q
and ``m_b = rhat_b + tolerance + slack(q)``, a row multiplies e by ``1 + lambda (wrong - m_b)``, lambda at most .95 /
max m_b and known before the labels. Its conditional mean is at most ``exp(lambda (r_b - rhat_b - slack(q)))``, and over
the step these exponents sum to at most 0 for every r in C. So E[e | past, scores] <= 1, ``R <- (R + 1) e`` keeps ``R -
t`` a supermartingale, and alarms at the mean of R over lambda >= A come at most T/A times in T steps, plus the
probability that C misses (compare Theorems 1 and 4 of the evidence, and Waudby-Smith and Ramdas, JRSS-B 86, 2024). A
row of weight w < 1 enters with the power w, which only lowers the mean. The error as a whole is the same with a single
bin. Each of the two takes half of the budget.

Counts are divided by the design effect of the reference's errors, if that is known: days that are bad by themselves
are no change.

The error as a whole has the smaller slack and would speak first. Where most of the rise is at equal scores it waits for
twice the logarithm of A, so that the test which can say why has its turn.

*Latch.* What is found stays until there is a new reference: only that makes it good.
"""

import dataclasses
import hashlib
from functools import cached_property
from typing import Final

import numpy as np

from onguard import contract
from onguard.budget import reference_alpha
from onguard.cause import Labels
from onguard.limits import Floats
from onguard.performance import Baseline, Change, Errors, change
from onguard.quantiles import clopper_pearson
from onguard.spec import FalseAlarms

COVERAGE: Final = 0.95
"""With labels for a smaller share of the rows nothing is judged: late labels are not those of random rows."""
FRACTIONS: Final = np.array([0.01, 0.04, 0.16, 0.32, 0.64, 0.95])
"""Bets as fractions of the largest that H0 allows."""
HALF: Final = float(np.log(2.0))
SHARE: Final = 0.2
"""Of a budget like that of ``falseAlarms``, and beside it: no objective of a ModelDeployment judges labels yet."""
TOLERANCE: Final = 0.01
"""Widest rise of the error that does not matter."""


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """
    Where the reference's rates lie: the region C.

    Attributes:
        mix: (B,) of the reference.
        below, above: (B,) how far each rate may lie from its estimate.
        mean_above: how far their mean over the reference's mix may.
    """

    mix: Floats
    below: Floats
    above: Floats
    mean_above: float

    def slack(self, mix: Floats) -> float:
        """
        The most by which the mean of the rates over ``mix`` can pass that of their estimates.

        A linear programme over a box and one half-space; its dual is convex and piecewise linear in one multiplier.

        >>> region = region_of(Errors(np.full(4, 1000.0), np.full(4, 200.0)), alpha=0.01)
        >>> bool(region.slack(np.full(4, 0.25)) < 0.02 < region.slack(np.array([1.0, 0, 0, 0])))
        True
        """
        bends = np.divide(mix, self.mix, out=np.zeros_like(mix), where=self.mix > 0)
        gaps = mix - np.append(bends, 0.0)[:, None] * self.mix
        bounds = np.append(bends, 0.0) * self.mean_above
        bounds += (np.maximum(gaps, 0.0) * self.above + np.maximum(-gaps, 0.0) * self.below).sum(axis=1)
        return float(bounds.min())


def region_of(errors: Errors, *, alpha: float) -> Region:
    """The region that misses the true rates with probability ``alpha`` at most."""
    low, high = clopper_pearson(errors.wrong, errors.rows, alpha / (4 * errors.rows.size))
    _, top = clopper_pearson(errors.wrong.sum(keepdims=True), errors.rows.sum(keepdims=True), alpha / 2)
    return Region(errors.mix, errors.rates - low, high - errors.rates, float(top[0]) - errors.rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """
    Whether a batch with labels is worse than the reference.

    Attributes:
        change: of the error.
        coverage: share of the rows with a score that have a label.
        is_worse: the error passes the reference's by more than the tolerance.
        is_worse_at_equal_scores: so does the error at equal scores.
    """

    change: Change
    coverage: float
    is_worse: bool
    is_worse_at_equal_scores: bool

    @property
    def is_pending(self) -> bool:
        """Too few labels to judge."""
        return self.coverage < COVERAGE

    @property
    def labels(self) -> Labels:
        """What the cause table is told."""
        if self.is_pending:
            return Labels.UNKNOWN
        return labels_of(self.change, is_worse=self.is_worse, at_equal_scores=self.is_worse_at_equal_scores)


def judge(baseline: Baseline, live: Errors, *, coverage: float, alpha: float, tolerance: float) -> Judged:
    """
    Judge a batch once; any of the two is found with probability ``alpha`` at most where neither is true.

    Raises:
        ValueError: without a labelled row, or with other bins.
    """
    found = change(baseline, live)
    old, new, share = baseline.errors, live.thinned(baseline.effect), alpha / 4.0
    low = float(clopper_pearson(new.wrong.sum(keepdims=True), new.rows.sum(keepdims=True), share)[0][0])
    top = float(clopper_pearson(old.wrong.sum(keepdims=True), old.rows.sum(keepdims=True), share)[1][0])
    at_equal = float(new.mix @ old.rates) + region_of(old, alpha=share).slack(new.mix)
    is_judged = coverage >= COVERAGE
    return Judged(
        change=found,
        coverage=coverage,
        is_worse=is_judged and low > top + tolerance,
        is_worse_at_equal_scores=is_judged and low > at_equal + tolerance,
    )


def labels_of(found: Change, *, is_worse: bool, at_equal_scores: bool) -> Labels:
    """A change of concept is what is certain at equal scores and is the larger part of the rise."""
    if at_equal_scores and found.is_mostly_equal_scores:
        return Labels.CONCEPT
    return Labels.WORSE if is_worse or at_equal_scores else Labels.QUIET


@dataclasses.dataclass(frozen=True, eq=False)
class ConceptDetector:
    """
    Judges labelled rows as they come.

    Attributes:
        baseline: the reference.
        log_alarm: ln A.
        alpha: probability that the reference's limits miss.
        tolerance: widest rise of the error that does not matter.
    """

    baseline: Baseline
    log_alarm: float
    alpha: float
    tolerance: float

    @cached_property
    def regions(self) -> tuple[tuple[Floats, Region], ...]:
        """Rates and region of the error as a whole, then of the error at equal scores."""
        by_bin = self.baseline.errors
        whole = Errors(by_bin.rows.sum(keepdims=True), by_bin.wrong.sum(keepdims=True))
        return tuple((e.rates, region_of(e, alpha=self.alpha / 2)) for e in (whole, by_bin))

    @cached_property
    def key(self) -> str:
        """Evidence against one reference or tolerance is none against another."""
        parts = (*self.baseline.errors.rows.tolist(), *self.baseline.errors.wrong.tolist(), self.alpha, self.tolerance)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def detector_of(baseline: Baseline, false_alarms: FalseAlarms) -> ConceptDetector:
    """A detector that takes the labels of each scrape; false alarms are at most ``SHARE`` of ``false_alarms``."""
    scrapes = false_alarms.per / contract.SCRAPE_S
    log_alarm = max(float(np.log(scrapes / (SHARE * false_alarms.at_most))), 0.0)
    return ConceptDetector(baseline, log_alarm=log_alarm, alpha=reference_alpha(1), tolerance=TOLERANCE)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ConceptState:
    """
    Evidence so far.

    Attributes:
        key: identity of the reference and tolerance.
        steps: non-empty steps.
        log_r: (2, 6) ln R of each bet, on the whole and at equal scores.
        since: step of each of the two alarms, None while there is none.
        recent: rows since the evidence began to grow.
    """

    key: str
    steps: int = 0
    log_r: Floats
    since: tuple[int | None, int | None] = (None, None)
    recent: Errors

    @property
    def log_d(self) -> Floats:
        """(2,) ln of the evidence."""
        found: Floats = np.logaddexp.reduce(self.log_r, axis=1) - np.log(self.log_r.shape[1])
        return found


def start(detector: ConceptDetector) -> ConceptState:
    """No evidence yet."""
    nothing = np.zeros(detector.baseline.errors.rows.size)
    return ConceptState(key=detector.key, log_r=np.full((2, FRACTIONS.size), -np.inf), recent=Errors(nothing, nothing))


def step(detector: ConceptDetector, state: ConceptState, live: Errors) -> ConceptState:
    """
    Evidence after more labelled rows, of all replicas together. Without any nothing changes.

    Raises:
        ValueError: for other bins, or a state of another reference.
    """
    if state.key != detector.key or live.rows.shape != state.recent.rows.shape:
        raise ValueError("expected evidence and labelled rows in the score bins of this reference")
    if not live.total:
        return state
    new = live.thinned(detector.baseline.effect)
    whole = Errors(new.rows.sum(keepdims=True), new.wrong.sum(keepdims=True))
    gains = [
        _gain(e, rates + detector.tolerance + region.slack(e.mix))
        for e, (rates, region) in zip((whole, new), detector.regions, strict=True)
    ]
    moved = dataclasses.replace(state, steps=state.steps + 1, log_r=np.logaddexp(state.log_r, 0.0) + np.stack(gains))
    alarm = detector.log_alarm + HALF
    grows = state.since != (None, None) or bool(np.any(state.log_d > alarm / 2))
    recent = state.recent + live if grows else live
    bars = (alarm * (2.0 if change(detector.baseline, recent).is_mostly_equal_scores else 1.0), alarm)
    first, second = (
        since if since is not None or log_d < bar else moved.steps
        for since, log_d, bar in zip(state.since, moved.log_d, bars, strict=True)
    )
    return dataclasses.replace(moved, since=(first, second), recent=recent)


def _gain(errors: Errors, limits: Floats) -> Floats:
    """(6,) ln of each bet's factor."""
    bets = FRACTIONS[:, None] / float(limits.max())
    right = errors.rows - errors.wrong
    gain: Floats = np.log1p(bets * (1.0 - limits)) @ errors.wrong + np.log1p(-bets * limits) @ right
    return gain


def labels(detector: ConceptDetector, state: ConceptState) -> Labels:
    """
    What the cause table is told.

    >>> before = Errors(np.full(2, 5000.0), np.array([500.0, 1500.0]))
    >>> baseline = Baseline(np.array([0.5]), before, threshold=0.5, effect=1.0)
    >>> detector = ConceptDetector(baseline, log_alarm=12.0, alpha=0.01, tolerance=0.01)
    >>> state = start(detector)
    >>> labels(detector, state)
    <Labels.UNKNOWN: 'unknown'>
    >>> for _ in range(20):
    ...     state = step(detector, state, Errors(np.full(2, 100.0), np.array([25.0, 45.0])))
    >>> labels(detector, state)
    <Labels.CONCEPT: 'concept'>
    """
    if not state.steps:
        return Labels.UNKNOWN
    worse, at_equal = (since is not None for since in state.since)
    if not (worse or at_equal):
        return Labels.QUIET
    return labels_of(change(detector.baseline, state.recent), is_worse=worse, at_equal_scores=at_equal)
