"""Score bins x label of held-out rows: what a score meant when the reference was made. Pure."""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onguard import reference_sums
from onguard.columns import Column, Floats, codes_of, numbers_of
from onguard.profile import Calibration, Feature, Group, Kind, ProfileError

Mask = npt.NDArray[np.bool_]


def calibration(
    columns: Sequence[Column],
    features: Sequence[Feature],
    counted: Mask,
    *,
    label: str | None,
    threshold: float,
) -> Calibration | None:
    """
    Rows, positives, errors and score sums per bin of the first numeric output; None without a label.

    Args:
        columns: of the file, the label's too.
        features: of the profile.
        counted: rows that are held out and did not choose the bins.
        label: column with the truth.
        threshold: the model means the positive class from this score on.

    Raises:
        ProfileError: for a label that is not binary, or without a numeric output.
    """
    if label is None:
        return None
    by_name = {c.name: c for c in columns}
    known_truth = truth(by_name[label])[counted]
    score_feature = score_of(features)
    if score_feature is None:
        raise ProfileError(f'expected a numeric output beside the label "{label}", got none')
    score = numbers_of(by_name[score_feature.name])[counted]
    known = np.isfinite(score) & np.isfinite(known_truth)
    bins = np.searchsorted(np.array(score_feature.edges), score, side="left")
    wrong = np.where(known, is_wrong(score, known_truth, threshold), np.nan)
    total = functools.partial(np.bincount, bins[known], minlength=len(score_feature.edges) + 1)
    rows, errors = total(), total(wrong[known])
    expected = (errors / np.maximum(rows, 1))[bins]
    return Calibration(
        edges=score_feature.edges,
        rows=tuple(rows.tolist()),
        positives=tuple(total(known_truth[known]).astype(np.int64).tolist()),
        score_sums=tuple(np.round(total(score[known]), 6).tolist()),
        threshold=threshold,
        wrong=tuple(errors.astype(np.int64).tolist()),
        design_effect=reference_sums.residual_effect(columns, counted, wrong, expected),
    )


def score_of(features: Sequence[Feature]) -> Feature | None:
    """The first numeric output, which is what is calibrated."""
    return next((f for f in features if f.group is Group.OUTPUT and f.kind is Kind.NUMERIC), None)


def is_wrong(score: Floats, label: Floats, threshold: float) -> Floats:
    """
    1 where the class that the score means is not the label.

    >>> is_wrong(np.array([0.2, 0.5, 0.9]), np.array([0.0, 0.0, 1.0]), 0.5)
    array([0., 1., 0.])
    """
    wrong: Floats = ((score >= threshold) != (label > 0.5)).astype(np.float64)
    return wrong


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
