"""
Distances between two histograms, each beside the value that sampling alone explains.

A distance without its sampling law says nothing: with 20 bins and 200 rows the population stability index passes .1 in
a third of the cases where nothing moved. Under no drift, with n live and N reference rows in B bins:

* PSI and chi-squared: ``PSI ~ (1/n + 1/N) chi2(B - 1)``; with a tolerated PSI t the non-central law with
  non-centrality ``t / (1/n + 1/N)`` (Yurdakul 2018; Potgieter et al., arXiv 2307.11878);
* Jensen-Shannon: the divergence is ``1/8`` of the same form to second order (Lin, IEEE Trans. Inf. Theory 37, 1991);
* Kolmogorov-Smirnov: ``sqrt(-ln(a/2)/2 (1/n + 1/N))``, which bins can only make conservative;
* Wasserstein-1: the difference of CDFs is a Gaussian bridge; mean and variance of its absolute integral are matched by
  a scaled chi-squared.

For dashboards and reports; alarms come from ``onguard.detectors``, which may look any number of times.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from onguard.limits import Floats, Ints
from onguard.profile import Feature
from onguard.quantiles import chi2_upper_quantile, ncx2_upper_quantile

ALPHA: Final = 0.001
"""Error of one comparison: dashboards show many features many times."""
MIN_EXPECTED: Final = 5.0
"""Bins where fewer live rows are expected are pooled: the chi-squared law needs them full."""


class Distance(NamedTuple):
    """A distance and the value that it passes with probability ``alpha`` where nothing moved."""

    value: float
    critical: float

    @property
    def is_significant(self) -> bool:
        """Whether sampling alone does not explain it."""
        return self.value > self.critical


class Distances(NamedTuple):
    """All distances of one feature; ``ks`` and ``w1`` (in the reference's sd) need an order."""

    psi: Distance
    js: Distance
    chi2: Distance
    ks: Distance | None
    w1: Distance | None


def distances(feature: Feature, live: Ints, *, alpha: float = ALPHA, design_effect: float = 1.0) -> Distances | None:
    """
    Distances of live rows from the reference; None where either has no row: no data is not no drift.

    Args:
        feature: with its reference counts.
        live: counts in the feature's bins.
        alpha: error of each comparison by itself.
        design_effect: of the live rows; their number is divided by it.

    >>> from onguard.profile import Kind
    >>> town = Feature(name="town", kind=Kind.CATEGORICAL, categories=("a", "b"), counts=(500, 500, 0, 0, 0, 0, 0))
    >>> found = distances(town, np.array([70, 30, 0, 0, 0, 0, 0]))
    >>> round(found.psi.value, 3), round(found.psi.critical, 3), found.psi.is_significant
    (0.166, 0.119, True)
    """
    reference = np.array(feature.counts, np.int64)
    if live.shape != reference.shape:
        raise ValueError(f'expected {reference.size} counts for "{feature.name}", got {live.size}')
    if not (live.any() and reference.any()):
        return None
    thinned: Floats = live / max(design_effect, 1.0)
    p, q = pooled(reference, thinned)
    ordered = feature.is_ordered
    return Distances(
        psi=psi(p, q, alpha=alpha),
        js=jensen_shannon(p, q, alpha=alpha),
        chi2=chi2(p, q, alpha=alpha),
        ks=kolmogorov_smirnov(_line(feature, reference), _line(feature, thinned), alpha=alpha) if ordered else None,
        w1=_w1_of(feature, reference, thinned, alpha=alpha) if ordered else None,
    )


def pooled(reference: npt.ArrayLike, live: npt.ArrayLike) -> tuple[Floats, Floats]:
    """
    Both histograms with all bins in which fewer than 5 live rows are expected made one; empty ones are left out.

    >>> pooled([90, 2, 2, 90, 0], [50, 1, 0, 50, 0])
    (array([90., 90.,  4.]), array([50., 50.,  1.]))
    """
    p, q = np.asarray(reference, np.float64), np.asarray(live, np.float64)
    thin = p / max(p.sum(), 1.0) * q.sum() < MIN_EXPECTED
    rest = np.array([p[thin].sum()]), np.array([q[thin].sum()])
    if rest[0][0] + rest[1][0] == 0:
        return p[~thin], q[~thin]
    return np.append(p[~thin], rest[0]), np.append(q[~thin], rest[1])


def _noise(p: Floats, q: Floats) -> float:
    return float(1.0 / p.sum() + 1.0 / q.sum())


def _critical(p: Floats, alpha: float) -> float:
    return chi2_upper_quantile(alpha, p.size - 1) if p.size > 1 else 0.0


def psi(p: Floats, q: Floats, *, alpha: float = ALPHA, tolerated: float = 0.0) -> Distance:
    """
    Population stability index, with half a row added to each bin.

    Args:
        p: reference counts, not all zero.
        q: live counts, not all zero.
        alpha: error.
        tolerated: an index that does not matter.
    """
    a, b = (p + 0.5) / (p.sum() + 0.5 * p.size), (q + 0.5) / (q.sum() + 0.5 * q.size)
    value, noise = float(np.sum((b - a) * np.log(b / a))), _noise(p, q)
    if p.size < 2:
        return Distance(value, 0.0)
    return Distance(value, noise * ncx2_upper_quantile(alpha, p.size - 1, tolerated / noise))


def jensen_shannon(p: Floats, q: Floats, *, alpha: float = ALPHA) -> Distance:
    """
    Jensen-Shannon distance in [0, 1]: square root of the divergence in bits.

    Endres and Schindelin, IEEE Trans. Inf. Theory 49 (2003).
    """
    a, b = p / p.sum(), q / q.sum()
    middle = (a + b) / 2.0
    parts = (np.sum(x[x > 0] * np.log2(x[x > 0] / middle[x > 0])) for x in (a, b))
    value = math.sqrt(max(float(sum(parts)) / 2.0, 0.0))
    return Distance(value, math.sqrt(_noise(p, q) * _critical(p, alpha) / (8.0 * math.log(2.0))))


def chi2(p: Floats, q: Floats, *, alpha: float = ALPHA) -> Distance:
    """Two-sample chi-squared statistic of homogeneity (no bin empty in both)."""
    n, m = p.sum(), q.sum()
    value = float(np.sum((p * math.sqrt(m / n) - q * math.sqrt(n / m)) ** 2 / (p + q)))
    return Distance(value, _critical(p, alpha))


def kolmogorov_smirnov(p: Floats, q: Floats, *, alpha: float = ALPHA) -> Distance:
    """Largest difference of the CDFs at the bins' edges, bins in order."""
    if not (p.any() and q.any()):
        return Distance(0.0, 1.0)
    gap = np.abs(np.cumsum(p) / p.sum() - np.cumsum(q) / q.sum())
    return Distance(float(gap.max()), min(math.sqrt(-math.log(alpha / 2.0) / 2.0 * _noise(p, q)), 1.0))


def wasserstein(p: Floats, q: Floats, widths: Floats, *, alpha: float = ALPHA) -> Distance:
    """
    Wasserstein-1 distance with each bin's rows at its middle.

    Args:
        p: reference counts, in order.
        q: live counts.
        widths: distance from each bin's middle to the next, one less than the bins.
        alpha: error.
    """
    if not (p.any() and q.any()):
        return Distance(0.0, math.inf)
    value = float(np.abs(np.cumsum(p) / p.sum() - np.cumsum(q) / q.sum())[:-1] @ widths)
    cdf = np.cumsum(p + q)[:-1] / (p.sum() + q.sum())
    bridge = (np.minimum.outer(cdf, cdf) - np.outer(cdf, cdf)) * _noise(p, q)
    sd = np.sqrt(np.maximum(np.diag(bridge), 0.0))
    scale = np.outer(sd, sd)
    rho = np.clip(np.divide(bridge, scale, out=np.zeros_like(bridge), where=scale > 0), -1.0, 1.0)
    # Moments of |X| and |Y| for jointly normal X, Y.
    covariance = scale * (2.0 / math.pi) * (np.sqrt(1.0 - rho**2) + rho * np.arcsin(rho) - 1.0)
    mean, variance = float(sd @ widths) * math.sqrt(2.0 / math.pi), float(widths @ covariance @ widths)
    if mean <= 0 or variance <= 0:
        return Distance(value, 0.0)
    # Rounded so that the cache of quantiles is hit; a tenth of a degree of freedom moves the value by under 1 %.
    freedom = max(round(2.0 * mean**2 / variance, 1), 0.1)
    return Distance(value, mean / freedom * chi2_upper_quantile(alpha, freedom))


def _line(feature: Feature, counts: Ints | Floats) -> Floats:
    """Below, value bins, above: the present values in order."""
    values = feature.value_bins
    return np.array([counts[values + 2], *counts[:values], counts[values + 3]], np.float64)


def _w1_of(feature: Feature, reference: Ints, live: Floats, *, alpha: float) -> Distance | None:
    if feature.numeric is None or feature.numeric.sd <= 0:
        return None
    ends = np.array([feature.numeric.minimum, *feature.edges, feature.numeric.maximum]) / feature.numeric.sd
    middles = np.array([ends[0], *(ends[:-1] + ends[1:]) / 2.0, ends[-1]])
    return wasserstein(_line(feature, reference), _line(feature, live), np.diff(middles), alpha=alpha)
