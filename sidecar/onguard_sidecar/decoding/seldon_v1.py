"""
Seldon's V1 protocol: ``{"data": {"names": [...], "ndarray": [[...]]}}``, or ``tensor`` with shape and flat values.

``names`` may be missing or empty, then columns go by position; so do they where the number of names is another than
that of the columns. ``strData``, ``binData``, ``jsonData`` and ``tftensor`` are no tables.
"""

import math
from typing import Any

import msgspec

from onguard_sidecar.decoding import json_text, rows
from onguard_sidecar.decoding.batch import MAX_COLUMNS, Batch, Decoded, Reason, Undecodable


class _Tensor(msgspec.Struct):
    shape: list[int]
    values: list[Any]


class _Data(msgspec.Struct):
    names: list[str] | None = None
    ndarray: list[Any] | None = None
    tensor: _Tensor | None = None


def decode(body: bytes) -> Decoded:
    """
    Inputs or outputs: both have the same form.

    >>> batch = decode(b'{"data": {"names": ["a", "b"], "tensor": {"shape": [1, 2], "values": [1, 2]}}}')
    >>> batch.names, batch.rows
    (('a', 'b'), 1)
    """
    document = json_text.loose(body)
    if isinstance(document, Undecodable):
        return document
    try:
        data = msgspec.convert(document["data"], _Data)
    except (TypeError, KeyError, msgspec.ValidationError):
        return Undecodable(Reason.NO_DECODER)
    if data.ndarray is not None:
        return _named(_rows_of(data.ndarray, data.names or []), data.names)
    return _named(_unflattened(data.tensor), data.names) if data.tensor else Undecodable(Reason.NO_DECODER)


def _rows_of(array: list[Any], names: list[str]) -> Decoded:
    """A flat array with a name for each value is one row."""
    is_row = len(array) == len(names) > 1 and not any(isinstance(value, list | dict) for value in array)
    return rows.of_rows([array] if is_row else array)


def _unflattened(tensor: _Tensor) -> Decoded:
    if not tensor.shape or min(tensor.shape) < 1 or math.prod(tensor.shape) != len(tensor.values):
        return Undecodable(Reason.BAD_SHAPE)
    width = len(tensor.values) // tensor.shape[0]
    if width > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    if any(isinstance(value, list | dict) for value in tensor.values):
        return Undecodable(Reason.BAD_SHAPE)
    return rows.of_rows([tensor.values[i : i + width] for i in range(0, len(tensor.values), width)])


def _named(batch: Decoded, names: list[str] | None) -> Decoded:
    fits = isinstance(batch, Batch) and batch.names is None and names is not None and len(names) == batch.width
    if not (fits and isinstance(batch, Batch) and names):
        return batch
    return Batch(batch.rows, tuple(names), batch.values)
