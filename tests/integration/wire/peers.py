"""A real wire in a process of its own, and two ends of a conversation that are scripted byte by byte."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onguard import contract, sidecar_config
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.ledger import Ledger, Snapshot

DEADLINE_S = 20.0
PROGRAM = [sys.executable, "-m", "onguard_sidecar.wire"]
RESET = struct.pack("ii", 1, 0)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [peer.getsockname()[1] for peer in taken]
    for peer in taken:
        peer.close()
    return ports


def eventually(check: Callable[[], Any], deadline_s: float = DEADLINE_S) -> Any:
    """The first true value of ``check``."""
    end = time.monotonic() + deadline_s
    while not (value := check()):
        assert time.monotonic() < end, "expected it to become true in time"
        time.sleep(0.02)
    return value


@dataclass
class End:
    """What one end of a conversation saw: bytes, then eof, reset or silence."""

    got: bytearray = field(default_factory=bytearray)
    end: str = "open"


Steps = list[tuple[str, Any]]
"""send BYTES, until BYTES (read till they come), count N (read till N in all), rest (read to the end), shut, reset,
close, wait SECONDS."""


def play(peer: socket.socket, steps: Steps) -> End:
    """Follow a script on a connected socket."""
    peer.settimeout(DEADLINE_S)
    seen = End()
    try:
        for step, value in steps:
            _STEPS[step](peer, value, seen)
    except (ConnectionResetError, BrokenPipeError):
        seen.end = "reset"
    except TimeoutError:
        seen.end = "timeout"
    return seen


def _read(peer: socket.socket, seen: End, enough: Callable[[], bool]) -> None:
    while seen.end == "open" and not enough():
        if piece := peer.recv(65536):
            seen.got += piece
        else:
            seen.end = "eof"


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    peer.close()


_STEPS: dict[str, Callable[[socket.socket, Any, End], Any]] = {
    "send": lambda peer, value, seen: peer.sendall(value),
    "until": lambda peer, value, seen: _read(peer, seen, lambda: value in seen.got),
    "count": lambda peer, value, seen: _read(peer, seen, lambda: len(seen.got) >= value),
    "rest": lambda peer, value, seen: _read(peer, seen, lambda: False),
    "shut": lambda peer, value, seen: peer.shutdown(socket.SHUT_WR),
    "reset": lambda peer, value, seen: _reset(peer),
    "close": lambda peer, value, seen: peer.close(),
    "wait": lambda peer, value, seen: time.sleep(value),
}


@dataclass
class Wire:
    """A running wire, its model's address, and its ledger."""

    process: subprocess.Popen[bytes]
    port: int
    health_port: int
    model_port: int
    shared: Path
    config: Path
    log: Path
    env: dict[str, str]
    _ledger: Ledger | None = None

    def snapshot(self) -> Snapshot:
        """Counters of now."""
        if self._ledger is None or self._ledger.superseded:
            self._ledger = Ledger.open_reader(self.shared / contract.FILE_LEDGER)
        return self._ledger.snapshot()

    def settled(self, **expected: int) -> dict[str, int]:
        """Counters as soon as they have these values."""

        def reached() -> dict[str, int] | None:
            counters = self.snapshot().counters
            return counters if all(counters[name] == value for name, value in expected.items()) else None

        return dict(eventually(reached))

    def drain(self) -> "subprocess.Popen[bytes]":
        """What the kubelet runs as preStop."""
        return subprocess.Popen([*PROGRAM, "drain"], env=self.env, stderr=subprocess.DEVNULL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def connect(self, port: int | None = None) -> socket.socket:
        """A client's connection."""
        return socket.create_connection(("127.0.0.1", port or self.port), DEADLINE_S)


def account(counters: dict[str, int]) -> int:
    """Requests by where they ended: equal to ``requests`` at every moment."""
    dropped = [name for name in counters if name.startswith("dropped_") and name != "dropped_analyst_died"]
    plain = ("not_inference", "stale", "sampled_out", "truncated", "outbox", "handed_over")
    return sum(counters[name] for name in (*plain, *dropped))


def start_wire(
    where: Path,
    *,
    pod_ip: str = "127.0.0.1",
    listen_host: str = "127.0.0.1",
    grace_s: int = 15,
    env: Mapping[str, str] | None = None,
    program: Sequence[str] = PROGRAM,
) -> Wire:
    """A wire on free ports."""
    port, health_port, model_port = free_ports(3)
    shared, conf = where / "shared", where / "config"
    shared.mkdir(exist_ok=True)
    conf.mkdir(exist_ok=True)
    told = SidecarConfig(model="m", latency_bounds_s=(0.25,))
    (conf / contract.KEY_WIRE_CONF).write_text(sidecar_config.render(told)[contract.KEY_WIRE_CONF])
    env = {
        **os.environ,
        **(env or {}),
        contract.ENV_UPSTREAM_PORT: str(model_port),
        contract.ENV_POD_IP: pod_ip,
        contract.ENV_LISTEN_HOST: listen_host,
        contract.ENV_WIRE_PORT: str(port),
        contract.ENV_HEALTH_PORT: str(health_port),
        contract.ENV_SHARED_DIR: str(shared),
        contract.ENV_CONFIG_DIR: str(conf),
        contract.ENV_GRACE_PERIOD: str(grace_s),
    }
    log = where / "wire.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(program, env=env, stderr=stderr)
    wire = Wire(process, port, health_port, model_port, shared, conf, log, env)
    eventually(lambda: "event=listening" in log.read_text() or process.poll() is not None)
    assert process.poll() is None, log.read_text()
    return wire


def finish(running: Wire) -> None:
    """End the process, whatever state it is in; it never died or complained by itself."""
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


class Model:
    """Accepts connections and plays one script on each, in a thread of its own."""

    def __init__(self, port: int, steps: Steps | Callable[[socket.socket], None]) -> None:
        self._server = socket.create_server(("127.0.0.1", port), backlog=512)
        self._steps = steps
        self._threads: list[threading.Thread] = []
        self.ends: list[End] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._accepting.join(DEADLINE_S)
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            if callable(self._steps):
                self._steps(peer)
            else:
                self.ends.append(play(peer, self._steps))


def echo_model(delay_s: float = 0.0) -> Callable[[socket.socket], None]:
    """Serves keep-alive POSTs with a Content-Length; the answer is the body."""

    def serve(peer: socket.socket) -> None:
        peer.settimeout(DEADLINE_S)
        buffer = b""
        try:
            while True:
                while b"\r\n\r\n" not in buffer:
                    if not (piece := peer.recv(65536)):
                        return
                    buffer += piece
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                while len(buffer) < length:
                    buffer += peer.recv(65536)
                body, buffer = buffer[:length], buffer[length:]
                time.sleep(delay_s)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body)
        except OSError:
            return

    return serve


