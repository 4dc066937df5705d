"""
Open Inference v2 over HTTP with the binary tensor data extension: a JSON header, then the tensors' raw bytes.

The length of the header is told by the HTTP field ``Inference-Header-Content-Length``; each tensor with
``parameters.binary_data_size`` has its data behind it, in the order of the tensors, little-endian and row-major. A
BYTES element is a 32-bit length and so many bytes. Tensors with JSON data may stand among them.
"""

import struct
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from onguard_sidecar.decoding import json_text, open_inference_v2, rows, tensors
from onguard_sidecar.decoding.batch import Column, Decoded, Floats, Reason, Undecodable
from onguard_sidecar.decoding.heads import Head

_TYPES: Final[dict[str, npt.DTypeLike]] = {
    "BOOL": "<u1",
    **{f"INT{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UINT{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": f"<f{size}" for size in (2, 4, 8)},
    "BF16": "<u2",
}
_LENGTH: Final = struct.Struct("<I")


class _Parameters(msgspec.Struct, frozen=True):
    binary_data_size: int | None = None


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters = _Parameters()
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Request(msgspec.Struct):
    inputs: list[_Tensor]


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


_REQUEST: Final = msgspec.json.Decoder(_Request)
_ANSWER: Final = msgspec.json.Decoder(_Answer)


def decode_request(body: bytes, head: Head) -> Decoded:
    """
    Inputs of an ``/infer`` request, binary if its head says so, else JSON.

    >>> from onguard_sidecar.decoding.heads import NONE
    >>> json = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP16","parameters":{"binary_data_size":4}}]}'
    >>> decode_request(json + bytes.fromhex("003c0040"), NONE._replace(json_bytes=len(json))).values
    array([[1., 2.]])
    """
    if head.json_bytes is None:
        return open_inference_v2.decode_request(body)
    header = json_text.strict(_REQUEST, body[: max(head.json_bytes, 0)])
    return _no_header(body, head) if header is None else _decode(header.inputs, memoryview(body)[head.json_bytes :])


def decode_response(body: bytes, head: Head) -> Decoded:
    """Outputs of an ``/infer`` answer, likewise."""
    if head.json_bytes is None:
        return open_inference_v2.decode_response(body)
    header = json_text.strict(_ANSWER, body[: max(head.json_bytes, 0)])
    return _no_header(body, head) if header is None else _decode(header.outputs, memoryview(body)[head.json_bytes :])


def _no_header(body: bytes, head: Head) -> Undecodable:
    """A length of 0 is the raw form: one tensor without a name, which is no table."""
    if head.json_bytes is None or head.json_bytes < 1:
        return Undecodable(Reason.NO_DECODER)
    document = json_text.loose(body[: head.json_bytes])
    return document if isinstance(document, Undecodable) else Undecodable(Reason.NO_DECODER)


def _decode(found: Sequence[_Tensor], data: memoryview) -> Decoded:
    read: list[tensors.Tensor] = []
    for tensor in found:
        size = tensor.parameters.binary_data_size
        if size is not None and not 0 <= size <= len(data):
            return Undecodable(Reason.BAD_SHAPE)
        values = _in_json(tensor) if size is None else values_of(tensor.datatype, tensor.shape, data[:size])
        if isinstance(values, Undecodable):
            return values
        data = data[size or 0 :]
        read.append(tensors.Tensor(tensor.name, tensor.shape, values))
    # Bytes that belong to no tensor: the sizes were wrong, so what was read may be, too.
    return Undecodable(Reason.BAD_SHAPE) if len(data) else tensors.batch(read)


def _in_json(tensor: _Tensor) -> Floats | Sequence[Column] | Undecodable:
    if isinstance(tensor.data, msgspec.UnsetType):
        return Undecodable(Reason.BAD_SHAPE)
    return open_inference_v2.values_of(
        open_inference_v2.JsonTensor(tensor.name, tensor.shape, tensor.datatype, tensor.data)
    )


def values_of(datatype: str, shape: Sequence[int], data: memoryview) -> Floats | Sequence[Column] | Undecodable:
    """The tensor as (rows, width) of its raw bytes: a matrix, or columns of values."""
    fault = tensors.fault(datatype, shape)
    if fault is not None:
        return Undecodable(fault)
    count, width = shape[0], tensors.width(shape)
    if datatype == "BYTES":
        texts = _texts(data, count * width)
        return texts if isinstance(texts, Undecodable) else [rows.column(texts[i::width]) for i in range(width)]
    kind = np.dtype(_TYPES[datatype])
    if len(data) != count * width * kind.itemsize:
        return Undecodable(Reason.BAD_SHAPE)
    flat = np.frombuffer(data, kind).reshape(count, width)
    if datatype == "BOOL":
        return [[bool(value) for value in column] for column in flat.T.tolist()]
    if datatype == "BF16":  # the upper half of a 32-bit float
        flat = (flat.astype("<u4") << 16).view("<f4")
    return flat.astype(np.float64)


def _texts(data: memoryview, count: int) -> list[str] | Undecodable:
    """``count`` elements; bytes that are no UTF-8 stay distinct, as lone surrogates."""
    texts: list[str] = []
    at = 0
    while len(texts) < count and at + _LENGTH.size <= len(data):
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(data, at)[0]
        if at > len(data):
            return Undecodable(Reason.BAD_SHAPE)
        texts.append(str(data[start:at], "utf-8", "surrogateescape"))
    return texts if len(texts) == count and at == len(data) else Undecodable(Reason.BAD_SHAPE)
