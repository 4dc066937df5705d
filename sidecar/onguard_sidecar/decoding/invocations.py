"""
``POST /invocations``: MLflow's scoring server and SageMaker's containers.

MLflow takes JSON with one of ``dataframe_split``, ``dataframe_records``, ``instances`` (rows) and ``inputs`` (columns),
or CSV with a header line, and answers ``{"predictions": ...}``. SageMaker takes CSV without a header, JSON lines or
JSON, as the content type says.
"""

from typing import Any, Final

from onguard_sidecar.decoding import columns, delimited, json_text, kserve_v1, rows
from onguard_sidecar.decoding.batch import Batch, Decoded, Reason, Undecodable
from onguard_sidecar.decoding.heads import Head

_CSV: Final = "text/csv"
_LINES: Final = ("application/jsonlines", "application/x-jsonlines", "application/jsonl", "application/x-ndjson")
DELIMITED: Final = (_CSV, *_LINES)
"""Content types of rows as lines."""


def decode_mlflow_request(body: bytes, head: Head) -> Decoded:
    """
    MLflow's inputs.

    >>> from onguard_sidecar.decoding.heads import NONE
    >>> decode_mlflow_request(b'{"dataframe_split": {"columns": ["a"], "data": [[1], [2]]}}', NONE).names
    ('a',)
    """
    if head.content_type.startswith(_CSV):
        return delimited.of_csv(body, header=True)
    fast = kserve_v1.numbers(body)
    return fast if fast is not None else _mlflow(json_text.loose(body))


def _mlflow(document: Any) -> Decoded:
    if isinstance(document, Undecodable):
        return document
    if not isinstance(document, dict):
        return Undecodable(Reason.NO_DECODER)
    if "dataframe_split" in document:
        return _split(document["dataframe_split"])
    for key in ("dataframe_records", "instances"):
        if isinstance(document.get(key), list):
            return rows.of_rows(document[key])
    value = document.get("instances", document.get("inputs"))
    return Undecodable(Reason.NO_DECODER) if value is None else columns.of_columns(value)


def _split(frame: Any) -> Decoded:
    if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):
        return Undecodable(Reason.NO_DECODER)
    batch = rows.of_rows(frame["data"])
    names = frame.get("columns")
    if isinstance(batch, Undecodable) or batch.names is not None or names is None:
        return batch
    if not isinstance(names, list) or len(names) != batch.width:
        return Undecodable(Reason.BAD_SHAPE)
    return Batch(batch.rows, tuple(map(str, names)), batch.values)


def decode_mlflow_response(body: bytes) -> Decoded:
    """MLflow's outputs: scalars, rows, records, or an object of columns."""
    answer = kserve_v1.decode_response(body)
    if isinstance(answer, Undecodable) or answer.rows > 1 or answer.names is None:
        return answer
    document = json_text.loose(body)
    value = document.get("predictions") if isinstance(document, dict) else None
    return columns.of_columns(value) if isinstance(value, dict) else answer


def decode_sagemaker_request(body: bytes, head: Head) -> Decoded:
    """SageMaker's inputs; ``header=present`` in the content type is RFC 4180's way to tell of a header line."""
    if head.content_type.startswith(_CSV):
        return delimited.of_csv(body, header="header=present" in head.content_type)
    if head.content_type.startswith(_LINES):
        return delimited.of_json_lines(body)
    return _mlflow(json_text.loose(body))


def decode_sagemaker_response(body: bytes, head: Head) -> Decoded:
    """SageMaker's outputs, as the content type says; of no helpful one, JSON."""
    if head.content_type.startswith(_CSV):
        return delimited.of_csv(body, header="header=present" in head.content_type)
    if head.content_type.startswith(_LINES):
        return delimited.of_json_lines(body)
    return decode_mlflow_response(body)


def decode_request(body: bytes, head: Head) -> Decoded:
    """Inputs of whichever of the two it is: CSV has a header line if no field in its first line is a number."""
    if head.content_type.startswith(_CSV) and "header=" not in head.content_type:
        return delimited.of_csv(body, header=None)
    return decode_sagemaker_request(body, head)
