"""The peers' detectors as the delay study runs them."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.bench.statistics import venvs
from tests.bench.statistics.streams import ROWS_PER_STEP

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windowed:
    """
    A statistic of the last ``window`` rows against the reference.

    Attributes:
        null_stride: on nulls only each so manieth step is looked at, which flatters the peer a little.
        live_stride: after a change (1: each step; more where the tool works on chunks).
        default: its own threshold for the statistic, None if it has none.
    """

    name: str
    venv: str
    runner: str
    kinds: tuple[str, ...]
    window: int
    null_stride: int
    live_stride: int = 1
    default: float | None = None
    method: str = ""

    def paths(
        self, samples: Sequence[tuple[Floats, Floats]], *, kind: str, first: int, threshold: float | None
    ) -> Floats:
        """(runs, steps) statistics, NaN where it was not looked at."""
        options = {
            "rows": ROWS_PER_STEP,
            "window": self.window,
            "stride": self.null_stride if threshold is None else self.live_stride,
            "first": first,
            "threshold": threshold,
            "categorical": kind == "categorical",
            "method": self.method,
        }
        found = venvs.call(self.venv, self.runner, _stacked(samples), options)
        return np.array([[np.nan if v is None else v for v in path] for path in found], np.float64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Streaming:
    """A change detector fed value by value; its settings in the order of growing caution, the default among them."""

    name: str
    detector: str
    kinds: tuple[str, ...]
    settings: tuple[float, ...]
    default: float
    warm: int = 10_000

    def alarms(
        self, samples: Sequence[tuple[Floats, Floats]], *, first: int, settings: Sequence[float]
    ) -> dict[float, list[list[int]]]:
        """Steps with an alarm, by setting and run, until the first at or after ``first``."""
        options: dict[str, Any] = {
            "detector": self.detector,
            "rows": ROWS_PER_STEP,
            "first": first,
            "settings": list(settings),
            "warm": self.warm,
        }
        found = venvs.call("river", "river_streams", _stacked(samples), options)
        return {float(setting): runs for setting, runs in found.items()}


def _stacked(samples: Sequence[tuple[Floats, Floats]]) -> dict[str, Floats]:
    return {"reference": np.stack([r for r, _ in samples]), "stream": np.stack([s for _, s in samples])}


_N: Final = ("numeric",)
_C: Final = ("categorical",)
WINDOWED: Final = (
    Windowed(
        name="frouros KS, 1000",
        venv="frouros",
        runner="frouros_windows",
        kinds=_N,
        window=1000,
        null_stride=5,
        default=0.0451,
    ),
    Windowed(
        name="frouros KS, 5000",
        venv="frouros",
        runner="frouros_windows",
        kinds=_N,
        window=5000,
        null_stride=10,
        default=0.0235,
    ),
    Windowed(
        name="alibi CvM, 1000",
        venv="alibi",
        runner="alibi_windows",
        kinds=_N,
        window=1000,
        null_stride=5,
        default=0.461,
    ),
    Windowed(name="alibi chi2, 1000", venv="alibi", runner="alibi_windows", kinds=_C, window=1000, null_stride=5),
    Windowed(
        name="evidently Wasserstein, 1000",
        venv="evidently",
        runner="evidently_windows",
        kinds=_N,
        window=1000,
        null_stride=5,
        default=0.1,
    ),
    Windowed(
        name="evidently JS, 1000",
        venv="evidently",
        runner="evidently_windows",
        kinds=_C,
        window=1000,
        null_stride=5,
        default=0.1,
    ),
    Windowed(
        name="nannyml JS, 1000",
        venv="nannyml",
        runner="nannyml_windows",
        kinds=(*_N, *_C),
        window=1000,
        null_stride=10,
        live_stride=10,
        method="jensen_shannon",
    ),
    Windowed(
        name="nannyml Wasserstein, 1000",
        venv="nannyml",
        runner="nannyml_windows",
        kinds=_N,
        window=1000,
        null_stride=10,
        live_stride=10,
        method="wasserstein",
    ),
    Windowed(
        name="nannyml chi2, 1000",
        venv="nannyml",
        runner="nannyml_windows",
        kinds=_C,
        window=1000,
        null_stride=10,
        live_stride=10,
        method="chi2",
    ),
    Windowed(
        name="whylogs KS, 1000",
        venv="whylogs",
        runner="whylogs_windows",
        kinds=_N,
        window=1000,
        null_stride=10,
        live_stride=10,
    ),
)
"""Defaults of KS and Cramer-von Mises: the critical value at p = .05 for the window against 10,000 rows."""

STREAMING: Final = (
    Streaming(
        name="river ADWIN",
        detector="ADWIN",
        kinds=("numeric", "binary"),
        settings=(0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002),
        default=0.002,
    ),
    Streaming(
        name="river Page-Hinkley",
        detector="PageHinkley",
        kinds=("numeric", "binary"),
        settings=(50.0, 100.0, 200.0, 400.0, 800.0, 1600.0),
        default=50.0,
    ),
    Streaming(name="river DDM", detector="DDM", kinds=("binary",), settings=(3.0, 3.5, 4.0, 5.0), default=3.0),
    Streaming(name="river EDDM", detector="EDDM", kinds=("binary",), settings=(0.9, 0.85, 0.8, 0.7), default=0.9),
    Streaming(
        name="river HDDM_A", detector="HDDM_A", kinds=("binary",), settings=(1e-3, 1e-4, 1e-5, 1e-6), default=1e-3
    ),
    Streaming(
        name="river HDDM_W", detector="HDDM_W", kinds=("binary",), settings=(1e-3, 1e-5, 1e-7, 1e-9), default=1e-3
    ),
)
