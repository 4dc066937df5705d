"""
TensorFlow Serving's REST predict API, in rows or in columns.

Rows are ``instances`` answered by ``predictions``, as in KServe's V1 protocol; columns are ``inputs`` answered by
``outputs``.
"""

from typing import Any

from onguard_sidecar.decoding import columns, json_text, kserve_v1, rows
from onguard_sidecar.decoding.batch import Decoded, Reason, Undecodable


def decode_request(body: bytes) -> Decoded:
    """
    Inputs of a ``:predict`` request.

    >>> decode_request(b'{"inputs": {"age": [31, 40]}}').names
    ('age',)
    """
    fast = kserve_v1.numbers(body)
    return fast if fast is not None else _either(json_text.loose(body), by_row="instances", by_column="inputs")


def decode_response(body: bytes) -> Decoded:
    """
    Outputs of a ``:predict`` answer.

    >>> decode_response(b'{"outputs": [0.1, 0.9]}').rows
    2
    """
    answer = kserve_v1.decode_response(body)
    if answer != Undecodable(Reason.NO_DECODER):
        return answer
    return _either(json_text.loose(body), by_row="predictions", by_column="outputs")


def _either(document: Any, *, by_row: str, by_column: str) -> Decoded:
    if isinstance(document, Undecodable):
        return document
    if not isinstance(document, dict):
        return Undecodable(Reason.NO_DECODER)
    if by_row in document:
        value = document[by_row]
        return rows.of_rows(value if isinstance(value, list) else [value])
    value = document.get(by_column)
    # A list of objects is another protocol's: Open Inference's tensors.
    if value is None or (isinstance(value, list) and value and isinstance(value[0], dict)):
        return Undecodable(Reason.NO_DECODER)
    return columns.of_columns(value)
