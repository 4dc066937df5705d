"""Score bins x label of held-out rows: what a score meant when the reference was made. Pure."""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onguard.columns import Column, Floats, codes_of, numbers_of
from onguard.profile import Calibration, Feature, Group, Kind, ProfileError

Mask = npt.NDArray[np.bool_]


def calibration(
    columns: Sequence[Column], features: Sequence[Feature], label: str | None, counted: Mask
) -> Calibration | None:
    """
    Rows, positives and score sums per bin of the first numeric output; None without a label.

    Raises:
        ProfileError: for a label that is not binary, or without a numeric output.
    """
    if label is None:
        return None
    known_truth = truth(next(c for c in columns if c.name == label))[counted]
    by_name = {c.name: c for c in columns}
    scores = [f for f in features if f.group is Group.OUTPUT and f.kind is Kind.NUMERIC]
    if not scores:
        raise ProfileError(f'expected a numeric output beside the label "{label}", got none')
    score = numbers_of(by_name[scores[0].name])[counted]
    known = np.isfinite(score) & np.isfinite(known_truth)
    bins = np.searchsorted(np.array(scores[0].edges), score[known], side="left")
    total = functools.partial(np.bincount, bins, minlength=len(scores[0].edges) + 1)
    return Calibration(
        edges=scores[0].edges,
        rows=tuple(total().tolist()),
        positives=tuple(total(known_truth[known]).astype(np.int64).tolist()),
        score_sums=tuple(np.round(total(score[known]), 6).tolist()),
    )


def truth(column: Column) -> Floats:
    """
    Labels as 0, 1 or NaN.

    Raises:
        ProfileError: with the row of the first value that is neither.
    """
    if column.numbers is None:
        table = [{"0": 0.0, "1": 1.0, "false": 0.0, "true": 1.0}.get(name.lower(), np.inf) for name in column.names]
        values = np.array([*table, np.nan])[codes_of(column)]
    else:
        values = column.numbers
    wrong = np.flatnonzero(~(np.isnan(values) | np.isin(values, (0.0, 1.0))))
    if wrong.size:
        raise ProfileError(f'expected a label of 0 or 1 - at column "{column.name}", row {int(wrong[0]) + 1}')
    return values
