"""What a reference keeps beyond bins: second moments of its numeric inputs, and its design effect."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard import binning
from onguard.columns import Column, Floats, Ints
from onguard.profile import CLIP_SD, MAX_MOMENTS, Feature, Group, Moments, Role
from onguard.quantiles import chi2_upper_quantile

Mask = npt.NDArray[np.bool_]

MIN_DAYS: Final = 7
"""Fewer blocks of a day than this say nothing of the variance between days."""
DAY_S: Final = 86_400.0
_OVERALL: Final = 0.9
_MISS: Final = 0.01
_PLACES: Final = 6


def standardised(values: Floats, mean: float, sd: float) -> Floats:
    """
    (x - mean) / sd, clipped to 8 sd; zero where the reference does not vary.

    >>> standardised(np.array([1.0, 3.0, 999.0]), 1.0, 2.0)
    array([0., 1., 8.])
    """
    if sd <= 0:
        return np.zeros_like(values)
    with np.errstate(over="ignore"):  # beyond all numbers is beyond 8 sd
        z: Floats = np.clip((values - mean) / sd, -CLIP_SD, CLIP_SD)
    return z


def moments(columns: Sequence[Column], features: Sequence[Feature], counted: Mask) -> Moments | None:
    """Means and mean products of the first 32 numeric inputs that vary; an unreadable value adds nothing."""
    chosen = [
        (c.numbers[counted], f.name, f.numeric)
        for c, f in zip(columns, features, strict=True)
        if c.numbers is not None and f.numeric and f.numeric.sd > 0 and _is_plain(f)
    ][:MAX_MOMENTS]
    if not chosen:
        return None
    z = np.stack([standardised(np.where(np.isfinite(x), x, n.mean), n.mean, n.sd) for x, _, n in chosen])
    products = np.round(z @ z.T / z.shape[1], _PLACES) + 0.0
    return Moments(
        features=tuple(name for _, name, _ in chosen),
        means=tuple((np.round(z.mean(axis=1), _PLACES) + 0.0).tolist()),
        products=tuple(tuple(row) for row in products.tolist()),
    )


def _is_plain(feature: Feature) -> bool:
    return feature.group is Group.INPUT and feature.role is Role.FEATURE


def design_effects(columns: Sequence[Column], features: Sequence[Feature], counted: Mask) -> tuple[float | None, ...]:
    """
    Variance between days over the binomial variance, one a feature, at least 1.

    None without a clock that spans 7 days. It is the larger of the median event's and of missing values', and 1 where
    the days differ no more than sampling explains (1 % over all features).
    """
    days = _days(columns, counted)
    if days is None:
        return (None,) * len(features)
    return tuple(
        max(_of_event(event[counted], days, _MISS / (2 * len(features))) for event in _events(c, f))
        for c, f in zip(columns, features, strict=True)
    )


def overall(effects: Sequence[float | None]) -> float | None:
    """The 90th percentile, for people: the limits use each feature's own."""
    known = [effect for effect in effects if effect is not None]
    return round(float(np.quantile(known, _OVERALL)), 3) if known else None


def _days(columns: Sequence[Column], counted: Mask) -> Ints | None:
    """Index of each counted row's day by the first clock, -1 where it is not readable."""
    clocks = [c.numbers for c in columns if c.role is Role.TIME and c.numbers is not None]
    if not clocks:
        return None
    values = clocks[0][counted]
    readable = np.isfinite(values)
    if not readable.any():
        return None
    seconds = values / (1000.0 if np.median(values[readable]) > 1e11 else 1.0)
    days = np.full(values.size, -1, np.int64)
    _, days[readable] = np.unique(np.floor(seconds[readable] / DAY_S), return_inverse=True)
    return days if days.max() + 1 >= MIN_DAYS else None


def _events(column: Column, feature: Feature) -> tuple[Floats, Floats]:
    """The value is at most the middle edge or is the most frequent name (NaN: no value); the value is missing."""
    present = column.present
    event = np.full(column.rows, np.nan)
    if column.numbers is not None and feature.edges:
        event[present] = column.numbers[present] <= feature.edges[len(feature.edges) // 2]
    elif column.codes is not None and feature.categories:
        table = binning.bin_categories(feature, [*column.names, None])
        event[present] = table[column.codes[present]] == 0
    return event, (~present).astype(np.float64)


def _of_event(event: Floats, days: Ints, alpha: float) -> float:
    known = np.isfinite(event) & (days >= 0)
    share = float(event[known].mean()) if known.any() else 0.0
    return _significant(event[known], np.full(int(known.sum()), share), days[known], alpha)


def residual_effect(columns: Sequence[Column], counted: Mask, event: Floats, expected: Floats) -> float | None:
    """
    Variance between days over the binomial variance, of an event whose probability differs from row to row.

    Args:
        columns: of the file, with the clock.
        counted: which of their rows the next two speak of.
        event: (counted rows,) 1 where it happened, NaN where that is not known.
        expected: (counted rows,) its probability.
    """
    days = _days(columns, counted)
    if days is None:
        return None
    known = np.isfinite(event) & (days >= 0)
    return _significant(event[known], expected[known], days[known], _MISS)


def _significant(event: Floats, expected: Floats, days: Ints, alpha: float) -> float:
    n = np.bincount(days)
    variance = np.bincount(days, expected * (1.0 - expected))
    used = variance > 0
    if np.count_nonzero(n) < MIN_DAYS or np.count_nonzero(used) < 2:
        return 1.0
    gaps = np.bincount(days, event - expected)[used]
    statistic = float(np.sum(gaps**2 / variance[used]))
    freedom = int(np.count_nonzero(used)) - 1
    return round(statistic / freedom, 3) if statistic > chi2_upper_quantile(alpha, freedom) else 1.0
