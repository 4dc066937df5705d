"""
Named tensors -> Batch, as Open Inference v2 has them, whatever carried them.

A tensor of shape (n,) or (n, 1) is a column under its own name. One of shape (n, k) is k columns: by position if it is
the only tensor, else ``name[0]`` to ``name[k-1]``. Higher ranks are flattened behind the first axis.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from onguard_sidecar.decoding.batch import MAX_COLUMNS, MAX_ROWS, Batch, Column, Decoded, Floats, Reason, Undecodable

INTEGERS: Final = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
NUMBERS: Final = INTEGERS | {"FP16", "FP32", "FP64", "BF16"}
DATATYPES: Final = NUMBERS | {"BOOL", "BYTES"}


class Tensor(NamedTuple):
    """A tensor that was read: its values are a (rows, width) matrix, or ``width`` columns."""

    name: str
    shape: Sequence[int]
    values: Floats | Sequence[Column]


def width(shape: Sequence[int]) -> int:
    """Columns of a tensor whose first axis is its rows."""
    return math.prod(shape[1:])


def fault(datatype: str, shape: Sequence[int]) -> Reason | None:
    """Why a tensor can't be read, before its data are looked at."""
    if datatype not in DATATYPES:
        return Reason.NO_DECODER
    if not shape or min(shape) < 1:
        return Reason.BAD_SHAPE
    return Reason.TOO_LARGE if shape[0] > MAX_ROWS or width(shape) > MAX_COLUMNS else None


def batch(tensors: Sequence[Tensor]) -> Decoded:
    """
    Columns of all tensors side by side.

    >>> batch([Tensor("age", [2], [[31, 40]]), Tensor("x", [2, 2], np.eye(2))]).names
    ('age', 'x[0]', 'x[1]')
    """
    if not tensors:
        return Undecodable(Reason.BAD_SHAPE)
    first = tensors[0]
    if len(tensors) == 1 and width(first.shape) > 1:
        return Batch(first.shape[0], None, first.values)
    columns = [column for tensor in tensors for column in _columns(tensor.values)]
    if len({len(column) for column in columns}) != 1:
        return Undecodable(Reason.BAD_SHAPE)
    if len(columns) > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    return Batch(len(columns[0]), tuple(name for tensor in tensors for name in _names(tensor)), tuple(columns))


def _names(tensor: Tensor) -> list[str]:
    count = width(tensor.shape)
    return [tensor.name] if count == 1 else [f"{tensor.name}[{i}]" for i in range(count)]


def _columns(values: Floats | Sequence[Column]) -> list[Column]:
    return list(values.T) if isinstance(values, np.ndarray) else list(values)
