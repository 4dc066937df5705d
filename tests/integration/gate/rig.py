"""A running gate with a fake API server behind it."""

import asyncio
import contextlib
import dataclasses
import io
import ssl
import time
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web

from onguard_operator.gate import server
from onguard_operator.gate.events import Clocks
from onguard_operator.gate.settings import GateSettings
from tests.self_signed import write_certificate

TOKEN = "alertmanager-token-of-the-test"
MDEP = {
    "metadata": {"name": "churn", "namespace": "shop", "uid": "u-1", "creationTimestamp": "2026-11-25T00:00:00Z"},
    "spec": {
        "targetRef": {"name": "churn"},
        "triggers": [{"alert": "Drop", "action": "Rollback"}, {"alert": "Old", "action": "Retrain"}],
    },
}
RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}


class FakeApiServer:
    """The calls that the gate makes, with faults to order."""

    def __init__(self, minor):
        self.model_deployments = [MDEP]
        self.decisions = {}
        self.events = []
        self.calls = []
        self.status = 200
        self.delay_s = 0.0
        self.minor = minor

    def app(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request):
        self.calls.append((request.method, request.path))
        if request.path == "/version":
            return web.json_response({"major": "1", "minor": self.minor})
        await asyncio.sleep(self.delay_s)
        if self.status != 200:
            return web.json_response({"kind": "Status"}, status=self.status)
        if request.method == "GET" and request.path.endswith("/modeldeployments"):
            return web.json_response({"items": self.model_deployments})
        if request.path.endswith("/events"):
            self.events.append(await request.json())
            return web.json_response({}, status=201)
        return await self._decision(request)

    async def _decision(self, request):
        name = request.path.removesuffix("/status").rpartition("/")[2]
        if request.method == "GET":
            return web.json_response(self.decisions[name])
        body = await request.json()
        if request.method == "PATCH":
            self.decisions[name]["status"] = body["status"]
            return web.json_response(self.decisions[name])
        name = body["metadata"]["name"]
        if name in self.decisions:
            return web.json_response({"reason": "AlreadyExists"}, status=409)
        body["metadata"]["resourceVersion"] = "1"
        self.decisions[name] = body
        return web.json_response(body, status=201)


@dataclasses.dataclass
class RunningGate:
    api: FakeApiServer
    folder: Path
    ports: server.Addresses
    session: aiohttp.ClientSession
    clock: list

    async def mutate(self, review=None, *, data=None):
        options = {"json": review} if data is None else {"data": io.BytesIO(data)}
        url = f"https://127.0.0.1:{self.ports.webhook}/mutate"
        async with self.session.post(url, ssl=self.trust(), **options) as response:
            return response.status, await (response.json() if response.status == 200 else response.text())

    def trust(self):
        return ssl.create_default_context(cafile=str(self.folder / "tls.crt"))

    async def alert(self, body, *, token=TOKEN, headers=None):
        url = f"http://127.0.0.1:{self.ports.alerts}/alerts"
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        options = {"json": body} if not isinstance(body, bytes) else {"data": io.BytesIO(body)}
        async with self.session.post(url, headers={**sent, **(headers or {})}, **options) as response:
            return response.status

    async def until_ready(self):
        while (await self.page("/readyz"))[0] != 200:  # noqa: ASYNC110 - the other side is a server
            await asyncio.sleep(0.01)

    async def page(self, path):
        async with self.session.get(f"http://127.0.0.1:{self.ports.metrics}{path}") as response:
            return response.status, await response.text()

    async def metric(self, line):
        text = (await self.page("/metrics"))[1]
        found = [each for each in text.splitlines() if each.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


@contextlib.asynccontextmanager
async def running(tmp_path, *, minor="34+"):
    """Serve until the context is left; the gate is ready when it is entered."""
    api = FakeApiServer(minor)
    runner = web.AppRunner(api.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    write_certificate(tmp_path)
    (tmp_path / "tokens").write_text(TOKEN + "\n")
    (tmp_path / "token").write_text("account-token")
    clock = [0.0]
    settings = GateSettings(
        api_server=f"http://127.0.0.1:{runner.addresses[0][1]}",
        account_dir=tmp_path,
        certificate_dir=tmp_path,
        tokens_file=tmp_path / "tokens",
        pod_name="gate-0",
        sidecar_image="onguard/sidecar:1",
        pull_policy=None,
        pull_secrets=(),
        wire_resources=RESOURCES,
        analyst_resources=RESOURCES,
        drain_sleep_s=5,
        scrape_annotations=False,
        listen_host="127.0.0.1",
        ports=(0, 0, 0),
    )
    clocks = Clocks(now=lambda: datetime(2026, 11, 25, 2, tzinfo=UTC), monotonic=lambda: time.monotonic() + clock[0])
    try:
        async with aiohttp.ClientSession() as session, server.serving(settings, clocks) as ports:
            gate = RunningGate(api, tmp_path, ports, session, clock)
            async with asyncio.timeout(10):
                await gate.until_ready()
            yield gate
    finally:
        await runner.cleanup()
