"""Puts the gate together and serves it: webhook over TLS, alerts and metrics over HTTP."""

import asyncio
import contextlib
import dataclasses
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import aiohttp
from aiohttp import web

from onguard_operator.gate import admission, alerts, certificates
from onguard_operator.gate.api_server import ApiError, ApiServer, connector
from onguard_operator.gate.certificates import Certificate
from onguard_operator.gate.events import Clocks, Events
from onguard_operator.gate.gate_metrics import GateMetrics
from onguard_operator.gate.guards import Guards
from onguard_operator.gate.receiver import Receiver, ReceiverParts
from onguard_operator.gate.settings import GateSettings
from onguard_operator.gate.tokens import TokensFile
from onguard_operator.gate.webhook import Parts, SettingsSource, Webhook
from onguard_operator.sidecar_containers import Settings

VERSION_RETRY_S: Final = 2.0
VERSION_AGAIN_S: Final = 600.0
SHUTDOWN_S: Final = 5.0
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Addresses:
    """Ports that are being served."""

    webhook: int
    alerts: int
    metrics: int


@contextlib.asynccontextmanager
async def serving(settings: GateSettings, clocks: Clocks) -> AsyncIterator[Addresses]:
    """
    Serve until the context is left.

    Raises:
        OSError: if the certificate can't be read at the start, or a port is taken.
    """
    certificate = Certificate(settings.certificate_dir)
    certificate.load()
    metrics = GateMetrics(lambda: certificate.expires_at_s)
    source = SettingsSource()
    async with aiohttp.ClientSession(connector=connector(settings.account_dir)) as session:
        api = ApiServer(session, settings.api_server, settings.account_dir)
        guards = Guards(api.model_deployments, clocks.monotonic)
        events = Events(api, clocks, settings.pod_name)
        receiver = Receiver(ReceiverParts(api, guards, TokensFile(settings.tokens_file), metrics, clocks.now))
        apps = (
            _app("/mutate", Webhook(Parts(guards, source, metrics, events)).handle, admission.MAX_BODY_BYTES),
            _app("/alerts", receiver.handle, alerts.MAX_BODY_BYTES),
            _metrics_app(metrics, source),
        )
        loops = [
            asyncio.create_task(_follow_version(api, source, settings)),
            asyncio.create_task(_follow_certificate(certificate)),
        ]
        try:
            async with _sites(apps, settings, certificate) as ports:
                yield Addresses(*ports)
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await events.close()


async def run(settings: GateSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    clocks = Clocks(now=lambda: datetime.now(UTC), monotonic=time.monotonic)  # noqa: TID251 - the program's entry
    async with serving(settings, clocks) as ports:
        _log.info("the gate serves: %s", ports)
        await stop.wait()


def _app(path: str, handler: Handler, limit_bytes: int) -> web.Application:
    app = web.Application(client_max_size=limit_bytes)
    app.router.add_post(path, handler)
    return app


def _metrics_app(metrics: GateMetrics, source: SettingsSource) -> web.Application:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_: web.Request) -> web.Response:
        if source.settings is None:
            raise web.HTTPServiceUnavailable(text="the API server's version is not known yet\n")
        return web.Response(text="ok\n")

    app = web.Application()
    app.router.add_get("/metrics", page)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    return app


@contextlib.asynccontextmanager
async def _sites(
    apps: tuple[web.Application, ...], settings: GateSettings, certificate: Certificate
) -> AsyncIterator[tuple[int, ...]]:
    runners = [web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S) for app in apps]
    contexts = (certificate.context, None, None)
    try:
        for runner, context, port in zip(runners, contexts, settings.ports, strict=True):
            await runner.setup()
            await web.TCPSite(runner, settings.listen_host, port, ssl_context=context, reuse_address=True).start()
        yield tuple(int(runner.addresses[0][1]) for runner in runners)
    finally:
        for runner in runners:
            await runner.cleanup()


async def _follow_version(api: ApiServer, source: SettingsSource, settings: GateSettings) -> None:
    """The cluster may be upgraded below us; until the first answer nothing is injected."""
    while True:
        try:
            source.settings = _injection(settings, await api.version())
            pause_s = VERSION_AGAIN_S
        except ApiError as error:
            _log.warning("the version of the API server is not known: %s", error)
            pause_s = VERSION_RETRY_S
        await asyncio.sleep(pause_s)


async def _follow_certificate(certificate: Certificate) -> None:
    while True:
        await asyncio.sleep(certificates.RELOAD_S)
        certificate.reload()


def _injection(settings: GateSettings, kubernetes: tuple[int, int]) -> Settings:
    return Settings(
        image=settings.sidecar_image,
        pull_policy=settings.pull_policy,
        pull_secrets=settings.pull_secrets,
        kubernetes=kubernetes,
        drain_sleep_s=settings.drain_sleep_s,
        scrape_annotations=settings.scrape_annotations,
        wire_resources=settings.wire_resources,
        analyst_resources=settings.analyst_resources,
    )
