"""/metrics, /healthz and /readyz of the operator, on a port of their own beside kopf's loop."""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

STALE_S: Final = 300.0
"""An operator that finished no pass for so long hangs and is restarted. A pass that had nothing to do counts."""


class Pulse:
    """When the last visit or sweep finished, by a monotonic clock."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last = monotonic()

    def beat(self) -> None:
        """Note that something finished."""
        self._last = self._monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the last beat."""
        return self._monotonic() - self._last


def make_app(registry: CollectorRegistry, pulse: Pulse, *, is_leading: Callable[[], bool]) -> web.Application:
    """Build the web application."""

    async def healthz(_: web.Request) -> web.Response:
        age = pulse.age_s
        return web.Response(status=200 if age < STALE_S else 503, text=f"last evaluation {age:.0f} s ago\n")

    async def readyz(_: web.Request) -> web.Response:
        leading = is_leading()
        return web.Response(status=200 if leading else 503, text="leading\n" if leading else "waiting for the Lease\n")

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", make_aiohttp_handler(registry))
    return app


async def serve(app: web.Application, port: int, stop: asyncio.Event, *, host: str | None = None) -> None:
    """Serve until ``stop``."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await stop.wait()
    finally:
        await runner.cleanup()