_ANALYST = """
import socket, sys
from pathlib import Path
from onguard_sidecar.handover import Receiver
from onguard_sidecar.ledger import Ledger

listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
path = Path(sys.argv[1]) / "handover.sock"
path.unlink(missing_ok=True)
listener.bind(str(path))
listener.listen()
while True:
    peer, _ = listener.accept()
    ledger, receiver = Ledger.open_analyst(Path(sys.argv[1]) / "ledger", 7), Receiver()
    while datagram := peer.recv(65536):
        for exchange in receiver.feed(datagram):
            ledger.add("analysed")
    peer.close()
"""


def start_analyst(wire: Wire) -> "subprocess.Popen[bytes]":
    """A process that counts what it is handed as analysed; listening when this returns."""
    process = subprocess.Popen([sys.executable, "-c", _ANALYST, str(wire.shared)])
    eventually((wire.shared / contract.FILE_HANDOVER_SOCKET).exists)
    return process


def request(body: bytes) -> bytes:
    """An inference request of KServe v1."""
    return b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@dataclass
class Load:
    """Keep-alive clients that post until told to stop, opening a new connection when the last answer said close."""

    wire: Wire
    clients: int
    pause_s: float = 0.0
    body: bytes = b""
    answered: int = 0
    failed: list[str] = field(default_factory=list)

    def __enter__(self) -> "Load":
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)

    def _run(self, number: int) -> None:
        peer, count = self.wire.connect(), 0
        while not self._stopped.is_set():
            count += 1
            body = b"%d-%d" % (number, count) + self.body
            seen = play(peer, [("send", request(body)), ("until", b"\r\n\r\n" + body)])
            if not seen.got.endswith(body):
                self.failed.append(f"request {count} of client {number}: {seen}")
            else:
                self.answered += 1
            if b"connection: close" in seen.got.lower() or seen.end != "open":
                peer.close()
                peer = self.wire.connect()
            time.sleep(self.pause_s)
        peer.close()
