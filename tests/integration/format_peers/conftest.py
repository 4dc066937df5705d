"""Wire and analyst as processes between other people's clients and servers."""

import contextlib
import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from onguard import contract
from onguard.counts import Report, decode_report
from onguard.profile import Profile, encode_profile
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.wire.outbox import RETRY_S
from tests import peer_venv
from tests.integration.wire.peers import Wire, eventually, finish, free_ports, start_wire

TOKEN = "a-token-of-this-model"
START_S = 60.0
ANALYST = [sys.executable, "-m", "onguard_sidecar.analyst", "serve"]


def pytest_collection_finish() -> None:
    """Not in a fixture: a fresh machine needs longer for it than a test may take."""
    peer_venv.python_of("formats")
    peer_venv.python_of("mlserver")
    peer_venv.python_of("peers")


@dataclass
class Guarded:
    """A wire with its analyst; the model is whoever listens on ``wire.model_port``."""

    wire: Wire
    admin_port: int
    log: Path
    env: dict[str, str]
    analyst: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.wire.port}"

    def get(self, path: str) -> bytes:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin_port}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=5) as response:
            return bytes(response.read())

    def restart_analyst(self) -> None:
        """Kill it, and be the keeper that starts it again."""
        self.analyst.kill()
        self.analyst.wait()
        with self.log.open("ab") as output:
            self.analyst = subprocess.Popen(ANALYST, env=self.env, stdout=output, stderr=output)
        eventually(lambda: connected(self))

    def counts(self) -> Report:
        return decode_report(self.get("/counts"))

    def accounted(self, requests: int) -> dict[str, int]:
        """What became of the exchanges, once so many are accounted for; zeros left out."""

        def reached() -> dict[str, int] | None:
            snapshot = self.wire.snapshot()
            names = [n for n in snapshot.counters if n in ("analysed", "duplicate") or n.startswith("undecodable_")]
            found = {name: snapshot.counters[name] for name in names if snapshot.counters[name]}
            return found if sum(found.values()) >= requests else None

        return dict(eventually(reached))


@contextlib.contextmanager
def guarded(folder: Path, profile: Profile | None, **config: object) -> Iterator[Guarded]:
    """Start both; end both, and find no complaint of theirs."""
    wire = start_wire(folder)
    (admin_port,) = free_ports(1)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    told = SidecarConfig(model="churn", counts_token_sha256=digest, **config)  # type: ignore[arg-type]
    (wire.config / contract.KEY_SIDECAR_JSON).write_bytes(msgspec.json.encode(told))
    if profile:
        (folder / "profile.json").write_bytes(encode_profile(profile))
    environment = {
        **wire.env,
        contract.ENV_ADMIN_PORT: str(admin_port),
        contract.ENV_PROFILE_PATH: str(folder / "profile.json"),
        contract.ENV_MODEL: "churn",
    }
    log = folder / "analyst.log"
    with log.open("wb") as output:
        analyst = subprocess.Popen(ANALYST, env=environment, stdout=output, stderr=output)
    running = Guarded(wire, admin_port, log, environment, analyst)
    try:
        eventually((wire.shared / contract.FILE_HANDOVER_SOCKET).exists)
        eventually(lambda: connected(running))
        yield running
    finally:
        if running.analyst.poll() is None:
            running.analyst.kill()
            running.analyst.wait()
        finish(wire)
    assert "Traceback" not in log.read_text(), log.read_text()


def connected(running: Guarded) -> bool:
    """The analyst answers, and the wire has found it: it looks again after pauses."""
    with contextlib.suppress(OSError):
        running.counts()
        time.sleep(RETRY_S[1])
        return True
    return False


@contextlib.contextmanager
def served(command: Sequence[str], url: str, folder: Path) -> Iterator[None]:
    """A model server of others, until it answers ``url``."""
    log = folder / "server.log"
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": ""}
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=folder, env=quiet, stdout=output, stderr=output)

    def answers() -> bool:
        assert server.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
        return False

    try:
        eventually(answers, START_S)
        yield
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def peers() -> str:
    """Interpreter of the clients."""
    return str(peer_venv.python_of("formats"))


@pytest.fixture(scope="session")
def mlserver() -> str:
    """The server's program."""
    return str(peer_venv.python_of("mlserver").parent / "mlserver")
