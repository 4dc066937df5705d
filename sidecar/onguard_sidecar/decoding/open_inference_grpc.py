"""
Open Inference over gRPC: messages of ``ModelInfer`` and ``ModelStreamInfer`` as tensors.

A tensor's data are in the typed field of its datatype, or all tensors' data are raw bytes, in the order of the tensors.
A message of a stream has the form of a unary call's; who follows the stream takes its answers out of their envelope.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from onguard_sidecar.decoding import grpc_messages, open_inference_binary, rows, tensors
from onguard_sidecar.decoding.batch import Column, Decoded, Floats, Reason, Undecodable
from onguard_sidecar.decoding.heads import Head

SERVICE: Final = "/inference.GRPCInferenceService/"
STREAM_PATH: Final = f"{SERVICE}ModelStreamInfer"
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Typed field of each datatype; the others come as raw bytes only."""


class Identity(NamedTuple):
    """What a request or an answer says of itself; empty where it says nothing, or can't be read."""

    model: str
    id: str


class StreamAnswer(NamedTuple):
    """
    One answer of a stream.

    Attributes:
        message: the ``ModelInferResponse`` within, as its bytes.
        is_error: it tells of an error.
        is_bare: without the envelope, as MLServer's are: those all carry the id of the stream's first request.
    """

    message: bytes
    is_error: bool = False
    is_bare: bool = False


def decode_request(body: bytes, head: Head) -> Decoded:
    """Inputs of one ``ModelInferRequest`` with its prefix."""
    found = _read("REQUEST", body, head)
    return found if isinstance(found, Undecodable) else _decode(found.inputs, found.raw_input_contents)


def decode_response(body: bytes, head: Head) -> Decoded:
    """Outputs of one ``ModelInferResponse`` with its prefix."""
    found = _read("RESPONSE", body, head)
    return found if isinstance(found, Undecodable) else _decode(found.outputs, found.raw_output_contents)


def identity_of(body: bytes, grpc_encoding: str) -> Identity:
    """Model and id of one request or answer with its prefix."""
    message = grpc_messages.only(body, grpc_encoding)
    found = None if isinstance(message, Undecodable) else _parsed("IDENTITY", message)
    return Identity("", "") if found is None else Identity(found.model_name, found.id)


def stream_answer(body: bytes, grpc_encoding: str) -> StreamAnswer | None:
    """One ``ModelStreamInferResponse`` with its prefix, or (MLServer) a ``ModelInferResponse``; None: neither."""
    message = grpc_messages.only(body, grpc_encoding)
    found = None if isinstance(message, Undecodable) else _parsed("STREAM_RESPONSE", message)
    if found is None or isinstance(message, Undecodable):
        return None
    if found.id or found.outputs:
        return StreamAnswer(message, is_bare=True)
    return StreamAnswer(found.infer_response, is_error=bool(found.error_message))


def _read(kind: str, body: bytes, head: Head) -> Any:
    if not head.content_type.startswith("application/grpc"):
        return Undecodable(Reason.NO_DECODER)
    message = grpc_messages.only(body, head.grpc_encoding)
    if isinstance(message, Undecodable):
        return message
    found = _parsed(kind, message)
    return Undecodable(Reason.NO_DECODER) if found is None else found


def _parsed(kind: str, message: bytes) -> Any:
    """The message; None where the bytes are no such message."""
    from google.protobuf.message import DecodeError

    from onguard_sidecar.decoding import inference_messages

    try:
        return getattr(inference_messages, kind).FromString(message)
    except DecodeError:
        return None


def _decode(found: Iterable[Any], raw: Sequence[bytes]) -> Decoded:
    listed = list(found)
    if raw and len(raw) != len(listed):
        return Undecodable(Reason.BAD_SHAPE)
    read: list[tensors.Tensor] = []
    for number, tensor in enumerate(listed):
        shape = list(tensor.shape)
        values = (
            open_inference_binary.values_of(tensor.datatype, shape, memoryview(raw[number]))
            if raw
            else _typed(tensor.datatype, shape, tensor.contents)
        )
        if isinstance(values, Undecodable):
            return values
        read.append(tensors.Tensor(tensor.name, shape, values))
    return tensors.batch(read)


def _typed(datatype: str, shape: Sequence[int], contents: Any) -> Floats | Sequence[Column] | Undecodable:
    fault = tensors.fault(datatype, shape)
    if fault is not None:
        return Undecodable(fault)
    count, width = shape[0], tensors.width(shape)
    field = _CONTENTS.get(datatype)
    values = getattr(contents, field) if field else ()
    if len(values) != count * width:
        return Undecodable(Reason.BAD_SHAPE)
    if datatype == "BYTES":
        texts = [str(value, "utf-8", "surrogateescape") for value in values]
        return [rows.column(texts[i::width]) for i in range(width)]
    if datatype == "BOOL":
        return [list(values[i::width]) for i in range(width)]
    return np.fromiter(values, np.float64, len(values)).reshape(count, width)
