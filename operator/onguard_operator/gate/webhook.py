"""Answers the API server: one pod in, one patch out. Whatever goes wrong here, the pod starts."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from onguard.spec import SpecError, parse_spec
from onguard_operator.gate import admission, ownership
from onguard_operator.gate.admission import Review
from onguard_operator.gate.api_server import ApiError
from onguard_operator.gate.events import Events
from onguard_operator.gate.gate_metrics import GateMetrics
from onguard_operator.gate.guards import Guards
from onguard_operator.inject import Guard, NotInjected, Patch, Reason, inject, refuse
from onguard_operator.objects import Object, name_of
from onguard_operator.sidecar_containers import Settings

MAX_CONCURRENT: Final = 32
"""Reviews in memory at once: 32 bodies of 3 MiB stay well below the container's limit."""
DEADLINE_S: Final = 2.5
"""Below the webhook's timeout of 3 s, so that the answer still says what was the matter."""
INJECTED: Final = "injected"
NOT_INJECTED: Final = "not_injected"
NOT_OURS: Final = "not_ours"
TROUBLE: Final = "trouble"
_log = logging.getLogger(__name__)


class SettingsSource:
    """Injection's settings; None until the API server's version is known."""

    def __init__(self) -> None:
        self.settings: Settings | None = None


@dataclass(frozen=True)
class Parts:
    """What the webhook works with."""

    guards: Guards
    source: SettingsSource
    metrics: GateMetrics
    events: Events


class Webhook:
    """``POST /mutate``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running = 0

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one AdmissionReview; too many at once, or no review at all, get a plain error."""
        if self._running >= MAX_CONCURRENT:
            # The API server goes on without us (failurePolicy: Ignore), which costs it less than waiting.
            self._parts.metrics.admitted(TROUBLE, "Busy")
            raise web.HTTPServiceUnavailable
        self._running += 1
        try:
            review = admission.parse(await request.read())
        except admission.ReviewError as error:
            self._parts.metrics.admitted(TROUBLE, "Malformed")
            raise web.HTTPBadRequest(text="expected an AdmissionReview for a pod") from error
        finally:
            self._running -= 1
        return web.json_response(await self._answer_counted(review))

    async def _answer_counted(self, review: Review) -> Object:
        self._running += 1
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._answer(review)
        except (ApiError, TimeoutError) as error:
            _log.warning("a pod of namespace %s starts unguarded: %s", review.namespace, error or "timed out")
            return self._trouble(review, "ApiServer")
        except Exception:  # noqa: BLE001 - the pod must start, whatever we did wrong
            _log.exception("a pod of namespace %s starts unguarded", review.namespace)
            return self._trouble(review, "Internal")
        finally:
            self._running -= 1

    def _trouble(self, review: Review, reason: str) -> Object:
        self._parts.metrics.admitted(TROUBLE, reason)
        return admission.answer(review.uid, warnings=["onguard: the pod starts unguarded, the gate is in trouble"])

    async def _answer(self, review: Review) -> Object:
        settings = self._parts.source.settings
        if settings is None:
            return self._trouble(review, "Starting")
        found = ownership.guard_of(review.pod, await self._parts.guards.of_namespace(review.namespace))
        if found is None:
            self._parts.metrics.admitted(NOT_OURS)
            return admission.answer(review.uid)
        result = inject_for(review.pod, found, settings)
        return admission.answer(review.uid, result.operations, self._record(review, found, result))

    def _record(self, review: Review, found: Object, result: Patch | NotInjected) -> Sequence[str]:
        if isinstance(result, Patch):
            self._parts.metrics.admitted(INJECTED)
            return ()
        self._parts.metrics.admitted(NOT_INJECTED, result.reason)
        if not review.is_dry_run:
            self._parts.events.refused(found, review.pod, result)
        return (f"onguard: the pod starts unguarded ({result.reason}): {result.message}",)


def inject_for(pod: Object, model_deployment: Object, settings: Settings) -> Patch | NotInjected:
    """Inject for a ModelDeployment as the API server returns it."""
    try:
        spec = parse_spec(model_deployment["spec"])
    except SpecError as error:
        return refuse(pod, NotInjected(Reason.SPEC_INVALID, str(error)))
    if not spec.traffic.ports:
        return refuse(pod, NotInjected(Reason.SPEC_INVALID, "expected one port in spec.traffic.ports, got none"))
    suspended = ownership.is_suspended(model_deployment, settings.image)
    return inject(pod, Guard(name=name_of(model_deployment), spec=spec, is_suspended=suspended), settings)
