"""What the wire is told is read whole, with every fault named; a bad file changes nothing."""

import pytest

from onguard import contract, sidecar_config
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.wire.config import ConfigError, WireConfig, parse_config, settings_of
from onguard_sidecar.wire.matching import Matcher


def test_the_wire_reads_what_the_operator_renders() -> None:
    told = SidecarConfig(
        model="m", match_paths=("/score", "/v*/x"), ignore_paths=("/score/ping",), sample=0.25,
        latency_bounds_s=(0.25, 1.0), error_statuses=(429, 499),
    )  # fmt: skip
    expected = WireConfig(
        told.match_paths, told.ignore_paths, 0.25, told.latency_bounds_s, told.error_statuses, told.objectives_hash
    )
    assert parse_config(sidecar_config.render(told)[contract.KEY_WIRE_CONF]) == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "expected 1, got nothing - at `version`"),
        ("version=2", "expected 1, got 2 - at `version`"),
        ("version=1\nnonsense", "expected key=value - at line 2"),
        ("version=1\nsample=x", "expected float, got 'x' - at `sample`"),
        ("version=1\nsample=1.5", "at `sample`"),
        ("version=1\nsample=nan", "at `sample`"),
        ("version=1\nlatency_bounds_s=0.1,-1", "at `latency_bounds_s`"),
        ("version=1\nlatency_bounds_s=1,2,3,4,5", "expected at most 4 bounds, got 5"),
        ("version=1\nerror_statuses=42", "at `error_statuses`"),
        ("version=1\nmatch_paths=score", "at `match_paths`"),
        ("version=1\nobjectives_hash=xyz", "at `objectives_hash`"),
    ],
)
def test_a_bad_file_is_refused_with_its_fault(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(text)
    assert fault in str(error.value)


def test_keys_of_a_newer_operator_are_ignored() -> None:
    assert parse_config("version=1\nsomething_new=3\n") == WireConfig()


def test_every_fault_of_the_environment_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        settings_of({contract.ENV_UPSTREAM_PORT: "0", contract.ENV_GRACE_PERIOD: "soon"})
    assert contract.ENV_UPSTREAM_PORT in str(error.value)
    assert contract.ENV_GRACE_PERIOD in str(error.value)


def test_the_upstream_port_is_all_that_must_be_set() -> None:
    settings = settings_of({contract.ENV_UPSTREAM_PORT: "8080"})
    assert (settings.upstream_port, settings.wire_port, settings.grace_s) == (8080, contract.PORT_WIRE, 30)


INFERENCE = [
    "/v1/models/churn:predict", "/v1/models/churn/versions/3:classify", "/v1/models/churn:regress",
    "/v1/models/c:explain",
    "/v2/models/churn/infer", "/v2/models/churn/versions/2/infer", "/v2/models/m/generate",
    "/v2/models/m/generate_stream",
    "/invocations", "/api/v0.1/predictions", "/api/v1.0/predictions", "/seldon/ns/name/api/v1.0/predictions",
    "/v1/completions", "/v1/chat/completions", "/openai/v1/chat/completions", "/v1/models/churn:predict?x=1",
    "http://host/v2/models/churn/infer", "/inference.GRPCInferenceService/ModelInfer",
    "/inference.GRPCInferenceService/ModelStreamInfer",
]  # fmt: skip
OTHER = [
    "/", "/healthz", "/metrics", "/v1/models/churn", "/v2/models/churn/ready", "/v2/health/live", "/v2", "*", "/ping",
    "/v1/models?x=:predict", "/v2/repository/index", "/infer/x", "http://host", "/favicon.ico",
    "/v1/models/churn:predictx", "/inference.GRPCInferenceService/ServerLive", "/grpc.health.v1.Health/Check",
]  # fmt: skip


@pytest.mark.parametrize("target", INFERENCE)
def test_known_protocols_are_inference_when_posted(target: str) -> None:
    matcher = Matcher((), ())
    assert matcher.is_inference(b"POST", target.encode())
    assert not any(matcher.is_inference(method, target.encode()) for method in (b"GET", b"HEAD", b"OPTIONS"))


@pytest.mark.parametrize("target", OTHER)
def test_probes_and_scrapes_are_not(target: str) -> None:
    assert not Matcher((), ()).is_inference(b"POST", target.encode())


@pytest.mark.parametrize(
    ("match", "ignore", "method", "target", "expected"),
    [
        ("/score", "", b"POST", b"/score", True),
        ("/score", "", b"GET", b"/score/7?x", True),
        ("/score", "", b"HEAD", b"/score", False),
        ("/score", "", b"POST", b"/v1/models/m:predict", False),
        ("/a/*/score", "", b"POST", b"/a/b/score", True),
        ("/a/*/score", "", b"POST", b"/a/b/score/c", False),
        ("/score", "/score/ping", b"POST", b"/score/ping", False),
        ("", "/v1/models/canary", b"POST", b"/v1/models/canary:predict", False),
        ("/a.b", "", b"POST", b"/aXb", False),
    ],
)
def test_configured_paths_are_prefixes_or_globs(
    match: str, ignore: str, method: bytes, target: bytes, expected: bool
) -> None:
    matcher = Matcher((match,) if match else (), (ignore,) if ignore else ())
    assert matcher.is_inference(method, target) is expected
