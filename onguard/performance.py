"""
Performance: how often the model is wrong, what changed that, and what to expect without labels. Pure.

All of it is a function of counts per score bin b: rows and wrong answers, of the reference (N_b, r_b) and of a batch
(shares q_b, rates r'_b). With p_b = N_b / N the change of the error is exactly

    sum_b q_b r'_b - sum_b p_b r_b = sum_b (q_b - p_b) r_b + sum_b q_b (r'_b - r_b)

The first term is what another mix of scores explains (X: no label is needed for it), the second what the same scores
mean now (Y given X). It is the decomposition of Cai, Namkoong and Yadlowsky, "Diagnosing model performance under
distribution shift" (arXiv 2303.02011), given the score in place of the inputs: what moves the inputs inside one score
bin shows as the second term, so it is read next to the quality of the data.

Intervals are of normal theory and for reading. Whether the model is worse is decided in ``onguard.concept``.
"""

import dataclasses
import math
from typing import Final, NamedTuple

import numpy as np

from onguard.calibrating import is_wrong, score_of
from onguard.limits import Floats
from onguard.profile import SPECIALS, Profile
from onguard.quantiles import chi2_upper_quantile

CONFIDENCE: Final = 0.95
"""Of intervals that are for reading."""
_MISSING, _UNPARSEABLE, _BELOW, _ABOVE = range(len(SPECIALS))


class Interval(NamedTuple):
    """An estimate with its limits."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, variance: float, *, least: float = -1.0) -> "Interval":
        """
        Normal theory, inside [least, 1].

        >>> Interval.of(0.2, 0.01**2)
        Interval(value=0.2, low=0.1804, high=0.2196)
        """
        half = math.sqrt(chi2_upper_quantile(1.0 - CONFIDENCE, 1) * variance)
        low, high = max(value - half, least), min(value + half, 1.0)
        return cls(round(value, 6), round(low, 6), round(high, 6))


@dataclasses.dataclass(frozen=True, eq=False)
class Errors:
    """
    Rows and wrong answers by score bin; either may be fractional.

    Attributes:
        rows: (B,) rows with a label.
        wrong: (B,) those that are wrong.
    """

    rows: Floats
    wrong: Floats

    def __post_init__(self) -> None:
        if self.rows.shape != self.wrong.shape or np.any(self.wrong < 0) or np.any(self.wrong > self.rows):
            raise ValueError("expected as many counts of wrong rows as of rows, each from 0 to the rows of its bin")

    @property
    def total(self) -> float:
        """All rows."""
        return float(self.rows.sum())

    @property
    def rate(self) -> float:
        """Share of wrong rows; 0 without rows."""
        return float(self.wrong.sum()) / max(self.total, 1e-9)

    @property
    def mix(self) -> Floats:
        """(B,) shares of the rows; 0 without rows."""
        mix: Floats = self.rows / max(self.total, 1e-9)
        return mix

    @property
    def rates(self) -> Floats:
        """(B,) shares of wrong rows; in an empty bin that of all."""
        whole = np.full(self.rows.shape, self.rate)
        rates: Floats = np.divide(self.wrong, self.rows, out=whole, where=self.rows > 0)
        return rates

    @property
    def noise(self) -> Floats:
        """(B,) variance of one row's error, never quite 0."""
        share: Floats = (self.wrong + 0.5) / (self.rows + 1.0)
        return share * (1.0 - share)

    def thinned(self, effect: float) -> "Errors":
        """For how many independent rows these speak."""
        return Errors(self.rows / effect, self.wrong / effect)

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(self.rows + other.rows, self.wrong + other.wrong)


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """
    What the reference says of errors.

    Attributes:
        edges: of the score bins.
        errors: as many rows as are independent.
        effect: variance between days over the binomial variance, at least 1; 1 without time stamps.
    """

    edges: Floats
    errors: Errors
    threshold: float
    effect: float

    def counted(self, scores: Floats, labels: Floats) -> Errors:
        """
        Count rows with a finite score and a label of 0 or 1; others are left out.

        >>> nothing = Errors(np.zeros(2), np.zeros(2))
        >>> half = Baseline(np.array([0.5]), nothing, threshold=0.5, effect=1.0)
        >>> half.counted(np.array([0.1, 0.2, 0.9, np.nan]), np.array([0.0, 1.0, np.nan, 1.0])).wrong
        array([1., 0.])
        """
        known = np.isfinite(scores) & np.isfinite(labels)
        bins = np.searchsorted(self.edges, scores[known], side="left")
        wrong = is_wrong(scores[known], labels[known], self.threshold)
        size = self.edges.size + 1
        rows = np.bincount(bins, minlength=size).astype(np.float64)
        return Errors(rows, np.bincount(bins, wrong, minlength=size).astype(np.float64))


