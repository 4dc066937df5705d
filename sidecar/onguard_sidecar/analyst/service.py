"""Puts the analyst together and keeps it going until it is told to stop."""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from typing import Final

from aiohttp import web

from onguard_sidecar.analyst.admin import Admin
from onguard_sidecar.analyst.books import Books
from onguard_sidecar.analyst.intake import Intake, listen
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.analyst.state import POLL_S, State
from onguard_sidecar.analyst.usage import Usage

log: Final = logging.getLogger(__name__)

DRAIN_S: Final = 16.0
"""A stopping pod shows its last counts for one scrape interval, so that the operator may read the tail."""
_DRAIN_POLL_S: Final = 0.2
_GC_THRESHOLD: Final = 50_000
"""Decoding makes and drops thousands of lists a second, none of them in cycles."""


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set and the last counts are read, or a scrape interval is over."""
    state, books = State(settings), Books(settings.ledger_path)
    intake = Intake(state, books, time.monotonic)
    usage = Usage(shared=settings.proc_shared, clock=time.monotonic)
    admin = Admin(state, books, intake, usage, time.monotonic)
    state.poll()
    runner = web.AppRunner(admin.application(), access_log=None, keepalive_timeout=30)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.admin_port).start()
        intake.start(listen(settings.socket_path))
        log.info("listening")
        await _watch(state, stop)
        await _drain(state, admin)
    finally:
        intake.stop()
        await runner.cleanup()
        books.close()


async def _watch(state: State, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_S)
        state.poll()
        counts = state.analysis.counts()
        if counts is not None:
            state.window.note(counts, now=time.monotonic())


async def _drain(state: State, admin: Admin) -> None:
    """Wait until the operator has read what was counted last; without an operator's token nobody will."""
    deadline = time.monotonic() + DRAIN_S
    while state.config is not None and time.monotonic() < deadline:
        snapshot = admin.snapshot()
        if snapshot is None or snapshot.counters["requests"] <= admin.requests_read:
            return
        await asyncio.sleep(_DRAIN_POLL_S)


async def main(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(settings, stop)
