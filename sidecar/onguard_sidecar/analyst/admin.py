"""The analyst's read-only HTTP server: /metrics, /counts, /healthz."""

import dataclasses
import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from onguard.counts import Counts, encode_report
from onguard.profile import Profile
from onguard_sidecar.analyst import redaction
from onguard_sidecar.analyst.books import Books
from onguard_sidecar.analyst.display import MAX_SHOWN, shown
from onguard_sidecar.analyst.intake import Intake
from onguard_sidecar.analyst.merging import merged
from onguard_sidecar.analyst.page import View, families
from onguard_sidecar.analyst.report import report
from onguard_sidecar.analyst.state import State
from onguard_sidecar.analyst.usage import Usage
from onguard_sidecar.ledger import Snapshot

MAX_REQUESTS: Final = 8
"""Requests that are answered at a time; scrapers are few, and the rest hears 503."""
MAX_SINCE: Final = 1 << 62
MSGPACK: Final = "application/msgpack"


class Admin(Collector):
    """
    Shows the state.

    Args:
        clock: monotonic seconds.

    Attributes:
        requests_read: requests in the ledger when /counts was last read with the right token.
    """

    def __init__(self, state: State, books: Books, intake: Intake, usage: Usage, clock: Callable[[], float]) -> None:
        self._state, self._books, self._intake, self._usage, self._clock = state, books, intake, usage, clock
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self.requests_read = 0

    def application(self) -> web.Application:
        """The server's routes."""
        app = web.Application(middlewares=[_limited(MAX_REQUESTS)], client_max_size=0)
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/counts", self.counts)
        return app

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus text or OpenMetrics, as asked for."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        response = web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    async def counts(self, request: web.Request) -> web.Response:
        """The report in msgpack; 401 without the token, 503 while there is no configuration or no ledger."""
        config, snapshot = self._state.config, self.snapshot()
        if config is None or not config.counts_token_sha256:
            raise web.HTTPServiceUnavailable(text="no configuration yet\n")
        if not _is_token(request.headers.get("Authorization", ""), config.counts_token_sha256):
            raise web.HTTPUnauthorized(text="expected the bearer token of this model\n")
        if snapshot is None:
            raise web.HTTPServiceUnavailable(text="no ledger yet\n")
        since = _since(request.query.get("since", "0"))
        self.requests_read = snapshot.counters["requests"]
        body = encode_report(report(self._state, snapshot, self._usage.read().model, since=since))
        response = web.Response(body=body, content_type=MSGPACK)
        response.enable_compression()
        return response

    def snapshot(self) -> Snapshot | None:
        """The account now, of HTTP/1 and of HTTP/2."""
        ledger = self._books.current(self._state.boot)
        if ledger is None:
            return None
        wire, http2 = ledger.snapshot(), self._intake.http2()
        return wire if http2 is None else merged(wire, http2)

    def collect(self) -> Iterable[Metric]:
        """Families of this moment, for the registry."""
        return families(self.view())

    def view(self) -> View:
        """What a page shows now."""
        state, settings, use = self._state, self._state.settings, self._usage.read()
        view = View(
            labels={"model": settings.model, "revision": settings.revision, "arm": settings.arm},
            profile_hash=state.profile.hash if state.profile else "",
            config_error=bool(state.config_error),
            profile_error=bool(state.profile_error),
            snapshot=self.snapshot(),
            http2=self._intake.http2(),
            tally=state.analysis.tally,
            faults=self._intake.faults,
            model_use=use.model,
            own_use=use.own,
            cpu_limit_cores=settings.cpu_limit_cores,
            memory_limit_bytes=settings.memory_limit_bytes,
        )
        return self._with_features(view)

    def _with_features(self, view: View) -> View:
        profile, counts = self._state.analysis.profile, self._state.analysis.counts()
        if profile is None or counts is None or not profile.is_counted:
            return view
        window = self._state.window.bins(counts, now=self._clock())
        asked = self._state.config is not None and self._state.config.feature_bins
        bins = self._bins(profile, counts) if asked else {}
        hidden = max(len(profile.features) - MAX_SHOWN, 0)
        return dataclasses.replace(view, shown=shown(profile, window), hidden=hidden, bins=bins)

    def _bins(self, profile: Profile, counts: Counts) -> dict[tuple[str, str], int]:
        """Rows per (feature, bin); names of redacted categories are not those of the reference."""
        redact, key = self._state.analysis.config.redact, self._state.key
        bins: dict[tuple[str, str], int] = {}
        for number, feature in enumerate(profile.features):
            names = redaction.bin_names(feature, redact, key)
            rows = counts.bins[profile.layout.block(number)].tolist()
            bins.update({(feature.name, name): count for name, count in zip(names, rows, strict=False)})
        return bins


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _is_token(authorization: str, expected_sha256: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    digest = hashlib.sha256(token.strip().encode()).hexdigest()
    return scheme.lower() == "bearer" and hmac.compare_digest(digest, expected_sha256.lower())


def _since(text: str) -> int:
    if not text.isdecimal() or int(text[:20]) > MAX_SINCE:
        raise web.HTTPBadRequest(text="since: expected the id of an epoch\n")
    return int(text)


def _limited(most: int) -> Middleware:
    busy = 0

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal busy
        if busy >= most:
            return web.Response(status=503, headers={"Retry-After": "1"}, text="busy\n")
        busy += 1
        try:
            return await handler(request)
        finally:
            busy -= 1

    return middleware
