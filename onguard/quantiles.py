"""
Quantiles of the beta, chi-squared and non-central chi-squared laws without scipy.

The core runs in every pod and scipy would triple a sidecar's memory; scipy is the oracle in the tests. Agreement that
the tests hold: beta 1e-8 relative for shapes up to 1e6, chi-squared and non-central chi-squared 1e-8 relative for up
to 200 degrees of freedom and a non-centrality up to 1e4.

Methods: continued fraction of the incomplete beta by Lentz's rule and its inversion by Newton steps inside a bracket;
series and continued fraction of the incomplete gamma (NIST DLMF 8.17.22, 8.11.4, 8.9.2).
"""

import functools
import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_TINY: Final = 1e-300
_EPSILON: Final = 1e-12
_CF_STEPS: Final = 20_000
"""The fraction needs about sqrt(max(a, b)) steps near the mean: enough for shapes up to 1e7."""
_SOLVER_STEPS: Final = 200


def _lgamma(x: Floats) -> Floats:
    return np.fromiter(map(math.lgamma, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def _beta_fraction(a: Floats, b: Floats, x: Floats) -> Floats:
    """Continued fraction of I_x(a, b); converges fast for x below the mean."""
    c = np.ones_like(x)
    d = 1.0 / np.where(np.abs(1.0 - (a + b) * x / (a + 1.0)) < _TINY, _TINY, 1.0 - (a + b) * x / (a + 1.0))
    value = d.copy()
    for m in range(1, _CF_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        delta = np.ones_like(x)
        for term in (even, odd):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / np.where(np.abs(d) < _TINY, _TINY, d)
            c = np.where(np.abs(c) < _TINY, _TINY, c)
            delta = d * c
            value = value * delta
        if np.all(np.abs(delta - 1.0) < _EPSILON):
            break
    return value


def beta_lower_quantile(p: float | Floats, a: float | Floats, b: float | Floats) -> Floats:
    """
    Quantile of Beta(a, b) in the lower tail, elementwise.

    Args:
        p: probability in (0, 0.25].
        a: first shape, > 0, not so small that the quantile passes the mean.
        b: second shape, >= 1.

    >>> round(float(beta_lower_quantile(0.025, 3.0, 8.0)), 6)
    0.06674
    """
    target, a, b = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (p, a, b)))
    shape, (target, a, b) = target.shape, (np.atleast_1d(v) for v in (target, a, b))
    log_target, mean = np.log(target), a / (a + b)
    log_norm = _lgamma(a + b) - _lgamma(a) - _lgamma(b)
    # In t = logit(x) the log of the tail is concave, so that Newton's steps from the left do not cycle.
    high = np.log(mean) - np.log1p(-mean)
    low = high - 2.0 - (40.0 - log_target) / np.minimum(a, 1e6) - 40.0 / np.sqrt(np.minimum(a, b))
    spread = np.sqrt(-2.0 * log_target) * np.sqrt((a + b) / (a * b + 1.0))
    t = np.clip(high - spread, low, high)
    open_ = np.arange(t.size)
    for _ in range(_SOLVER_STEPS):
        at, (a_, b_) = t[open_], (a[open_], b[open_])
        x = 1.0 / (1.0 + np.exp(-at))
        fraction = _beta_fraction(a_, b_, x)
        gap = log_norm[open_] + a_ * np.log(x) + b_ * np.log1p(-x) + np.log(fraction / a_) - log_target[open_]
        low[open_], high[open_] = np.where(gap < 0, at, low[open_]), np.where(gap > 0, at, high[open_])
        following = at - gap * fraction / a_
        outside = ~((following >= low[open_]) & (following <= high[open_]))
        t[open_] = np.where(outside, 0.5 * (low[open_] + high[open_]), following)
        # The logarithm of the beta function is only known to about 1e-16 of its size.
        open_ = open_[(np.abs(t[open_] - at) > 1e-11) & (np.abs(gap) > 1e-15 * (a_ + b_) + 1e-12)]
        if not open_.size:
            break
    quantiles: Floats = 1.0 / (1.0 + np.exp(-t))
    return quantiles.reshape(shape)


def clopper_pearson(successes: Floats, trials: Floats, tail: float | Floats) -> tuple[Floats, Floats]:
    """
    Exact limits of a binomial share, elementwise: each is missed with probability at most ``tail``.

    Args:
        successes: 0 <= s <= n; may be fractional (effective sample sizes).
        trials: n >= 0; n = 0 gives (0, 1).
        tail: probability per side, at most 0.25.

    Clopper and Pearson, Biometrika 26 (1934).

    >>> low, high = clopper_pearson(np.array([3.0]), np.array([10.0]), 0.025)
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.0667, 0.6525)
    """
    tail = np.broadcast_to(np.asarray(tail, np.float64), successes.shape)
    failures = trials - successes
    some, fail = successes > 0, failures > 0
    lower, upper = np.zeros(successes.shape), np.ones(successes.shape)
    lower[some] = beta_lower_quantile(tail[some], successes[some], failures[some] + 1.0)
    upper[fail] = 1.0 - beta_lower_quantile(tail[fail], failures[fail], successes[fail] + 1.0)
    return lower, upper


def _gamma_upper(s: float, x: float) -> float:
    """Regularised upper incomplete gamma Q(s, x)."""
    if x <= 0:
        return 1.0
    front = math.exp(s * math.log(x) - x - math.lgamma(s))
    if x < s + 1.0:
        term = total = 1.0 / s
        for k in range(1, 100_000):
            term *= x / (s + k)
            total += term
            if term < total * 1e-17:
                break
        return 1.0 - front * total
    b = x + 1.0 - s
    c, d = 1.0 / _TINY, 1.0 / b
    value = d
    for k in range(1, 100_000):
        b += 2.0
        d = 1.0 / (-k * (k - s) * d + b)
        c = b - k * (k - s) / c
        value *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return front * value


def _solve(tail: Callable[[float], float], alpha: float, start: float) -> float:
    """Root of a decreasing tail, by bisection on the logarithm."""
    low = high = max(start, 1e-12)
    while tail(high) > alpha:
        high *= 2.0
    while tail(low) < alpha:
        low *= 0.5
    for _ in range(_SOLVER_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if tail(middle) > alpha else (low, middle)
        if high - low < 1e-12 * high:
            break
    return 0.5 * (low + high)


@functools.lru_cache(maxsize=4096)
def chi2_upper_quantile(alpha: float, df: float) -> float:
    """
    Value that a chi-squared variable with ``df`` degrees of freedom passes with probability ``alpha``.

    >>> round(chi2_upper_quantile(0.05, 19), 4)
    30.1435
    """
    return _solve(lambda x: _gamma_upper(df / 2.0, x / 2.0), alpha, float(df))


def _noncentral_tail(x: float, df: float, nc: float) -> float:
    """Poisson mixture of central tails; Q(s + 1, x) = Q(s, x) + x^s e^-x / Gamma(s + 1) only adds positive terms."""
    mean, half = nc / 2.0, x / 2.0
    reach = 10.0 * math.sqrt(mean) + 30.0
    first, last = max(0, math.floor(mean - reach)), math.ceil(mean + reach)
    s = df / 2.0 + first
    tail = _gamma_upper(s, half)
    log_weight = first * math.log(mean) - mean - math.lgamma(first + 1.0)
    log_step = s * math.log(half) - half - math.lgamma(s + 1.0)
    total = 0.0
    for j in range(first, last + 1):
        total += math.exp(log_weight) * tail
        tail = min(tail + math.exp(log_step), 1.0)
        s += 1.0
        log_step += math.log(half / s)
        log_weight += math.log(mean / (j + 1.0))
    return total


def ncx2_upper_quantile(alpha: float, df: int, nc: float) -> float:
    """
    The same for the non-central law with non-centrality ``nc`` >= 0.

    >>> round(ncx2_upper_quantile(0.05, 19, 10.0), 4)
    44.8199
    """
    if nc < 1e-12:
        return chi2_upper_quantile(alpha, df)
    return _solve(lambda x: _noncentral_tail(x, float(df), nc), alpha, df + nc)
