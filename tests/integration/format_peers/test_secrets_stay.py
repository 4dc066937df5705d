"""
Secrets in every place of a request and its answer, through the real wire and the real analyst, in every format.

Nothing of them may be in metrics, counts, logs or the ledger's file, nor may a crash write them down.
"""

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from onguard import contract
from onguard.profile import Profile
from onguard.spec import MappedField, PayloadMapping, Redact, Redaction
from onguard_sidecar.decoding.grpc_messages import framed
from onguard_sidecar.decoding.inference_messages import REQUEST, STREAM_RESPONSE
from tests.integration.format_peers.conftest import Guarded, guarded
from tests.integration.wire.peers import Model, eventually, play
from tests.unit.analyst.http2_peers import CLIENT, INFER, SERVER, STREAM, Talk
from tests.unit.analyst.references import categorical, numeric, profile

SECRET = "alice.4111@example.com"
HASHED = "Obergummenthal"
"""A category of the reference itself, which the redaction rule hides."""
REFERENCE = profile(
    numeric("age"),
    categorical("city", (HASHED, "b")),
    categorical("email", ("shown@example.com", "c")),
    numeric("note"),
)
REDACT = (Redact(field="city", how=Redaction.HASH), Redact(field="email"))
ROW = {"age": SECRET, "city": SECRET, "email": SECRET, "note": {SECRET: [SECRET]}, SECRET: SECRET}
ANSWER = json.dumps({"predictions": [SECRET], "choices": [{"text": SECRET, "finish_reason": SECRET}], SECRET: SECRET})


def binary() -> tuple[bytes, int]:
    text = SECRET.encode()
    tensor = {
        "name": SECRET,
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": 4 + len(text), SECRET: SECRET},
    }
    header = json.dumps({"id": SECRET, "inputs": [tensor]}).encode()
    return header + struct.pack("<I", len(text)) + text, len(header)


def bodies() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    def as_json(value: object) -> bytes:
        return json.dumps(value).encode()

    yield "/v1/models/churn:predict", as_json({"instances": [ROW]}), {}
    yield f"/v1/models/{SECRET}:predict", as_json({"instances": [ROW, ROW]}), {}
    yield "/v1/models/churn:predict", as_json({"instances": [ROW, SECRET]}), {}
    yield "/v1/models/churn:predict", as_json({"instances": [ROW]})[:-5], {}
    yield "/v1/models/churn:predict", SECRET.encode(), {}
    yield "/v1/models/churn:predict", gzip.compress(as_json({"instances": [ROW]})), {"Content-Encoding": "gzip"}
    yield "/v1/models/churn:predict", as_json({"instances": [ROW]}), {"Content-Encoding": SECRET}
    yield "/v1/models/churn:predict", as_json({"inputs": {SECRET: [SECRET], "city": [SECRET]}}), {}
    yield "/v2/models/churn/infer", binary()[0], {"Inference-Header-Content-Length": str(binary()[1])}
    yield "/v2/models/churn/infer", binary()[0], {"Inference-Header-Content-Length": SECRET}
    yield "/api/v1.0/predictions", as_json({"data": {"names": [SECRET], "ndarray": [[SECRET]]}}), {}
    yield "/invocations", as_json({"dataframe_records": [ROW]}), {}
    yield "/invocations", f"{SECRET},city\n{SECRET},{SECRET}\n".encode(), {"Content-Type": "text/csv"}
    yield "/invocations", as_json(ROW), {"Content-Type": "application/jsonlines"}
    yield "/v1/chat/completions", as_json({"model": SECRET, "messages": [{"role": SECRET, "content": SECRET}]}), {}
    yield "/v1/completions", as_json({"prompt": SECRET, "response_format": {"type": SECRET}}), {}


