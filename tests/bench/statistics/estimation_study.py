"""Errors expected from scores alone, against the labels: where only the population moves, and where concepts do."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onguard import building, concept, performance
from onguard.columns import of_numbers
from onguard.performance import Baseline
from onguard.profile import Kind
from tests.bench.statistics import datasets, venvs
from tests.bench.statistics.scenario import Model

Floats = npt.NDArray[np.float64]
CHUNK: Final = 5000
DAY_S: Final = 86_400.0
ALPHA: Final = 0.01
TOLERANCE: Final = 0.01


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Rows of live traffic with their truth."""

    name: str
    scores: Floats
    labels: Floats


def study(*, with_peer: bool) -> dict[str, Any]:
    """Both tables, and NannyML's estimate of the first."""
    employment, flights = _employment(), _flights()
    return {
        "employment": summary(_compared(*employment)),
        "nannyml_mae": _nannyml_mae() if with_peer else None,
        "flights": [row | _judged(flights[0], batch) for row, batch in _compared(*flights)],
        "flights_reference": {"error": flights[0].errors.rate, "design_effect": flights[0].effect},
    }


def _baseline(scores: Floats, labels: Floats, days: npt.NDArray[np.int64] | None) -> Baseline:
    columns = [of_numbers("x", scores), of_numbers("score", scores), of_numbers("truth", labels)]
    if days is not None:
        columns.append(of_numbers("day", 1.7e9 + DAY_S * days, kind=Kind.DATETIME))
    found = performance.baseline_of(building.build(columns, building.Plan(outputs=("score",), label="truth")))
    if found is None:
        raise ValueError("expected a reference with labels")
    return found


def _nannyml_mae() -> float:
    scores, labels, first = _employment_rows()
    arrays = {"reference_scores": scores[:first], "reference_labels": labels[:first], "scores": scores[first:]}
    errors = venvs.call("nannyml", "nannyml_cbpe", arrays, {"chunk": CHUNK, "threshold": 0.5})["errors"]
    wrong = ((scores >= 0.5) != (labels > 0.5))[first:]
    true = [float(wrong[i : i + CHUNK].mean()) for i in range(0, len(wrong), CHUNK)]
    return round(float(np.mean([abs(a - b) for a, b in zip(errors, true, strict=True)])), 5)


def _employment_rows() -> tuple[Floats, Floats, int]:
    """Scores, labels and the first row after the reference."""
    table = datasets.employment()
    first = int(np.count_nonzero(table.days == 2015)) if table.days is not None else 0
    return datasets.employment_scores(), table.label, first


def _employment() -> tuple[Baseline, list[Batch]]:
    """The reference of 2015 and chunks of the years after it, with the scores that come with the data."""
    scores, labels, first = _employment_rows()
    chunks = [
        Batch(name=str(i), scores=scores[i : i + CHUNK], labels=labels[i : i + CHUNK])
        for i in range(first, len(labels), CHUNK)
    ]
    return _baseline(scores[:first], labels[:first], None), chunks


def _flights() -> tuple[Baseline, list[Batch]]:
    """A model of January and February, the reference March, the months after it."""
    table = datasets.flights()
    days = table.days if table.days is not None else np.zeros(len(table), np.int64)
    month = np.searchsorted(np.array([31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]), days - 1, side="right") + 1
    model = Model.train(table.take(month <= 2), seed=1)
    scores = model.score(dict(table.columns))
    march = month == 3
    batches = [Batch(name=str(m), scores=scores[month == m], labels=table.label[month == m]) for m in range(4, 13)]
    return _baseline(scores[march], table.label[march], days[march]), batches


def _compared(baseline: Baseline, batches: list[Batch]) -> Iterator[tuple[dict[str, Any], Batch]]:
    for batch in batches:
        errors = baseline.counted(batch.scores, batch.labels)
        found = performance.estimate(baseline, errors.rows)
        yield (
            {
                "name": batch.name,
                "rows": int(errors.total),
                "true": errors.rate,
                "estimated": list(found.error),
                "constant": baseline.errors.rate,
            },
            batch,
        )


def _judged(baseline: Baseline, batch: Batch) -> dict[str, Any]:
    errors = baseline.counted(batch.scores, batch.labels)
    found = concept.judge(baseline, errors, coverage=1.0, alpha=ALPHA, tolerance=TOLERANCE)
    return {
        "by_mix": list(found.change.by_mix),
        "at_equal_scores": list(found.change.at_equal_scores),
        "labels": found.labels.value,
    }


def summary(compared: Iterator[tuple[dict[str, Any], Batch]]) -> dict[str, Any]:
    """
    How far estimates are from the truth, and how often their limits hold it.

    >>> nothing = Batch(name="", scores=np.zeros(0), labels=np.zeros(0))
    >>> row = {"true": 0.2, "estimated": [0.19, 0.18, 0.21], "constant": 0.1}
    >>> summary(iter([(row, nothing)]))
    {'chunks': 1, 'mae': 0.01, 'mae_constant': 0.1, 'covered': 1}
    """
    rows = [row for row, _ in compared]
    far = [abs(row["true"] - row["estimated"][0]) for row in rows]
    constant = [abs(row["true"] - row["constant"]) for row in rows]
    covered = sum(row["estimated"][1] <= row["true"] <= row["estimated"][2] for row in rows)
    return {
        "chunks": len(rows),
        "mae": round(float(np.mean(far)), 5),
        "mae_constant": round(float(np.mean(constant)), 5),
        "covered": covered,
    }
