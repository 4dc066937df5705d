"""
Open Inference Protocol, version 2, JSON over HTTP: named tensors in ``inputs``, answered by tensors in ``outputs``.

A tensor's data come flat in row-major order or nested as its shape; both are allowed by the specification, and the
shape decides. A tensor of shape (n,) or (n, 1) is a column under its own name. One of shape (n, k) is k columns: by
position if it is the only tensor, else ``name[0]`` to ``name[k-1]``. Higher ranks are flattened behind the first axis.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from onguard_sidecar.decoding import json_text, rows
from onguard_sidecar.decoding.batch import MAX_COLUMNS, MAX_ROWS, Batch, Column, Decoded, Floats, Reason, Undecodable

_INTEGERS: Final = frozenset(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_NUMBERS: Final = _INTEGERS | {"FP16", "FP32", "FP64", "BF16"}
_DATATYPES: Final = _NUMBERS | {"BOOL", "BYTES"}


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


class _Request(msgspec.Struct):
    inputs: list[_Tensor]


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


_REQUEST: Final = msgspec.json.Decoder(_Request)
_ANSWER: Final = msgspec.json.Decoder(_Answer)
_FLAT: Final = msgspec.json.Decoder(list[float])
_NESTED: Final = msgspec.json.Decoder(list[list[float]])


def decode_request(body: bytes) -> Decoded:
    """
    Inputs of an ``/infer`` request.

    >>> body = b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}'
    >>> decode_request(body).values
    array([[1., 2.],
           [3., 4.]])
    """
    fast = json_text.strict(_REQUEST, body)
    return _of_tensors(fast.inputs) if fast is not None else _general(body, "inputs")


def decode_response(body: bytes) -> Decoded:
    """
    Outputs of an ``/infer`` answer.

    >>> body = b'{"outputs": [{"name": "score", "shape": [1], "datatype": "FP64", "data": [0.7]}]}'
    >>> decode_response(body).names
    ('score',)
    """
    fast = json_text.strict(_ANSWER, body)
    return _of_tensors(fast.outputs) if fast is not None else _general(body, "outputs")


def _general(body: bytes, key: str) -> Decoded:
    """Bodies with NaN in them, or none of this format: say which."""
    document: Any = json_text.loose(body)
    if isinstance(document, Undecodable):
        return document
    try:
        tensors = msgspec.convert(document[key], list[_LooseTensor])
    except (TypeError, KeyError, msgspec.ValidationError):
        return Undecodable(Reason.NO_DECODER)
    return _of_tensors(tensors)


class _LooseTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


def _of_tensors(tensors: Sequence[_Tensor] | Sequence[_LooseTensor]) -> Decoded:
    if not tensors:
        return Undecodable(Reason.BAD_SHAPE)
    names: list[str] = []
    columns: list[Column] = []
    for tensor in tensors:
        values = _values(tensor)
        if isinstance(values, Undecodable):
            return values
        if len(tensors) == 1 and len(tensor.shape) > 1 and _width(tensor.shape) > 1:
            return Batch(tensor.shape[0], None, values)
        columns += _columns(values)
        names += _names(tensor)
    return _joined(names, columns)


def _joined(names: list[str], columns: list[Column]) -> Decoded:
    if len({len(column) for column in columns}) != 1:
        return Undecodable(Reason.BAD_SHAPE)
    if len(columns) > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    return Batch(len(columns[0]), tuple(names), tuple(columns))


def _width(shape: Sequence[int]) -> int:
    return math.prod(shape[1:])


def _names(tensor: _Tensor | _LooseTensor) -> list[str]:
    width = _width(tensor.shape)
    return [tensor.name] if width == 1 else [f"{tensor.name}[{i}]" for i in range(width)]


def _columns(values: Floats | Sequence[Column]) -> list[Column]:
    return list(values.T) if isinstance(values, np.ndarray) else list(values)


def _values(tensor: _Tensor | _LooseTensor) -> Floats | Sequence[Column] | Undecodable:
    """The tensor as (rows, width): a matrix, or columns of JSON values."""
    fault = _fault(tensor)
    if fault is not None:
        return Undecodable(fault)
    count, width = tensor.shape[0], _width(tensor.shape)
    if tensor.datatype in _NUMBERS and isinstance(tensor, _Tensor):
        matrix = _numbers(tensor.data, count, width)
        if matrix is not None:
            return matrix
    flat = _flat(tensor)
    if isinstance(flat, Undecodable):
        return flat
    if len(flat) != count * width:
        return Undecodable(Reason.BAD_SHAPE)
    return [rows.column(flat[i::width]) for i in range(width)]


def _fault(tensor: _Tensor | _LooseTensor) -> Reason | None:
    if tensor.datatype not in _DATATYPES:
        return Reason.NO_DECODER
    if not tensor.shape or min(tensor.shape) < 0:
        return Reason.BAD_SHAPE
    count, width = tensor.shape[0], _width(tensor.shape)
    if count == 0 or width == 0:
        return Reason.BAD_SHAPE
    return Reason.TOO_LARGE if count > MAX_ROWS or width > MAX_COLUMNS else None


def _numbers(data: msgspec.Raw, count: int, width: int) -> Floats | None:
    """The usual case, flat or rows of numbers; None where it is another and each value must be looked at."""
    flat = json_text.strict(_FLAT, bytes(data))
    if flat is not None:
        return np.fromiter(flat, np.float64, len(flat)).reshape(count, width) if len(flat) == count * width else None
    nested = json_text.strict(_NESTED, bytes(data))
    if nested is None or len(nested) != count:
        return None
    values = rows.matrix(nested)
    return None if isinstance(values, Undecodable) or values.shape[1] != width else values


def _flat(tensor: _Tensor | _LooseTensor) -> list[Any] | Undecodable:
    """All values in row-major order, whatever the nesting; its depth is at most the shape's rank."""
    data: Any = json_text.loose(bytes(tensor.data)) if isinstance(tensor, _Tensor) else tensor.data
    if isinstance(data, Undecodable):
        return data
    if not isinstance(data, list):
        return Undecodable(Reason.BAD_SHAPE)
    return _unnested(data, tensor.shape)


def _unnested(data: list[Any], shape: Sequence[int]) -> list[Any] | Undecodable:
    for width in shape[1:]:
        if not data or not isinstance(data[0], list):
            break
        if any(not isinstance(item, list) or len(item) != width for item in data):
            return Undecodable(Reason.BAD_SHAPE)
        data = [value for item in data for value in item]
    return data
