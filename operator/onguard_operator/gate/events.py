"""Events about pods that start without a sidecar: best effort, never waited for, one for each reason and a while."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from onguard import contract
from onguard_operator import naming
from onguard_operator.gate.api_server import ApiError, ApiServer
from onguard_operator.inject import NotInjected, Reason
from onguard_operator.objects import Object, name_of, stamp, uid_of

QUIET_S: Final = 600.0
"""A Deployment that retries for hours leaves one Event in ten minutes, not hundreds."""
MAX_REMEMBERED: Final = 1024
_EXPECTED: Final = (Reason.OPTED_OUT, Reason.JOB_POD)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clocks:
    """Wall clock for what is written, monotonic seconds for what is measured."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]


class Events:
    """Writes Events in the background."""

    def __init__(self, api: ApiServer, clocks: Clocks, instance: str) -> None:
        self._api = api
        self._clocks = clocks
        self._instance = instance
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def refused(self, model_deployment: Object, pod: Object, refusal: NotInjected) -> None:
        """Tell about one pod, unless the same was told a moment ago."""
        key = (uid_of(model_deployment), refusal.reason.value)
        if self._is_recent(key):
            return
        body = refusal_event(model_deployment, pod, refusal, self._clocks.now(), self._instance)
        task = asyncio.get_running_loop().create_task(self._write(body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._tasks)

    async def _write(self, body: Object) -> None:
        try:
            await self._api.create_event(body)
        except ApiError as error:
            _log.info("an Event was lost: %s", error)

    def _is_recent(self, key: tuple[str, str]) -> bool:
        now = self._clocks.monotonic()
        last = self._seen.get(key)
        if last is not None and now - last < QUIET_S:
            return True
        self._seen[key] = now
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return False


def refusal_event(model_deployment: Object, pod: Object, refusal: NotInjected, now: datetime, instance: str) -> Object:
    """Build the Event; it is about the ModelDeployment, since the pod does not exist yet."""
    metadata = model_deployment["metadata"]
    pod_name = pod["metadata"].get("name") or pod["metadata"].get("generateName", "")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": naming.event(uid_of(model_deployment), refusal.reason, now.isoformat()),
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": contract.API_VERSION,
            "kind": contract.MODEL_DEPLOYMENT,
            "name": name_of(model_deployment),
            "namespace": metadata["namespace"],
            "uid": uid_of(model_deployment),
        },
        "type": "Normal" if refusal.reason in _EXPECTED else "Warning",
        "reason": refusal.reason.value,
        "message": f"a pod ({pod_name}) starts without a sidecar: {refusal.message}"[:1024],
        "action": "Inject",
        "count": 1,
        "firstTimestamp": stamp(now),
        "lastTimestamp": stamp(now),
        "reportingComponent": "onguard-gate",
        "reportingInstance": instance,
        "source": {"component": "onguard-gate"},
    }
