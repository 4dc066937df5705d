"""Changes that are in the data: when, in rows, the product's drift detector at its shipped budget says so."""

import dataclasses
from typing import Any, Final

import numpy as np

from onguard import detectors, effects, limits
from onguard.budget import Objective, reference_alpha, thresholds
from onguard.spec import DataQuality, Drift, FalseAlarms, Objectives
from tests.bench.statistics import datasets, ours, reference
from tests.bench.statistics.datasets import Table

STEP: Final = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """A table, the rows of its reference, the row of its documented change (None: a control) and what to expect."""

    table: Table
    first: int
    change: int | None
    rows: int
    note: str


def cases() -> list[Known]:
    """Documented changes, as they are and shuffled on either side of the change, and a control."""
    rainfall = Known(table=datasets.rainfall(), first=8000, change=12_000, rows=18_000, note="columns rotated by one")
    electricity = Known(
        table=datasets.electricity(), first=8000, change=17_424, rows=25_000, note="three constants come alive"
    )
    year = datasets.employment()
    return [
        rainfall,
        _shuffled(rainfall, cut=12_000),
        electricity,
        _shuffled(electricity, cut=17_424),
        Known(table=datasets.weather(), first=8000, change=None, rows=12_000, note="seasons"),
        _shuffled(Known(table=year, first=40_000, change=None, rows=68_785, note="one year, a control"), cut=68_785),
    ]


def _shuffled(case: Known, *, cut: int) -> Known:
    """Rows before and after the change each in random order: what is left is the change alone."""
    rng = np.random.default_rng(1)
    order = np.concatenate([rng.permutation(cut), cut + rng.permutation(len(case.table) - cut)])
    return dataclasses.replace(case, table=case.table.take(order), note=f"{case.note}; shuffled before and after")


def study() -> list[dict[str, Any]]:
    """All cases."""
    return [_once(case) for case in cases()]


def _once(case: Known) -> dict[str, Any]:
    columns = case.table.columns
    profile = reference.profile_of({n: v[: case.first] for n, v in columns.items()}, seed=1)
    alarms = {}
    for part in thresholds(Objectives(drift=Drift(), data_quality=DataQuality()), FalseAlarms(), has_outputs=False):
        bounds = limits.limits_of(profile, part.objective, tolerance=0.01, alpha=reference_alpha(1))
        alarms[part.objective] = _first_alarm(detectors.Detector(bounds, part), case, profile)
    return {
        "table": case.table.name,
        "note": case.note,
        "reference_rows": case.first,
        "change": case.change,
        "drift": alarms[Objective.DRIFT],
        "quality": alarms[Objective.DATA_QUALITY],
    }


def _first_alarm(detector: detectors.Detector, case: Known, profile: Any) -> dict[str, Any] | None:
    live = {n: v[case.first : case.rows] for n, v in case.table.columns.items()}
    bins = reference.bins_of(profile, reference.matrix_of(profile, live))
    counts = reference.counts_by_step(bins, rows_per_step=STEP, total=profile.layout.total)
    state = detectors.start(detector)
    for step, unit_bins in enumerate(ours.weights(counts)):
        state = detectors.step(detector, state, unit_bins)
        if state.since is not None:
            found = effects.finding(detector, state)
            named = [e.feature for e in found.named] or ([found.leading.feature] if found.leading else [])
            return {"row": case.first + (step + 1) * STEP, "named": named}
    return None
