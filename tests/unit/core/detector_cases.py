"""Profiles, detectors and traffic that the tests of the evidence share."""

import math

import numpy as np

from onguard.budget import Objective, Threshold
from onguard.contract import UNIT
from onguard.detectors import Detector
from onguard.limits import limits_of
from onguard.profile import Feature, Kind, Numeric, Profile

Ints = np.ndarray
BINS = 20
FLAT = np.full(BINS, 1.0 / BINS)


def flat_profile(features: int = 1, rows: int = 20_000) -> Profile:
    """Each feature uniform over 20 bins, exactly."""
    counts = (rows // BINS,) * BINS + (0,) * 4
    numeric = Numeric(minimum=0, maximum=BINS, mean=BINS / 2, sd=6)
    edges = tuple(float(i) for i in range(1, BINS))
    return Profile(
        rows=rows,
        features=tuple(
            Feature(name=f"f{i}", kind=Kind.NUMERIC, edges=edges, counts=counts, numeric=numeric)
            for i in range(features)
        ),
    )


def threshold(horizon: float, objective: Objective = Objective.DRIFT, *, naming: float = 0.05) -> Threshold:
    return Threshold(objective=objective, share=1.0, log_alarm=math.log(horizon), log_naming=math.log(horizon / naming))


def detector(
    profile: Profile,
    horizon: float,
    objective: Objective = Objective.DRIFT,
    *,
    tolerance: float = 0.01,
    alpha: float = 0.03,
) -> Detector:
    return Detector(limits_of(profile, objective, tolerance=tolerance, alpha=alpha), threshold(horizon, objective))


def moved(shift: float) -> np.ndarray:
    """The uniform law with ``shift`` of its mass moved from the lower to the upper half."""
    law = FLAT.copy()
    law[: BINS // 2] -= shift / (BINS // 2)
    law[BINS // 2 :] += shift / (BINS // 2)
    return law


def requests(rng: np.random.Generator, n: int, laws: list[np.ndarray], *, missing: float = 0.0) -> Ints:
    """Unit weights of ``n`` requests of one row."""
    blocks = []
    for law in laws:
        gone = rng.binomial(n, missing)
        blocks.append(np.concatenate([rng.multinomial(n - gone, law), [gone, 0, 0, 0]]))
    return np.concatenate(blocks).astype(np.int64) * UNIT
