"""
About the delay of the best detector that knows both laws, before and after a change.

Lorden's bound: as gamma grows, a rule whose mean time to a false alarm is at least gamma needs ln(gamma) / I (1 + o(1))
observations on average after a change, where I is the Kullback-Leibler divergence of the new law from the old one.
CUSUM with both laws known attains it. The first order alone is no floor: where I times a step is small, CUSUM is
faster, by about a quarter for a mean that moves by .075 sd. (Lorden, "Procedures for reacting to a change in
distribution", Annals of Mathematical Statistics 42, 1971.)
"""

import math
import re
from collections.abc import Callable
from typing import Final

import numpy as np

from tests.bench.statistics.streams import ROWS_PER_STEP

STEPS: Final = 1000
ALARMED: Final = 0.05
"""Share of runs of so many steps that may alarm."""
WRONG: Final = 0.173
"""Share of wrong answers before a change, of the stream of that name."""
_GRID: Final = np.linspace(-14.0, 14.0, 28_001)


def least_steps(nats: float) -> float:
    """
    First order of the least mean delay in steps of a change with so many nats a row.

    >>> round(least_steps(0.1**2 / 2), 1)
    19.8
    """
    gamma = -STEPS / math.log1p(-ALARMED)
    return math.log(gamma) / (nats * ROWS_PER_STEP)


def nats_of(cell: str) -> float | None:
    """
    Divergence of the law after a change from the one before, a row; None where the laws have no formula.

    >>> nats_of("normal: mean +0.1 sd"), nats_of("age: age +2")
    (0.005000000000000001, None)
    """
    for pattern, nats in _LAWS.items():
        if (found := re.fullmatch(pattern, cell)) is not None:
            return nats(float(found.group(1)))
    return None


def _outliers(percent: float) -> float:
    share, before = percent / 100, np.exp(-np.square(_GRID) / 2)
    after = (1 - share) * before + share * np.exp(-np.square(_GRID - 3.0) / 2)
    total = float(np.sum(after * (np.log(after) - np.log(before))) * (_GRID[1] - _GRID[0]))
    return total / math.sqrt(2 * math.pi)


def _wrong(points: float) -> float:
    p, q = WRONG + points / 100, WRONG
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


_LAWS: Final[dict[str, Callable[[float], float]]] = {
    r"normal: mean \+([\d.]+) sd": lambda by: by**2 / 2,
    r"normal: scale x([\d.]+)": lambda by: (by**2 - 1) / 2 - math.log(by),
    r"normal: (\d+)% outliers": _outliers,
    r"wrong: errors \+(\d+) pp": _wrong,
}