@contextlib.contextmanager
def model(port: int) -> Iterator[None]:
    """Answers every request with secrets, in its status line as well."""
    server = socket.create_server(("127.0.0.1", port))
    head = f"HTTP/1.1 200 {SECRET}\r\nX-Answer: {SECRET}\r\nContent-Length: {len(ANSWER)}\r\nConnection: close\r\n\r\n"

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                with peer, contextlib.suppress(OSError):
                    peer.settimeout(5)
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += peer.recv(65536)
                    before, _, body = data.partition(b"\r\n\r\n")
                    wanted = int(before.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    while len(body) < wanted:
                        body += peer.recv(65536)
                    peer.sendall(head.encode() + ANSWER.encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def post(running: Guarded, path: str, body: bytes, fields: dict[str, str]) -> None:
    client = http.client.HTTPConnection("127.0.0.1", running.wire.port, timeout=10)
    told = {"Authorization": f"Bearer {SECRET}", "Cookie": SECRET, "X-Alice.4111": SECRET, **fields}
    client.request("POST", f"{path}?token={SECRET}", body, told)
    assert SECRET in client.getresponse().read().decode()
    client.close()


def post_all(running: Guarded) -> int:
    """Requests that are accounted for; one more has a name of a field that no framer takes, and passes as bytes."""
    sent = 0
    for path, body, fields in bodies():
        post(running, path, body, fields)
        sent += 1
    post(running, "/v1/models/churn:predict", b"{}", {f"X-{SECRET}": SECRET})
    return sent


def traces(running: Guarded, folder: Path) -> dict[str, bytes]:
    """Everything that anybody can read of it afterwards."""
    seen = {path: running.get(path) for path in ("/metrics", "/counts")}
    shared = [path for path in running.wire.shared.iterdir() if path.is_file()]
    assert contract.FILE_LEDGER in {path.name for path in shared}
    for path in (*shared, running.log, running.wire.log, *folder.glob("core*"), *Path.cwd().glob("core*")):
        if path.is_file():
            seen[str(path)] = path.read_bytes()
    return seen


@pytest.mark.parametrize(
    ("reference", "config"),
    [
        (REFERENCE, {"redact": REDACT, "feature_bins": True}),
        (None, {}),
        (REFERENCE, {"redact": REDACT, "mapping": PayloadMapping(inputs=(MappedField(name="age", path="$..age"),))}),
    ],
    ids=["bins and redaction", "without a reference", "mapped"],
)
def test_no_secret_is_left_anywhere(reference: Profile | None, config: dict[str, object], tmp_path: Path) -> None:
    with guarded(tmp_path, reference, **config) as running, model(running.wire.model_port):
        sent = post_all(running)
        outcomes = running.accounted(sent)
        assert outcomes.get("undecodable_internal", 0) == 0
        assert sum(outcomes.values()) == sent
        assert len(outcomes) > 3
        seen = traces(running, tmp_path)
    words = [b"alice", b"4111", b"example.com", HASHED.encode()]
    assert [(word, place) for place, text in seen.items() for word in words if word in text] == []


def test_a_crash_of_either_writes_no_memory_down(tmp_path: Path) -> None:
    with guarded(tmp_path, REFERENCE) as running, model(running.wire.model_port):
        post_all(running)
        for process in (running.analyst, running.wire.process):
            os.kill(process.pid, signal.SIGABRT)
            _, status = os.waitpid(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert os.WTERMSIG(status) == signal.SIGABRT
            assert not os.WCOREDUMP(status)


def test_no_secret_of_a_call_over_http_2_is_left_anywhere(tmp_path: Path) -> None:
    """In names and texts of tensors, paths, header fields and trailers, of calls that are read and that are not."""
    message = REQUEST(model_name=SECRET, id=SECRET)
    for name in (SECRET, "city"):
        message.inputs.add(name=name, datatype="BYTES", shape=[1]).contents.bytes_contents.append(SECRET.encode())
    talk, answered = Talk(), STREAM_RESPONSE(error_message=SECRET).SerializeToString()
    for stream, path in ((1, INFER), (3, STREAM), (5, f"/{SECRET}")):
        talk.ask(stream, framed(message.SerializeToString()), path, ("authorization", SECRET), ("x-" + SECRET, SECRET))
        talk.begin_answer(stream, ("x-answer", SECRET)).data(SERVER, stream, framed(answered))
        talk.head(SERVER, stream, ("grpc-status", "13"), ("grpc-message", SECRET), ends=True)
    talk.ask(7, framed(SECRET.encode())).reply(7, SECRET.encode()).raw(CLIENT, SECRET.encode() * 99)
    asked, said = (b"".join(data for s, data in talk.said if s == side) for side in (CLIENT, SERVER))
    with guarded(tmp_path, REFERENCE, redact=REDACT, feature_bins=True) as running:
        steps = [("count", len(asked)), ("send", said), ("rest", 0)]
        with Model(running.wire.model_port, steps), running.wire.connect() as peer:
            play(peer, [("send", asked), ("count", len(said))])
        report = eventually(lambda: running.counts() if running.counts().ledger["requests"] >= 3 else None)
        assert report.ledger["undecodable_internal"] == 0
        seen = traces(running, tmp_path)
    assert contract.FILE_LEDGER_HTTP2 in {Path(place).name for place in seen}
    words = [b"alice", b"4111", b"example.com", HASHED.encode()]
    assert [(word, place) for place, text in seen.items() for word in words if word in text] == []
