"""
Takes Alertmanager's deliveries and writes them down, before it answers.

Alertmanager repeats what was not answered with 2xx, and may repeat what was. So: stored (or stored already, or
nothing for us) is 200, not stored is 503, and a body that will never be readable is 4xx and counted.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import hdrs, web

from onguard.spec import SpecError, parse_spec
from onguard_operator.gate import admission, alerts, tokens
from onguard_operator.gate.alerts import Hint, Outcome
from onguard_operator.gate.api_server import ApiError, ApiServer
from onguard_operator.gate.gate_metrics import GateMetrics
from onguard_operator.gate.guards import Guards
from onguard_operator.gate.tokens import Grant, TokensFile
from onguard_operator.objects import Object, name_of

_REQUESTED: Final = {"phase": alerts.PHASE_REQUESTED, "message": "waits for the operator"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReceiverParts:
    """What the receiver works with."""

    api: ApiServer
    guards: Guards
    tokens: TokensFile
    metrics: GateMetrics
    now: Callable[[], datetime]


class Receiver:
    """``POST /alerts``."""

    def __init__(self, parts: ReceiverParts) -> None:
        self._parts = parts

    async def handle(self, request: web.Request) -> web.Response:
        """Check the token, read the delivery, store each alert that is ours."""
        grant = tokens.check(request.headers.get(hdrs.AUTHORIZATION), self._parts.tokens.grants())
        if grant is None:
            self._parts.metrics.alert(Outcome.UNAUTHORIZED)
            raise web.HTTPUnauthorized(headers={hdrs.WWW_AUTHENTICATE: "Bearer"})
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity") != "identity":
            self._parts.metrics.alert(Outcome.MALFORMED)
            raise web.HTTPUnsupportedMediaType(text="expected a body without Content-Encoding")
        webhook = await self._read(request)
        if webhook.truncated_alerts > 0:
            self._parts.metrics.alert(Outcome.TRUNCATED)
            _log.warning("Alertmanager left %d alerts out (max_alerts)", webhook.truncated_alerts)
        outcomes = [await self._take(each, grant) for each in alerts.hints(webhook, self._parts.now())]
        for outcome in outcomes:
            self._parts.metrics.alert(outcome)
        if Outcome.FAILED in outcomes:
            raise web.HTTPServiceUnavailable(text="not all alerts could be stored; send them again")
        return web.json_response({"stored": outcomes.count(Outcome.REQUESTED), "received": len(outcomes)})

    async def _read(self, request: web.Request) -> alerts.Webhook:
        try:
            return alerts.parse(await request.read())
        except alerts.AlertsError as error:
            self._parts.metrics.alert(Outcome.MALFORMED)
            raise web.HTTPBadRequest(text="expected a version 4 webhook of Alertmanager") from error

    async def _take(self, hint: Hint | Outcome, grant: Grant) -> Outcome:
        if isinstance(hint, Outcome):
            return hint
        if not grant.covers(hint.namespace):
            return Outcome.FORBIDDEN
        try:
            return await self._store(hint)
        except ApiError as error:
            _log.warning("alert for %s/%s not stored: %s", hint.namespace, hint.model, error)
            return Outcome.FAILED

    async def _store(self, hint: Hint) -> Outcome:
        body = self._decision(hint, await self._known(hint))
        if body is None:
            return Outcome.NOT_OURS
        outcome = Outcome.REQUESTED
        try:
            stored = await self._parts.api.create_decision(body)
        except ApiError as error:
            if not error.is_conflict:
                raise
            outcome = Outcome.DUPLICATE
            stored = await self._parts.api.decision(hint.namespace, name_of(body))
        await self._mark_requested(stored)
        return outcome

    async def _known(self, hint: Hint) -> Object | None:
        if not admission.is_namespace(hint.namespace):
            return None
        known = await self._parts.guards.of_namespace(hint.namespace)
        return next((each for each in known if name_of(each) == hint.model), None)

    def _decision(self, hint: Hint, model_deployment: Object | None) -> Object | None:
        if model_deployment is None:
            return None
        try:
            spec = parse_spec(model_deployment["spec"])
        except SpecError:
            return None
        return alerts.decision(hint, model_deployment, spec, self._parts.now())

    async def _mark_requested(self, stored: Object) -> None:
        """The phase is in the status, a second write; a crash in between is mended by the next delivery."""
        if (stored.get("status") or {}).get("phase"):
            return
        try:
            await self._parts.api.patch_decision_status(stored, _REQUESTED)
        except ApiError as error:
            if not error.is_conflict:  # the operator was quicker
                raise
