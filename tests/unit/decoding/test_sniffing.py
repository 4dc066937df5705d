"""Which decoder is chosen, and that a wrong guess is visible."""

import pytest

from onguard_sidecar.decoding.batch import Reason, Undecodable
from onguard_sidecar.decoding.formats import KSERVE_V1, OPEN_INFERENCE_V2, choose, sniff

V1 = b'{"instances": [[1]]}'
V2 = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}'


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/models/churn:predict", V1, KSERVE_V1),
        ("/v1/models/churn/versions/3:predict", V1, KSERVE_V1),
        ("/prefix/v1/models/churn:predict", V1, KSERVE_V1),
        ("/v2/models/churn/infer", V2, OPEN_INFERENCE_V2),
        ("/v2/models/churn/versions/7/infer", V2, OPEN_INFERENCE_V2),
        ("/predict", V1, KSERVE_V1),
        ("/predict", V2, OPEN_INFERENCE_V2),
        ("/predict", b'{"instances": [[NaN]]}', KSERVE_V1),
        ("/predict", b'{"rows": 1}', Undecodable(Reason.NO_DECODER)),
        ("/predict", b"[1, 2]", Undecodable(Reason.NO_DECODER)),
        ("/predict", b"a=1", Undecodable(Reason.BAD_JSON)),
        ("/predict", b'\xff{"a": 1}', Undecodable(Reason.BAD_JSON)),
    ],
)
def test_the_path_decides_and_then_the_body(path: str, body: bytes, expected: object) -> None:
    assert sniff(path, "application/json", body) == expected


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x", "application/grpc+proto"])
def test_what_is_surely_no_json_has_no_decoder(content_type: str) -> None:
    assert sniff("/v1/models/m:predict", content_type, V1) == Undecodable(Reason.NO_DECODER)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_a_lax_content_type_does_not_hide_json(content_type: str) -> None:
    assert sniff("/v1/models/m:predict", content_type, V1) is KSERVE_V1


def test_a_configured_protocol_overrules_the_path() -> None:
    fmt = choose("open-inference-v2", path="/v1/models/m:predict", content_type="", body=V1)
    assert fmt is OPEN_INFERENCE_V2
    assert fmt.decode_request(V1) == Undecodable(Reason.NO_DECODER)


def test_an_unknown_protocol_reads_nothing() -> None:
    assert choose("morse", path="/", content_type="", body=V1) == Undecodable(Reason.NO_DECODER)
