"""The analyst as a process: start, death, stop."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest

from onguard import contract
from onguard_sidecar import handover
from onguard_sidecar.analyst import service
from onguard_sidecar.analyst.settings import Settings
from tests.integration.analyst.conftest import GOOD, TOKEN, FakeWire, exchange, running

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@contextlib.asynccontextmanager
async def process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    env = {
        contract.ENV_MODEL: "churn",
        contract.ENV_REVISION: "5f6d",
        contract.ENV_SHARED_DIR: str(settings.shared_dir),
        contract.ENV_CONFIG_DIR: str(settings.shared_dir),
        contract.ENV_PROFILE_PATH: str(settings.profile_path),
        contract.ENV_LISTEN_HOST: "127.0.0.1",
        contract.ENV_ADMIN_PORT: str(settings.admin_port),
    }
    settings.socket_path.unlink(missing_ok=True)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "onguard_sidecar.analyst", env={**os.environ, **env}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(20):
            while not settings.socket_path.exists():
                assert child.returncode is None
                await asyncio.sleep(0.02)
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def test_it_starts_serves_and_ends_on_sigterm_once_the_last_counts_are_read(
    settings: Settings, wire: FakeWire
) -> None:
    async with process(settings) as child:
        wire.connect()
        await wire.send(*(exchange(GOOD % i) for i in range(10)))
        await wire.accounted(10)
        child.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert child.returncode is None
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{settings.admin_port}/counts", headers=BEARER) as response,
        ):
            assert response.status == 200
        assert await asyncio.wait_for(child.wait(), 5) == 0


async def test_a_killed_analyst_is_followed_by_one_that_goes_on_with_the_account(
    settings: Settings, wire: FakeWire
) -> None:
    async with process(settings) as child:
        wire.connect()
        await wire.send(exchange(GOOD % 1))
        await wire.accounted(1)
        child.kill()
        await child.wait()
    wire.close()
    async with process(settings):
        wire.connect()
        await wire.send(exchange(GOOD % 2))
        counters = await wire.accounted(2)
    assert counters["analysed"] == 2


async def test_it_stops_at_once_when_nothing_is_unread(settings: Settings, wire: FakeWire) -> None:
    async with running(settings) as stop:
        start = time.monotonic()
        stop.set()
    assert time.monotonic() - start < 2


async def test_it_stops_at_the_deadline_when_nobody_reads(
    settings: Settings, wire: FakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "DRAIN_S", 0.5)
    async with running(settings) as stop:
        wire.connect()
        await wire.send(exchange(GOOD % 1))
        await wire.accounted(1)
        start = time.monotonic()
        stop.set()
    assert 0.4 < time.monotonic() - start < 3


async def test_what_arrived_before_the_stop_is_accounted_for(
    settings: Settings, wire: FakeWire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "DRAIN_S", 0.0)
    async with running(settings) as stop:
        wire.connect()
        exchanges = [exchange(GOOD % i) for i in range(100)]
        for start in range(0, 100, 50):
            wire.send_datagram(handover.batch(exchanges[start : start + 50]))
        stop.set()
    assert wire.ledger.accounted() == 100
