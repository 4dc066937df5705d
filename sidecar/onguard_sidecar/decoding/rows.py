"""
JSON rows -> Batch: scalars, lists and objects, as ``instances`` and ``predictions`` hold them.

The decoders first try ``list[list[float]]`` with a typed decoder, which is three times as fast as looking at each
value; what fails that comes here.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np

from onguard_sidecar.decoding.batch import MAX_COLUMNS, MAX_ROWS, Batch, Column, Decoded, Floats, Reason, Undecodable

_NUMBERS: Final = frozenset((int, float, type(None)))
"""bool is not among them: whether True is a number is for the reference's kind to say."""


_SHORT: Final = 16
"""Shorter columns stay lists: making an array costs more than it saves."""


def matrix(rows: Sequence[Sequence[float]]) -> Floats | Undecodable:
    """
    Rows of numbers, all of one width, as a matrix.

    >>> matrix([[1.0, 2.0], [3.0, 4.0]])
    array([[1., 2.],
           [3., 4.]])
    >>> matrix([[1.0, 2.0], [3.0]])
    Undecodable(reason=<Reason.BAD_SHAPE: 'bad_shape'>)
    """
    if not rows or not rows[0]:
        return Undecodable(Reason.BAD_SHAPE)
    width = len(rows[0])
    if len(rows) > MAX_ROWS or width > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    if len(rows) == 1:
        return np.array(rows, np.float64)
    if any(len(row) != width for row in rows):
        return Undecodable(Reason.BAD_SHAPE)
    return np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * width).reshape(len(rows), width)


def of_numbers(rows: Sequence[Sequence[float]]) -> Decoded:
    """Rows of numbers, by position."""
    values = matrix(rows)
    return values if isinstance(values, Undecodable) else Batch(len(values), None, values)


def of_rows(rows: Sequence[object]) -> Decoded:
    """
    Rows of any JSON: all objects (columns by name), all lists (by position), or all scalars (one column).

    A row of another form than the first is ``bad_shape``; a name that a row lacks is missing in that row.

    >>> batch = of_rows([{"age": 31, "city": "Bern"}, {"age": None}])
    >>> batch.names, batch.column(0), batch.column(1)
    (('age', 'city'), [31, None], ['Bern', None])
    """
    if not rows:
        return Undecodable(Reason.BAD_SHAPE)
    if len(rows) > MAX_ROWS:
        return Undecodable(Reason.TOO_LARGE)
    objects = [row for row in rows if isinstance(row, dict)]
    if len(objects) == len(rows):
        return _of_objects(objects)
    lists = [row for row in rows if isinstance(row, list)]
    if len(lists) == len(rows):
        return _of_lists(lists)
    return Undecodable(Reason.BAD_SHAPE) if objects or lists else of_scalars(rows)


def of_scalars(values: Sequence[object]) -> Decoded:
    """Rows of one value, by position."""
    if not values:
        return Undecodable(Reason.BAD_SHAPE)
    return Undecodable(Reason.TOO_LARGE) if len(values) > MAX_ROWS else Batch(len(values), None, (column(values),))


def _of_objects(rows: Sequence[Mapping[str, object]]) -> Decoded:
    names = tuple(rows[0]) if len(rows) == 1 else tuple(dict.fromkeys(chain.from_iterable(rows)))
    if not names:
        return Undecodable(Reason.BAD_SHAPE)
    if len(names) > MAX_COLUMNS or len(names) * len(rows) > MAX_ROWS * 64:
        # Rows of disjoint names would grow as the square of the body.
        return Undecodable(Reason.TOO_LARGE)
    if len(rows) == 1:
        return Batch(1, names, tuple([value] for value in rows[0].values()))
    return Batch(len(rows), names, tuple(column([row.get(name) for row in rows]) for name in names))


def _of_lists(rows: Sequence[Sequence[object]]) -> Decoded:
    width = len(rows[0])
    if width == 0:
        return Undecodable(Reason.BAD_SHAPE)
    if width > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    if any(len(row) != width for row in rows):
        return Undecodable(Reason.BAD_SHAPE)
    return Batch(len(rows), None, tuple(column(values) for values in zip(*rows, strict=True)))


def column(values: Sequence[object]) -> Column:
    """
    A float64 vector where the column is long and all values are numbers or null, else the values as they are.

    >>> column([1, 2.5, None, *range(14)])[:3]
    array([1. , 2.5, nan])
    >>> column([1, "2"])
    [1, '2']
    """
    if len(values) < _SHORT or not _NUMBERS.issuperset(map(type, values)):
        return list(values)
    try:
        return np.array(values, np.float64)
    except OverflowError:  # an integer of over 308 digits
        return list(values)
