"""
Open Inference Protocol, version 2, JSON over HTTP: named tensors in ``inputs``, answered by tensors in ``outputs``.

A tensor's data come flat in row-major order or nested as its shape; both are allowed by the specification, and the
shape decides.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from onguard_sidecar.decoding import json_text, rows, tensors
from onguard_sidecar.decoding.batch import Column, Decoded, Floats, Reason, Undecodable


class JsonTensor(msgspec.Struct):
    """A tensor whose data are JSON, not looked at yet."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw


class _Request(msgspec.Struct):
    inputs: list[JsonTensor]


class _Answer(msgspec.Struct):
    outputs: list[JsonTensor]


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
        found = msgspec.convert(document[key], list[_LooseTensor])
    except (TypeError, KeyError, msgspec.ValidationError):
        return Undecodable(Reason.NO_DECODER)
    return _of_tensors(found)


class _LooseTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


def _of_tensors(found: Sequence[JsonTensor] | Sequence[_LooseTensor]) -> Decoded:
    read: list[tensors.Tensor] = []
    for tensor in found:
        values = values_of(tensor)
        if isinstance(values, Undecodable):
            return values
        read.append(tensors.Tensor(tensor.name, tensor.shape, values))
    return tensors.batch(read)


def values_of(tensor: JsonTensor | _LooseTensor) -> Floats | Sequence[Column] | Undecodable:
    """The tensor as (rows, width): a matrix, or columns of JSON values."""
    fault = tensors.fault(tensor.datatype, tensor.shape)
    if fault is not None:
        return Undecodable(fault)
    count, width = tensor.shape[0], tensors.width(tensor.shape)
    if tensor.datatype in tensors.NUMBERS and isinstance(tensor, JsonTensor):
        matrix = _numbers(tensor.data, count, width)
        if matrix is not None:
            return matrix
    flat = _flat(tensor)
    if isinstance(flat, Undecodable):
        return flat
    if len(flat) != count * width:
        return Undecodable(Reason.BAD_SHAPE)
    return [rows.column(flat[i::width]) for i in range(width)]


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


def _flat(tensor: JsonTensor | _LooseTensor) -> list[Any] | Undecodable:
    """All values in row-major order, whatever the nesting; its depth is at most the shape's rank."""
    data: Any = json_text.loose(bytes(tensor.data)) if isinstance(tensor, JsonTensor) else tensor.data
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
