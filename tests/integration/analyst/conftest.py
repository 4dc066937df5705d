"""A running analyst on loopback, and a wire that is only its half of the hand-over."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from onguard.profile import encode_profile
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar import handover
from onguard_sidecar.analyst import service
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.ledger import Ledger, layout_of
from tests.unit.analyst.references import CHURN

TOKEN = "a-token-of-this-model"
GOOD = b'{"instances": [{"age": %d, "spend": 5, "city": "b"}]}'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(**changes: object) -> bytes:
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    return msgspec.json.encode(SidecarConfig(model="churn", counts_token_sha256=digest, **changes))  # type: ignore[arg-type]


def exchange(body: bytes, answer: bytes = b'{"predictions": [5]}') -> Exchange:
    head = b"POST /v1/models/churn:predict HTTP/1.1\r\nHost: a\r\n\r\n"
    return Exchange(1, 0, 0, 1, 2, 200, 0, 0, 1, head, body, b"HTTP/1.1 200 OK\r\n\r\n", answer)


class FakeWire:
    """Owns the ledger, connects, sends batches, as the wire does."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.ledger = Ledger.open_wire(settings.ledger_path, layout_of("", (0.25,)), 7)
        self._socket: socket.socket | None = None
        self._messages = 0

    def connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(self._settings.socket_path))

    def send_datagram(self, datagram: bytes) -> None:
        assert self._socket is not None
        self._socket.settimeout(5)
        self._socket.send(datagram)

    async def send(self, *exchanges: Exchange) -> None:
        small = [e for e in exchanges if handover.size_in_batch(e) < handover.DATAGRAM_MAX // 50]
        for large in (e for e in exchanges if e not in small):
            self._messages += 1
            for fragment in handover.fragments(handover.encode(large), self._messages):
                await asyncio.to_thread(self.send_datagram, fragment)
        for start in range(0, len(small), 50):
            await asyncio.to_thread(self.send_datagram, handover.batch(small[start : start + 50]))
        self.ledger.add_all({"requests": len(exchanges), "inference": len(exchanges), "handed_over": len(exchanges)})

    def restart(self) -> None:
        self.close()
        self.ledger = Ledger.open_wire(self._settings.ledger_path, layout_of("", ()), 8)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def accounted(self, expected: int) -> dict[str, int]:
        """Counters, once the analyst has accounted for so many exchanges."""
        async with asyncio.timeout(10):
            while self.ledger.accounted() < expected:  # noqa: ASYNC110  # another process may be what we wait for
                await asyncio.sleep(0.005)
        return self.ledger.snapshot().counters


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "sidecar.json").write_bytes(config())
    (tmp_path / "profile.json").write_bytes(encode_profile(CHURN))
    return Settings(
        model="churn",
        revision="5f6d",
        shared_dir=tmp_path,
        config_path=tmp_path / "sidecar.json",
        profile_path=tmp_path / "profile.json",
        host="127.0.0.1",
        admin_port=free_port(),
    )


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """The analyst, until the end of the block or until its event is set."""
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(settings, stop))
    async with asyncio.timeout(10):
        while not settings.socket_path.exists():
            assert not task.done(), task
            await asyncio.sleep(0.005)
    try:
        yield stop
    finally:
        stop.set()
        await asyncio.wait_for(task, 30)


@pytest.fixture
async def analyst(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Base URL of a running analyst that polls its files often."""
    monkeypatch.setattr(service, "POLL_S", 0.05)
    monkeypatch.setattr(service, "DRAIN_S", 0.0)
    async with running(settings):
        yield f"http://127.0.0.1:{settings.admin_port}"


@pytest.fixture
def wire(settings: Settings) -> Iterator[FakeWire]:
    made = FakeWire(settings)
    yield made
    made.close()
    made.ledger.close()
