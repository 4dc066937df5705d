"""Profiles of in-memory columns, and how columns become the sidecar's cells."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from onguard import building
from onguard.columns import Column, of_names, of_numbers
from onguard.profile import Feature, Profile
from onguard_sidecar.analyst.knots import Knots

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def cells_of(feature: Feature, column: npt.NDArray[Any]) -> Floats:
    """One column as the sidecar's decoder gives it: numbers or category indices, NaN missing, infinite unparseable."""
    if feature.is_ordered:
        return column if column.dtype == np.float64 else np.array([_number(v) for v in column], np.float64)
    index = {name: float(i) for i, name in enumerate(feature.categories)}
    other = float(len(index))
    return np.array([np.nan if v is None or v != v else index.get(str(v), other) for v in column], np.float64)


def _number(value: object) -> float:
    if value is None:
        return np.nan
    try:
        return float(str(value))
    except ValueError:
        return np.inf


def matrix_of(profile: Profile, columns: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """(rows, features) cells in the profile's order."""
    return np.stack([cells_of(f, columns[f.name]) for f in profile.features], axis=1)


def bins_of(profile: Profile, cells: Floats) -> Ints:
    """(rows, features) flat bins of the profile's layout, found as the sidecar finds them."""
    knots = Knots.of(profile.features, profile.layout.offsets)
    found: Ints = knots.bins.take(knots.find(np.ascontiguousarray(cells)))
    return found


def counts_by_step(bins: Ints, *, rows_per_step: int, total: int, weight: int = 1) -> Ints:
    """
    Sum rows into steps.

    Args:
        bins: (rows, features); whole steps only.
        rows_per_step: rows of one step.
        total: bins of the profile.
        weight: of one row.

    Returns:
        (steps, total) counts.
    """
    steps = len(bins) // rows_per_step
    flat = bins[: steps * rows_per_step].reshape(steps, -1) + (np.arange(steps) * total)[:, None]
    return np.bincount(flat.ravel(), minlength=steps * total).reshape(steps, total) * weight


def profile_of(
    columns: Mapping[str, npt.NDArray[Any]], *, seed: int, outputs: tuple[str, ...] = (), label: str | None = None
) -> Profile:
    """
    A reference by the product's builder.

    Args:
        columns: float64 or text, of equal length.
        seed: of the split into rows that choose the bins and rows that are counted.
        outputs: which of them are the model's answers.
        label: which of them is the truth.
    """
    made = [column_of(name, values) for name, values in columns.items()]
    return building.build(made, building.Plan(outputs=outputs, label=label, seed=seed))


def column_of(name: str, values: npt.NDArray[Any]) -> Column:
    """A column for the builder; text as codes."""
    if values.dtype == np.float64:
        return of_numbers(name, values)
    known = sorted({str(v) for v in values if v is not None})
    index = {text: i for i, text in enumerate(known)}
    return of_names(name, np.array([-1 if v is None else index[str(v)] for v in values], np.int64), tuple(known))
