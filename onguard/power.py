"""
What the monitor can find at the present traffic, and how fast: shown in status.detectable and in Decisions.

An event with reference probability p in N rows has a limit u above p by its sampling error and the tolerance: nothing
nearer is detectable at any traffic. Beyond, with a true probability p' > u, n requests a step and C components in all,

    steps ~ (ln A + ln C) / (n kl(p', u)),      kl(p, u) = p ln(p/u) + (1-p) ln((1-p)/(1-u))

since the best component grows by kl per request and holds 1/C of the mean. These are planning figures; the guarantee
is Theorem 1's. For arms, f bad units in all find an odds ratio psi with share rho on the new arm once
``f KL(Bern(rho psi / (rho psi + 1 - rho)), Bern(rho)) >= ln(1/alpha) + ln J``.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from onguard.arms import ODDS
from onguard.bounded import FRACTIONS, BoundedDetector
from onguard.detectors import Detector
from onguard.limits import Floats

_HALVINGS: Final = 60


class Detectable(NamedTuple):
    """
    What an objective's detector finds within a given number of steps.

    Attributes:
        smallest: smallest shift of the typical feature's CDF (drift) or share of bad requests (errors, latency) that
            is found in time; 1 where nothing is.
        floor: what no amount of traffic goes below.
        steps: the number of steps asked for.
    """

    smallest: float
    floor: float
    steps: int


def divergence(p: float, u: float) -> float:
    """
    Bernoulli divergence kl(p, u) in nats; 0 < u < 1.

    >>> round(divergence(0.6, 0.5), 4), divergence(0.5, 0.5), round(divergence(1.0, 0.5), 4)
    (0.0201, 0.0, 0.6931)
    """
    first = p * math.log(p / u) if p > 0 else 0.0
    return first + ((1.0 - p) * math.log((1.0 - p) / (1.0 - u)) if p < 1 else 0.0)


def delay_steps(detector: Detector, *, shift: float, requests_per_step: float) -> float:
    """
    Steps until an alarm after the CDF of one typical feature shifted by ``shift``; infinite if it is below its limits.

    The event is the one in the middle of the typical feature, either way, whichever is found sooner.

    >>> import numpy as np
    >>> from onguard.budget import Objective, Threshold
    >>> from onguard.limits import limits_of
    >>> from onguard.profile import Feature, Kind, Numeric, Profile
    >>> age = Feature(name="age", kind=Kind.NUMERIC, edges=tuple(range(1, 20)), counts=(500,) * 20 + (0,) * 4,
    ...     numeric=Numeric(minimum=0, maximum=20, mean=10, sd=6))
    >>> limits = limits_of(Profile(rows=10_000, features=(age,)), Objective.DRIFT, tolerance=0.01, alpha=0.05)
    >>> threshold = Threshold(objective=Objective.DRIFT, share=1.0, log_alarm=14.4, log_naming=14.4)
    >>> detector = Detector(limits, threshold)
    >>> [round(delay_steps(detector, shift=d, requests_per_step=300), 1) for d in (0.02, 0.05, 0.1, 0.2)]
    [inf, 56.8, 6.0, 1.1]
    """
    sides = _typical(detector)
    return _steps_of(detector, _rate(sides, shift) * requests_per_step) if sides else math.inf


class _Sides(NamedTuple):
    expected: float
    lower: float
    upper: float


def _typical(detector: Detector) -> _Sides | None:
    """The event nearest the middle, of the feature with the median sharpness of these; None without any."""
    limits = detector.limits
    middles = []
    for first, last in zip(limits.starts, limits.ends, strict=True):
        at = int(first) + int(np.argmin(np.abs(limits.expected[first:last] - 0.5)))
        middles.append(_Sides(float(limits.expected[at]), float(limits.lower[at]), float(limits.upper[at])))
    middles.sort(key=lambda sides: sides.upper - sides.lower)
    return middles[len(middles) // 2] if middles else None


def _rate(sides: _Sides, shift: float) -> float:
    """Growth of ln R per request at the better of both sides."""
    expected, lower, upper = sides
    up, down = min(expected + shift, 1.0), max(expected - shift, 0.0)
    gains = (
        divergence(up, upper) if upper < min(up, 1.0 - 1e-9) else 0.0,
        divergence(down, lower) if lower > max(down, 1e-9) else 0.0,
    )
    return max(gains)


def _steps_of(detector: Detector, per_step: float) -> float:
    components = max(detector.tables.event.size, 1)
    return (detector.threshold.log_alarm + math.log(components)) / per_step if per_step > 0 else math.inf


def detectable(detector: Detector, *, requests_per_step: float, steps: int) -> Detectable:
    """Smallest CDF shift of a typical feature that is found within ``steps`` at the present traffic."""
    sides = _typical(detector)
    if sides is None:
        return Detectable(1.0, 1.0, steps)
    expected, lower, upper = sides
    rooms = [upper - expected] * (upper < 1.0) + [expected - lower] * (lower > 0.0)
    smallest = _smallest(lambda shift: _steps_of(detector, _rate(sides, shift) * requests_per_step) <= steps)
    return Detectable(smallest, min(rooms, default=1.0), steps)


def _smallest(is_found: Callable[[float], bool]) -> float:
    """Least x in [0, 1] from which on ``is_found``; 1 if nowhere."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def bounded_delay_steps(detector: BoundedDetector, *, bad: float) -> float:
    """
    Non-empty epochs until an alarm when a share ``bad`` of each epoch's requests is bad.

    >>> from onguard.budget import Objective, Threshold
    >>> threshold = Threshold(objective=Objective.ERRORS, share=0.2, log_alarm=15.9, log_naming=18.0)
    >>> detector = BoundedDetector(threshold, at_most=0.01)
    >>> [round(bounded_delay_steps(detector, bad=x), 1) for x in (0.005, 0.02, 0.05, 0.2, 1.0)]
    [inf, 26.5, 11.3, 6.0, 3.9]
    """
    gains: Floats = np.log1p(FRACTIONS * (bad / detector.mean - 1.0))
    best = float(gains.max())
    return (detector.threshold.log_alarm + math.log(FRACTIONS.size)) / best if best > 0 else math.inf


def bounded_detectable(detector: BoundedDetector, *, steps: int) -> Detectable:
    """Smallest share of bad requests that is found within ``steps`` epochs, whatever the traffic in each."""
    smallest = _smallest(lambda bad: bounded_delay_steps(detector, bad=bad) <= steps)
    return Detectable(smallest, detector.at_most, steps)


def smallest_odds_ratio(*, bad_units: float, new_share: float, alpha: float) -> float:
    """
    Smallest odds ratio that ``bad_units`` on both arms together could have shown; infinite if none.

    >>> [round(smallest_odds_ratio(bad_units=f, new_share=0.5, alpha=0.05), 2) for f in (0, 81, 229, 1113)]
    [inf, 2.06, 1.52, 1.21]
    """
    if bad_units <= 0 or not 0.0 < new_share < 1.0:
        return math.inf
    needed = (math.log(1.0 / alpha) + math.log(len(ODDS))) / bad_units
    if divergence(1.0, new_share) <= needed:
        return math.inf
    q = _smallest(lambda x: x > new_share and divergence(x, new_share) >= needed)
    return q / (1.0 - q) * (1.0 - new_share) / new_share