def baseline_of(profile: Profile) -> Baseline | None:
    """The errors of a reference; None if it has no labels, or of no numeric output."""
    found = profile.calibration
    if found is None or not found.wrong or not sum(found.rows):
        return None
    effect = max(found.design_effect or 1.0, 1.0)
    errors = Errors(np.array(found.rows, np.float64), np.array(found.wrong, np.float64)).thinned(effect)
    return Baseline(np.array(found.edges), errors, found.threshold, effect)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """
    What became of the error.

    Attributes:
        rows: with a label.
        before, now: error of the reference and of these rows.
        by_mix: what the mix of scores explains (X).
        at_equal_scores: what remains (Y given X).
    """

    rows: float
    before: Interval
    now: Interval
    by_mix: Interval
    at_equal_scores: Interval

    @property
    def is_mostly_equal_scores(self) -> bool:
        """Whether the larger part of the rise is at equal scores."""
        return self.at_equal_scores.value >= max(self.by_mix.value, 0.0)


def change(baseline: Baseline, live: Errors) -> Change:
    """
    Split the change of the error.

    Raises:
        ValueError: without a labelled row, or with other bins.

    >>> before = Errors(np.array([500.0, 500.0]), np.array([50.0, 150.0]))
    >>> baseline = Baseline(np.array([0.5]), before, threshold=0.5, effect=1.0)
    >>> found = change(baseline, Errors(np.array([100.0, 300.0]), np.array([10.0, 150.0])))
    >>> found.now.value, found.by_mix.value, found.at_equal_scores.value
    (0.4, 0.05, 0.15)
    """
    if live.rows.shape != baseline.errors.rows.shape or not live.total:
        raise ValueError(f"expected labelled rows in {baseline.errors.rows.size} score bins, got {live.total:g}")
    old, new, q = baseline.errors, live.thinned(baseline.effect), live.mix
    expected = float(q @ old.rates)
    rates_noise = old.noise / np.maximum(old.rows, 1.0)
    of_mix = _spread(q, old.rates) / new.total + _spread(old.mix, old.rates) / old.total
    return Change(
        rows=live.total,
        before=_rate(old),
        now=_rate(new),
        by_mix=Interval.of(expected - old.rate, of_mix + float((q - old.mix) ** 2 @ rates_noise)),
        at_equal_scores=Interval.of(new.rate - expected, float(q @ new.noise) / new.total + float(q**2 @ rates_noise)),
    )


def _rate(errors: Errors) -> Interval:
    share = (errors.wrong.sum() + 0.5) / (errors.total + 1.0)
    return Interval.of(errors.rate, share * (1.0 - share) / errors.total, least=0.0)


def _spread(mix: Floats, rates: Floats) -> float:
    return max(float(mix @ rates**2) - float(mix @ rates) ** 2, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """
    The error to expect of rows without labels, if scores mean what they meant.

    Attributes:
        rows: with a score.
        error: what their labels would show; its limits hold the labels' own chance too.
        before: error of the reference.
        by_mix: expected change.
        outside: share of the rows whose score the reference never saw, on either side.
    """

    rows: float
    error: Interval
    before: Interval
    by_mix: Interval
    outside: float = 0.0


def estimate(baseline: Baseline, rows: Floats, *, outside: float = 0.0) -> Estimate:
    """
    Expect an error from scores alone: each score bin at the reference's rate of its own.

    Args:
        baseline: of the reference.
        rows: (B,) rows, or weights of requests, by score bin.
        outside: share of them beyond the reference's scores.

    Raises:
        ValueError: without rows, or with other bins.
    """
    nothing_known = Errors(rows, rows * baseline.errors.rates)
    found = change(baseline, nothing_known)
    new, old = nothing_known.thinned(baseline.effect), baseline.errors
    noise = old.noise / np.maximum(old.rows, 1.0)
    variance = float(new.mix @ old.noise) / new.total + float(new.mix**2 @ noise)
    return Estimate(
        rows=new.total * baseline.effect,
        error=Interval.of(new.rate, variance, least=0.0),
        before=found.before,
        by_mix=found.by_mix,
        outside=outside,
    )


def score_rows(profile: Profile, bins: Floats) -> tuple[Floats, float]:
    """
    Rows by score bin, and the share of them beyond the reference's scores, which the outermost bins take.

    Args:
        profile: with a numeric output.
        bins: (B,) counts or weights in the profile's layout.

    Raises:
        ValueError: for a profile without a numeric output.
    """
    score = score_of(profile.features)
    if score is None:
        raise ValueError("expected a profile with a numeric output")
    block = np.asarray(bins, np.float64)[profile.layout.block(profile.features.index(score))]
    rows, special = block[: score.value_bins].copy(), block[score.value_bins :]
    rows[0] += special[_BELOW]
    rows[-1] += special[_ABOVE]
    return rows, float(special[_BELOW] + special[_ABOVE]) / max(float(rows.sum()), 1e-9)
