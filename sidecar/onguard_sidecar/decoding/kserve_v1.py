"""
KServe's V1 protocol: ``{"instances": [...]}`` answered by ``{"predictions": [...]}``.

TensorFlow Serving's row form is the same text; its column form (``inputs``) is read by :mod:`tf_serving`.
A model that answers with one value in place of a list (``{"predictions": 0.7}``) answered one row.
"""

from typing import Any, Final

import msgspec

from onguard_sidecar.decoding import json_text, rows
from onguard_sidecar.decoding.batch import Decoded, Reason, Undecodable


class _NumericRequest(msgspec.Struct):
    instances: list[list[float]]


class _NumericAnswer(msgspec.Struct):
    predictions: list[float]


class _NumericRowsAnswer(msgspec.Struct):
    predictions: list[list[float]]


REQUEST: Final = msgspec.json.Decoder(_NumericRequest)
ANSWER: Final = msgspec.json.Decoder(_NumericAnswer)
ROWS_ANSWER: Final = msgspec.json.Decoder(_NumericRowsAnswer)


def decode_request(body: bytes) -> Decoded:
    """
    Inputs of a ``:predict`` request.

    >>> decode_request(b'{"instances": [[1, 2], [3, 4]]}').values.shape
    (2, 2)
    >>> decode_request(b'{"instances": [{"age": 31}]}').names
    ('age',)
    """
    fast = numbers(body)
    return fast if fast is not None else _general(body, "instances")


def numbers(body: bytes) -> Decoded | None:
    """Rows of plain numbers, the usual case; None for any other."""
    fast = json_text.strict(REQUEST, body)
    return rows.of_numbers(fast.instances) if fast is not None else None


def decode_response(body: bytes) -> Decoded:
    """
    Outputs of a ``:predict`` answer.

    >>> decode_response(b'{"predictions": [0.1, 0.9]}').column(0)
    [0.1, 0.9]
    """
    fast = json_text.strict(ANSWER, body)
    if fast is not None:
        return rows.of_scalars(fast.predictions)
    wide = json_text.strict(ROWS_ANSWER, body)
    return rows.of_numbers(wide.predictions) if wide is not None else _general(body, "predictions")


def _general(body: bytes, key: str) -> Decoded:
    document: Any = json_text.loose(body)
    if isinstance(document, Undecodable):
        return document
    if not isinstance(document, dict) or key not in document:
        return Undecodable(Reason.NO_DECODER)
    value = document[key]
    return rows.of_rows(value if isinstance(value, list) else [value])
