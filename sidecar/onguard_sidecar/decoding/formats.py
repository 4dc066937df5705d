"""
Which decoder reads an exchange: the configured protocol, else the path, else the head and the body's top-level keys.

A wrong guess can't be silent: a decoder that does not find its own keys answers ``no_decoder``.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from onguard import contract
from onguard.spec import PayloadMapping
from onguard_sidecar.decoding import (
    invocations,
    json_text,
    kserve_v1,
    mapped,
    open_inference_binary,
    open_inference_grpc,
    openai,
    seldon_v1,
    tf_serving,
)
from onguard_sidecar.decoding.batch import Decoded, Reason, Undecodable
from onguard_sidecar.decoding.heads import Head

Decode = Callable[[bytes, Head], Decoded]


class Format(NamedTuple):
    """A wire format: two pure functions of a body, decompressed, and the head that it came with."""

    name: str
    decode_request: Decode
    decode_response: Decode


def _body(decode: Callable[[bytes], Decoded]) -> Decode:
    """A decoder for which the head says nothing."""

    def decoded(body: bytes, _head: Head) -> Decoded:
        return decode(body)

    return decoded


KSERVE_V1: Final = Format(
    contract.PROTOCOL_KSERVE_V1, _body(kserve_v1.decode_request), _body(kserve_v1.decode_response)
)
OPEN_INFERENCE_V2: Final = Format(
    contract.PROTOCOL_OPEN_INFERENCE_V2, open_inference_binary.decode_request, open_inference_binary.decode_response
)
OPEN_INFERENCE_GRPC: Final = Format(
    contract.PROTOCOL_OPEN_INFERENCE_GRPC, open_inference_grpc.decode_request, open_inference_grpc.decode_response
)
TF_SERVING: Final = Format(
    contract.PROTOCOL_TF_SERVING, _body(tf_serving.decode_request), _body(tf_serving.decode_response)
)
SELDON_V1: Final = Format(contract.PROTOCOL_SELDON_V1, _body(seldon_v1.decode), _body(seldon_v1.decode))
MLFLOW: Final = Format(
    contract.PROTOCOL_MLFLOW, invocations.decode_mlflow_request, _body(invocations.decode_mlflow_response)
)
SAGEMAKER: Final = Format(
    contract.PROTOCOL_SAGEMAKER, invocations.decode_sagemaker_request, invocations.decode_sagemaker_response
)
OPENAI: Final = Format(contract.PROTOCOL_OPENAI, _body(openai.decode_request), openai.decode_response)
FORMATS: Final = {
    fmt.name: fmt
    for fmt in (
        KSERVE_V1,
        OPEN_INFERENCE_V2,
        OPEN_INFERENCE_GRPC,
        TF_SERVING,
        SELDON_V1,
        MLFLOW,
        SAGEMAKER,
        OPENAI,
    )
}
MAPPED: Final = "mapping"
_INVOCATIONS: Final = Format("invocations", invocations.decode_request, invocations.decode_sagemaker_response)
"""MLflow's or SageMaker's, which the path does not tell apart."""

_PATHS: Final = (
    (re.compile(r"/v1/models/[^/]+(?:/versions/[^/]+|/labels/[^/]+)?:predict/?\Z"), TF_SERVING),
    (re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer/?\Z"), OPEN_INFERENCE_V2),
    (re.compile(r"/(?:chat/)?completions/?\Z"), OPENAI),
    (re.compile(r"/invocations/?\Z"), _INVOCATIONS),
    (re.compile(r"/api/v(?:0\.1|1\.0)/predictions/?\Z"), SELDON_V1),
)
_GRPC_PATH: Final = re.compile(rf"{re.escape(open_inference_grpc.SERVICE)}Model(?:Stream)?Infer")
_NOT_TABLES: Final = ("image/", "audio/", "video/", "application/grpc", "application/x-protobuf", "multipart/")


class _Keys(msgspec.Struct):
    """Top-level keys that tell the formats apart; the values are skipped, not built."""

    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    dataframe_split: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    dataframe_records: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_KEYS: Final = msgspec.json.Decoder(_Keys)
_TELLING: Final = (
    ("instances", TF_SERVING),
    ("dataframe_split", MLFLOW),
    ("dataframe_records", MLFLOW),
    ("messages", OPENAI),
    ("prompt", OPENAI),
    ("data", SELDON_V1),
)


def of_mapping(mapping: PayloadMapping) -> Format:
    """
    The format that a mapping describes.

    Raises:
        MappingError: a query of it is no JSONPath.
    """
    return Format(MAPPED, _body(mapped.requests(mapping)), _body(mapped.answers(mapping)))


def sniff(head: Head, body: bytes) -> Format | Undecodable:
    """
    Guess the format of a request.

    Args:
        head: of the request; models are lax about the content type, so only what is surely no table counts.
        body: the request's content, decompressed.

    >>> from onguard_sidecar.decoding.heads import NONE
    >>> sniff(NONE._replace(path="/v2/models/churn/infer"), b"").name
    'open-inference-v2'
    >>> sniff(NONE, b'{"inputs": {"age": [31]}}').name
    'tf-serving'
    >>> sniff(NONE, b'{"rows": []}')
    Undecodable(reason=<Reason.NO_DECODER: 'no_decoder'>)
    """
    if _GRPC_PATH.fullmatch(head.path):
        return OPEN_INFERENCE_GRPC
    if head.content_type.startswith(_NOT_TABLES):
        return Undecodable(Reason.NO_DECODER)
    for pattern, fmt in _PATHS:
        if pattern.search(head.path):
            return fmt
    return OPEN_INFERENCE_V2 if head.json_bytes is not None else _by_body(head, body)


def _by_body(head: Head, body: bytes) -> Format | Undecodable:
    if head.content_type.startswith(invocations.DELIMITED):
        return _INVOCATIONS
    keys = json_text.strict(_KEYS, body)
    if keys is None:
        document = json_text.loose(body)  # why not: bad JSON, or JSON that is no object
        if isinstance(document, Undecodable):
            return document
        names = set(document) if isinstance(document, dict) else set()
    else:
        names = {name for name in _Keys.__struct_fields__ if getattr(keys, name) is not msgspec.UNSET}
    for name, fmt in _TELLING:
        if name in names:
            return fmt
    return _of_inputs(keys) if "inputs" in names else Undecodable(Reason.NO_DECODER)


def _of_inputs(keys: _Keys | None) -> Format:
    """A list of objects is Open Inference's; an object, or a list of anything else, are columns."""
    inputs = keys.inputs if keys else msgspec.UNSET
    if isinstance(inputs, msgspec.UnsetType):
        return OPEN_INFERENCE_V2
    start = bytes(inputs)[:64].split()
    return OPEN_INFERENCE_V2 if b"".join(start).startswith(b"[{") else TF_SERVING


def choose(protocol: str, *, head: Head, body: bytes) -> Format | Undecodable:
    """The configured protocol's decoder, or the guess where it is ``auto``; an unknown name reads nothing."""
    if protocol == contract.PROTOCOL_AUTO:
        return sniff(head, body)
    return FORMATS.get(protocol) or Undecodable(Reason.NO_DECODER)
