"""
Values that were cut short on their way: ``"1987"`` came as ``"19"``, ``"AB12"`` as ``"A"``.

A code that is cut often is another code, so nothing looks broken. But cutting maps each value to one value, so the
reference says what the live shares must be then: of names one by one, of whole numbers at each edge, where a bin whose
values go to both sides of an edge leaves a band. Live shares within the band, and a reference that is far outside of
it, are no other population.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from onguard.profile import Feature, Kind

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

GAIN: Final = 0.2
"""The reference must be outside of what cutting makes of it by this much."""
WITHIN: Final = 0.03
"""How far live shares may be outside, beyond sampling."""
LARGEST: Final = 100_000
"""Whole numbers up to this are taken one by one."""
_SAMPLING: Final = 1.63
"""Quantile of Kolmogorov's law at 1 %."""


class _Band(NamedTuple):
    """Least and largest shares after cutting, those that were seen, and how far the reference is outside."""

    lower: Floats
    upper: Floats
    live: Floats
    gain: float


def cut_to(feature: Feature, live: Ints) -> int | None:
    """
    Characters that the values of a feature were cut to; None: they were not, or nobody can tell.

    Args:
        feature: of the reference.
        live: (size,) rows per bin.

    >>> counts = (300, 500, 200, 0, 0, 0, 0, 0)
    >>> codes = Feature(name="code", kind=Kind.CATEGORICAL, categories=("A", "AB", "B"), counts=counts)
    >>> cut_to(codes, np.array([800, 0, 200, 0, 0, 0, 0, 0])), cut_to(codes, np.array(counts))
    (1, None)
    """
    make = _names if feature.kind is Kind.CATEGORICAL else _numbers
    reference = np.array(feature.counts, np.int64)
    n, total = float(live.sum()), float(reference.sum())
    if not n or not total:
        return None
    within = WITHIN + _SAMPLING * math.sqrt(1.0 / n + 1.0 / total)
    for length in range(1, _longest(feature)):
        band = make(feature, live / n, reference / total, length)
        if band.gain >= GAIN and float(_outside(band.lower, band.upper, band.live).max()) <= within:
            return length
    return None


def _longest(feature: Feature) -> int:
    if feature.kind is Kind.CATEGORICAL:
        return max((len(name) for name in feature.categories), default=0)
    return len(str(int(feature.numeric.maximum))) if feature.numeric and _is_whole(feature) else 0


def _is_whole(feature: Feature) -> bool:
    """Whether it holds whole numbers from 0 that are few enough to be taken one by one."""
    numeric = feature.numeric
    if feature.kind is not Kind.NUMERIC or numeric is None or not 0 <= numeric.minimum <= numeric.maximum <= LARGEST:
        return False
    return bool(feature.edges) and all(x == int(x) for x in (*feature.edges, numeric.minimum, numeric.maximum))


def _outside(lower: Floats, upper: Floats, shares: Floats) -> Floats:
    outside: Floats = np.maximum(np.maximum(lower - shares, shares - upper), 0.0)
    return outside


def _names(feature: Feature, live: Floats, reference: Floats, length: int) -> _Band:
    """Of each category, then of all others; the reference's own others may be cut to anything."""
    size = len(feature.categories)
    places = {name: at for at, name in enumerate(feature.categories)}
    lower = np.zeros(size + 1)
    for name, share in zip(feature.categories, reference, strict=False):
        lower[places.get(name[:length], size)] += share
    upper = lower + reference[size]
    gain = 0.5 * float(_outside(lower, upper, reference[: size + 1]).sum())
    return _Band(lower, upper, live[: size + 1], gain)


def _numbers(feature: Feature, live: Floats, reference: Floats, length: int) -> _Band:
    """Running shares at each edge."""
    numeric, values = feature.numeric, feature.value_bins
    first, last = (int(numeric.minimum), int(numeric.maximum)) if numeric else (0, 0)
    whole = np.arange(first, last + 1)
    digits = np.searchsorted(10 ** np.arange(1, 7), whole, side="right") + 1
    cut = whole // 10 ** np.maximum(digits - length, 0)
    edges = np.array(feature.edges)
    bins = np.searchsorted(edges, whole)
    least, most = np.full(values, np.inf), np.full(values, -np.inf)
    np.minimum.at(least, bins, cut)
    np.maximum.at(most, bins, cut)
    shares = reference[:values] / max(float(reference[:values].sum()), 1e-12)
    lower = ((most[:, None] <= edges) * shares[:, None]).sum(axis=0)
    upper = ((least[:, None] <= edges) * shares[:, None]).sum(axis=0)
    gain = float(_outside(lower, upper, _running(reference, values)).max(initial=0.0))
    return _Band(lower, upper, _running(live, values), gain)


def _running(shares: Floats, values: int) -> Floats:
    """Of those that are numbers, at or below each edge."""
    line = np.array([shares[values + 2], *shares[:values], shares[values + 3]])
    running: Floats = np.cumsum(line)[1:values] / max(float(line.sum()), 1e-12)
    return running
