"""What the detectors look at: i.i.d. streams of one real or synthetic column, and the changes put into them."""

import dataclasses
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from tests.bench.statistics import datasets

Floats = npt.NDArray[np.float64]
Change = Callable[[np.random.Generator, Floats], Floats]

REFERENCE_ROWS: Final = 10_000
ROWS_PER_STEP: Final = 100


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stream:
    """
    One column.

    Attributes:
        kind: numeric, categorical (values are codes from 0) or binary.
        draw: i.i.d. values.
        changes: by name.
    """

    name: str
    kind: str
    draw: Callable[[np.random.Generator, int], Floats]
    changes: dict[str, Change]

    def sample(self, seed: int, *, steps: int, change: str | None = None, at: int = 0) -> tuple[Floats, Floats]:
        """
        A reference and ``steps`` steps of traffic that change at step ``at``.

        The same seed gives the same rows to every detector.
        """
        rng = np.random.default_rng([seed, _number(self.name)])
        reference, live = self.draw(rng, REFERENCE_ROWS), self.draw(rng, steps * ROWS_PER_STEP)
        if change is not None:
            live[at * ROWS_PER_STEP :] = self.changes[change](rng, live[at * ROWS_PER_STEP :])
        return reference, live

    def shift_of(self, change: str) -> float:
        """Largest change of the distribution function (of a probability, for categories), by a large sample."""
        rng = np.random.default_rng(0)
        before = self.draw(rng, 400_000)
        after = self.changes[change](rng, self.draw(rng, 400_000))
        points = np.unique(before)
        points = points[:: max(1, len(points) // 2000)]
        below = [np.searchsorted(np.sort(v), points, side="right") / len(v) for v in (before, after)]
        gap = below[1] - below[0]
        if self.kind == "categorical":
            gap = np.diff(gap, prepend=0.0)
        return float(np.abs(gap).max())


def _number(name: str) -> int:
    return int.from_bytes(name.encode()[:4], "little")


def _resampled(values: Floats) -> Callable[[np.random.Generator, int], Floats]:
    return lambda rng, n: values[rng.integers(0, len(values), n)]


def _some(share: float, new: Callable[[np.random.Generator, Floats], Floats]) -> Change:
    """Replace a random share of the values."""

    def change(rng: np.random.Generator, values: Floats) -> Floats:
        return np.where(rng.random(len(values)) < share, new(rng, values), values)

    return change


def _added(amount: float) -> Change:
    return lambda _, values: values + amount


def _scaled(factor: float) -> Change:
    return lambda _, values: values * factor


def synthetic() -> Stream:
    """Standard normal values."""

    def far(rng: np.random.Generator, values: Floats) -> Floats:
        return 3.0 + rng.normal(size=len(values))

    changes = {f"mean +{a:g} sd": _added(a) for a in (0.075, 0.1, 0.125, 0.15, 0.2, 0.3)}
    changes |= {f"scale x{f:g}": _scaled(f) for f in (1.1, 1.15, 1.2, 1.3)}
    changes |= {f"{s:.0%} outliers": _some(s, far) for s in (0.03, 0.05, 0.1)}
    return Stream(name="normal", kind="numeric", draw=lambda rng, n: rng.normal(size=n), changes=changes)


def age() -> Stream:
    """Age in the employment data of 2015: whole numbers with ties."""
    table = datasets.employment()
    first = table.days == 2015 if table.days is not None else slice(None)
    values = table.columns["AGEP"][first]
    old = values[values >= 60]
    changes = {f"age +{years:g}": _added(years) for years in (2.0, 3.0, 5.0)}
    changes |= {
        f"{s:.0%} more over 60": _some(s, lambda rng, v: old[rng.integers(0, len(old), len(v))])
        for s in (0.05, 0.1, 0.15)
    }
    changes["rounded to tens, 20 %"] = _some(0.2, lambda _, v: np.round(v, -1))
    return Stream(name="age", kind="numeric", draw=_resampled(values), changes=changes)


def distance() -> Stream:
    """Distance of flights in March: a few hundred values, far from normal."""
    table = datasets.flights()
    march = (table.days >= 60) & (table.days < 91) if table.days is not None else slice(None)
    values = table.columns["distance"][march]
    far = values[values > 2000]
    changes: dict[str, Change] = {f"x{f:g}": _scaled(f) for f in (1.02, 1.05)}
    changes |= {
        f"{s:.0%} more over 2000": _some(s, lambda rng, v: far[rng.integers(0, len(far), len(v))])
        for s in (0.03, 0.05, 0.1)
    }
    return Stream(name="distance", kind="numeric", draw=_resampled(values), changes=changes)


def schooling() -> Stream:
    """Schooling in the employment data: 24 categories."""
    table = datasets.employment()
    first = table.days == 2015 if table.days is not None else slice(None)
    names = table.columns["SCHL"][first]
    codes = {name: float(i) for i, name in enumerate(sorted({str(n) for n in names}))}
    values = np.array([codes[str(n)] for n in names])
    high = np.flatnonzero(np.isin(values, values[np.argsort(values)][-len(values) // 3 :]))
    changes = {
        f"{s:.0%} from the highest third": _some(s, lambda rng, v: values[high[rng.integers(0, len(high), len(v))]])
        for s in (0.1, 0.2)
    }
    changes |= {f"{s:.0%} to one code": _some(s, lambda _, v: np.full(len(v), codes["16"])) for s in (0.02, 0.05, 0.1)}
    return Stream(name="schooling", kind="categorical", draw=_resampled(values), changes=changes)


def wrong_answers() -> Stream:
    """Wrong answers of a model, 17.3 % of them: the error stream of the employment data."""
    changes = {
        f"errors +{a * 100:g} pp": _some(a / 0.827, lambda _, v: np.ones(len(v))) for a in (0.02, 0.04, 0.06, 0.08)
    }
    return Stream(
        name="wrong", kind="binary", draw=lambda rng, n: (rng.random(n) < 0.173).astype(np.float64), changes=changes
    )
