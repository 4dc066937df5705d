"""Scores of a reference: which functions of the bins, and the levels that its counted rows leave open for means."""

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from onguard.profile import SPECIALS, Feature
from onguard.scores import BOLDEST, LEVELS, NAMES, Floats, Ints, Scores, none

_REFERENCE_BETS: Final = np.array([1.0, 2.0, 3.0, 4.5, 7.0])
_REFERENCE_WEIGHTS: Final = np.array([0.25, 0.2, 0.2, 0.15, 0.1, 0.1])
"""The first is w_0."""
_FAR: Final = 10.5
"""Squared distance from the middle, in variances, of values beyond the reference's."""
_LEAST_BINS: Final = 2
_SURE: Final = 80.0
"""ln W from which on more changes nothing, and products stay finite."""
_BELOW, _ABOVE = SPECIALS.index("below"), SPECIALS.index("above")


def functions_of(bins: int) -> Floats:
    """
    Scores of the values below, in each of ``bins`` equally frequent bins, and above: (H, bins + 2).

    *place* is the rank, *spread* the squared distance from the middle of a normal law, *tails* the same with values
    beyond the reference's range far out. *down* is 1 minus *up*.

    >>> functions_of(4)[[0, 2, 4]].round(2)
    array([[0.  , 0.12, 0.38, 0.62, 0.88, 1.  ],
           [1.  , 1.  , 0.08, 0.08, 1.  , 1.  ],
           [1.  , 0.18, 0.01, 0.01, 0.18, 1.  ]])
    """
    place = np.concatenate([[0.0], (np.arange(bins) + 0.5) / bins, [1.0]])
    square = np.array([_square(i / bins, (i + 1) / bins) for i in range(bins)])
    spread = np.concatenate([square[:1], square, square[-1:]]) / square.max()
    tails = np.concatenate([[_FAR], square, [_FAR]]) / _FAR
    return np.stack([place, 1.0 - place, spread, 1.0 - spread, tails])


def _square(low: float, high: float) -> float:
    """Mean square of a standard normal value between two quantiles."""
    law = NormalDist()
    ends = [law.inv_cdf(p) if 0.0 < p < 1.0 else 0.0 for p in (low, high)]
    weighted = [z * law.pdf(z) if 0.0 < p < 1.0 else 0.0 for z, p in zip(ends, (low, high), strict=True)]
    return 1.0 + (weighted[0] - weighted[1]) / (high - low)


class Scored(NamedTuple):
    """A feature that has scores: its place in the limits, where its bins start, and the design effect of its rows."""

    at: int
    feature: Feature
    offset: int
    effect: float


def scores_of(
    features: Sequence[Scored],
    whole: Ints,
    *,
    tolerance: float,
    hours: Mapping[int, Ints],
) -> Scores:
    """
    Scores of the ordered features among these.

    Args:
        features: whose values are judged.
        whole: (B,) counts of the reference.
        tolerance: widest change of a probability that does not matter: a mean may move by so much times x's variation.
        hours: counts of each cell of the season.
    """
    chosen = [one for one in features if one.feature.is_ordered and one.feature.value_bins >= _LEAST_BINS]
    if not chosen:
        return none()
    width = max(one.feature.value_bins for one in chosen) + 2
    shape = (len(chosen), len(NAMES))
    places, x, sd = np.full((shape[0], width), -1, np.int64), np.zeros((*shape, width)), np.zeros(shape)
    for row, one in enumerate(chosen):
        size = one.feature.value_bins
        places[row, : size + 2] = one.offset + np.array([size + _BELOW, *range(size), size + _ABOVE])
        x[row, :, : size + 2] = functions_of(size)
        sd[row] = x[row, :, 1 : size + 1].std(axis=1)
    sd[sd < 1e-9] = 0.0
    bare = dataclasses.replace(
        none(),
        feature=np.array([one.at for one in chosen], np.int64),
        places=np.maximum(places, 0),
        present=places >= 0,
        x=x,
        sd=sd,
    )
    effect = np.array([one.effect for one in chosen])
    return _levelled(bare, effect, tolerance, whole, hours)


def _levelled(bare: Scores, effect: Floats, tolerance: float, whole: Ints, hours: Mapping[int, Ints]) -> Scores:
    # Values below and above lie at the ends of the order: the variation is that of the row without its padding.
    variation = (np.abs(np.diff(bare.x, axis=2)) * bare.present[:, None, 1:]).sum(axis=2)
    counted = {cell: _levels(bare, bins, effect) for cell, bins in (hours or {-1: whole}).items()}
    upper = {cell: np.minimum(levels + tolerance * variation[:, None], 1.0) for cell, (levels, _) in counted.items()}
    # A cell without rows bounds nothing: its levels are 1.
    w = np.min([w for _, w in counted.values()], axis=0) / len(counted)
    if hours:
        return dataclasses.replace(bare, upper=np.ones(upper[next(iter(hours))].shape), w=w, by_hour=upper)
    return dataclasses.replace(bare, upper=upper[-1], w=w)


def _levels(bare: Scores, bins: Ints, effect: Floats) -> tuple[Floats, Floats]:
    """(F, G, H) means at the levels, (F, G + 1, H) w_0, and W at each."""
    counts = np.where(bare.present, bins[bare.places], 0) / effect[:, None]
    n = np.maximum(counts.sum(axis=1), 1e-9)[:, None]
    mean = (counts[:, None] * bare.x).sum(axis=2) / n
    square = (counts[:, None] * (bare.x - mean[..., None]) ** 2).sum(axis=2)
    # Half a row more, so that a reference without spread has an error too.
    error = np.sqrt(square + 0.5 * bare.sd**2) / n
    levels = np.where(n > 1e-9, np.minimum(mean + LEVELS[:, None, None] * error, 1.0), 1.0).swapaxes(0, 1)
    log_w = [np.full(levels.shape, np.log(_REFERENCE_WEIGHTS[0]))]
    for weight, z in zip(_REFERENCE_WEIGHTS[1:], _REFERENCE_BETS, strict=True):
        bet = np.minimum(z / np.sqrt(n) / np.maximum(bare.sd, 1e-9), BOLDEST)[:, None, :, None]
        factor = np.log1p(-bet * (bare.x[:, None] - levels[..., None]))
        log_w.append(np.log(weight) + (counts[:, None, None] * factor).sum(axis=3))
    w = np.exp(np.minimum(np.logaddexp.reduce(log_w, axis=0), _SURE))
    return levels, np.concatenate([np.full_like(w[:, :1], _REFERENCE_WEIGHTS[0]), w], axis=1)
