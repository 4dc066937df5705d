"""
Which decoder reads an exchange: the configured protocol, else the path, else the body's top-level keys.

A wrong guess can't be silent: a decoder that does not find its own keys answers ``no_decoder``.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from onguard import contract
from onguard_sidecar.decoding import json_text, kserve_v1, open_inference_v2
from onguard_sidecar.decoding.batch import Decoded, Reason, Undecodable


class Format(NamedTuple):
    """A wire format: two pure functions."""

    name: str
    decode_request: Callable[[bytes], Decoded]
    decode_response: Callable[[bytes], Decoded]


KSERVE_V1: Final = Format(contract.PROTOCOL_KSERVE_V1, kserve_v1.decode_request, kserve_v1.decode_response)
OPEN_INFERENCE_V2: Final = Format(
    contract.PROTOCOL_OPEN_INFERENCE_V2, open_inference_v2.decode_request, open_inference_v2.decode_response
)
FORMATS: Final = {fmt.name: fmt for fmt in (KSERVE_V1, OPEN_INFERENCE_V2)}

_PATHS: Final = (
    (re.compile(r"/v1/models/[^/]+(?:/versions/[^/]+|/labels/[^/]+)?:predict\Z"), KSERVE_V1),
    (re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer\Z"), OPEN_INFERENCE_V2),
)
_NOT_JSON: Final = ("image/", "audio/", "video/", "application/grpc", "application/x-protobuf", "multipart/")


class _Keys(msgspec.Struct):
    """Top-level keys that tell the formats apart; the values are skipped, not built."""

    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_KEYS: Final = msgspec.json.Decoder(_Keys)


def sniff(path: str, content_type: str, body: bytes) -> Format | Undecodable:
    """
    Guess the format of a request.

    Args:
        path: of the request line, without the query.
        content_type: of the request, lower case; models are lax about it, so only what is surely no JSON counts.
        body: the request's content, decompressed.

    >>> sniff("/v2/models/churn/infer", "", b"").name
    'open-inference-v2'
    >>> sniff("/predict", "application/json", b'{"instances": []}').name
    'kserve-v1'
    >>> sniff("/predict", "", b'{"rows": []}')
    Undecodable(reason=<Reason.NO_DECODER: 'no_decoder'>)
    """
    if content_type.startswith(_NOT_JSON):
        return Undecodable(Reason.NO_DECODER)
    for pattern, fmt in _PATHS:
        if pattern.search(path):
            return fmt
    return _by_keys(body)


def _by_keys(body: bytes) -> Format | Undecodable:
    keys = json_text.strict(_KEYS, body)
    if keys is None:
        document = json_text.loose(body)  # why not: bad JSON, or JSON that is no object
        if isinstance(document, Undecodable):
            return document
        names = set(document) if isinstance(document, dict) else set()
    else:
        names = {name for name in ("instances", "inputs") if getattr(keys, name) is not msgspec.UNSET}
    if "instances" in names:
        return KSERVE_V1
    return OPEN_INFERENCE_V2 if "inputs" in names else Undecodable(Reason.NO_DECODER)


def choose(protocol: str, *, path: str, content_type: str, body: bytes) -> Format | Undecodable:
    """The configured protocol's decoder, or the guess where it is ``auto``; an unknown name reads nothing."""
    if protocol == contract.PROTOCOL_AUTO:
        return sniff(path, content_type, body)
    return FORMATS.get(protocol) or Undecodable(Reason.NO_DECODER)
