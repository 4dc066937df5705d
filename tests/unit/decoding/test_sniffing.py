"""Which decoder is chosen, and that a wrong guess is visible."""

import pytest

from onguard_sidecar.decoding.batch import Reason, Undecodable
from onguard_sidecar.decoding.formats import (
    MLFLOW,
    OPEN_INFERENCE_GRPC,
    OPEN_INFERENCE_V2,
    OPENAI,
    SELDON_V1,
    TF_SERVING,
    Format,
    choose,
    sniff,
)
from onguard_sidecar.decoding.heads import NONE, Head

V1 = b'{"instances": [[1]]}'
V2 = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}'
NO_DECODER = Undecodable(Reason.NO_DECODER)


def head(path: str, content_type: str = "application/json") -> Head:
    return NONE._replace(path=path, content_type=content_type)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/models/churn:predict", V1, TF_SERVING),
        ("/v1/models/churn/versions/3:predict", V1, TF_SERVING),
        ("/prefix/v1/models/churn:predict", V1, TF_SERVING),
        ("/v2/models/churn/infer", V2, OPEN_INFERENCE_V2),
        ("/v2/models/churn/versions/7/infer", V2, OPEN_INFERENCE_V2),
        ("/inference.GRPCInferenceService/ModelInfer", b"", OPEN_INFERENCE_GRPC),
        ("/inference.GRPCInferenceService/ModelStreamInfer", b"", OPEN_INFERENCE_GRPC),
        ("/api/v1.0/predictions", b"", SELDON_V1),
        ("/api/v0.1/predictions/", b"", SELDON_V1),
        ("/v1/chat/completions", b"", OPENAI),
        ("/v1/completions", b"", OPENAI),
        ("/predict", V1, TF_SERVING),
        ("/predict", V2, OPEN_INFERENCE_V2),
        ("/predict", b'{"inputs": [ { "name": "x" } ]}', OPEN_INFERENCE_V2),
        ("/predict", b'{"inputs": {"age": [1]}}', TF_SERVING),
        ("/predict", b'{"inputs": [[1, 2]]}', TF_SERVING),
        ("/predict", b'{"dataframe_split": {}}', MLFLOW),
        ("/predict", b'{"dataframe_records": []}', MLFLOW),
        ("/predict", b'{"model": "m", "messages": []}', OPENAI),
        ("/predict", b'{"prompt": ""}', OPENAI),
        ("/predict", b'{"data": {"ndarray": [[1]]}}', SELDON_V1),
        ("/predict", b'{"instances": [[NaN]]}', TF_SERVING),
        ("/predict", b'{"rows": 1}', NO_DECODER),
        ("/predict", b"[1, 2]", NO_DECODER),
        ("/predict", b"a=1", Undecodable(Reason.BAD_JSON)),
        ("/predict", b'\xff{"a": 1}', Undecodable(Reason.BAD_JSON)),
    ],
)
def test_the_path_decides_and_then_the_body(path: str, body: bytes, expected: object) -> None:
    assert sniff(head(path), body) == expected


def test_a_json_length_in_the_head_is_open_inference_with_binary_tensors() -> None:
    assert sniff(NONE._replace(path="/score", json_bytes=12), b"") is OPEN_INFERENCE_V2


@pytest.mark.parametrize(
    ("content_type", "body", "names", "rows"),
    [
        ("text/csv", b"5.1,3.5\n4.9,3.0\n", None, 2),
        ("text/csv", b"age,city\n31,Bern\n", ("age", "city"), 1),
        ("text/csv; header=absent", b"a,b\nc,d\n", None, 2),
        ("text/csv; header=present", b"1,2\n3,4\n", ("1", "2"), 1),
        ("application/jsonlines", b'{"features": [1]}\n{"features": [2]}', None, 2),
        ("application/json", b'{"dataframe_records": [{"age": 1}]}', ("age",), 1),
        ("application/json", V1, None, 1),
    ],
)
def test_invocations_are_mlflows_or_sagemakers(
    content_type: str, body: bytes, names: tuple[str, ...] | None, rows: int
) -> None:
    for path in ("/invocations", "/predict"):
        fmt = sniff(head(path, content_type), body)
        assert isinstance(fmt, Format)
        batch = fmt.decode_request(body, head(path, content_type))
        assert not isinstance(batch, Undecodable)
        assert (batch.names, batch.rows) == (names, rows)


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x", "application/grpc+proto"])
def test_what_is_surely_no_json_has_no_decoder(content_type: str) -> None:
    assert sniff(head("/v1/models/m:predict", content_type), V1) == NO_DECODER


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_a_lax_content_type_does_not_hide_json(content_type: str) -> None:
    assert sniff(head("/v1/models/m:predict", content_type), V1) is TF_SERVING


def test_a_configured_protocol_overrules_the_path() -> None:
    fmt = choose("open-inference-v2", head=head("/v1/models/m:predict"), body=V1)
    assert fmt is OPEN_INFERENCE_V2
    assert isinstance(fmt, Format)
    assert fmt.decode_request(V1, NONE) == NO_DECODER


def test_an_unknown_protocol_reads_nothing() -> None:
    assert choose("morse", head=head("/"), body=V1) == NO_DECODER
