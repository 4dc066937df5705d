"""
Reading ``/counts`` of guarded pods: bounded in number, size and time.

A pod that can't be read gives a :class:`NotReadable` with its reason; it is missing, never zero, and nothing raises.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import aiohttp

from onguard import contract
from onguard.counts import CountsError, Report, decode_report
from onguard_operator.objects import Object, name_of, namespace_of, uid_of
from onguard_operator.status import Condition, fails, holds, unknown

CONCURRENCY: Final = 32
POD_DEADLINE_S: Final = 3.0
DEADLINE_S: Final = 10.0
"""For all pods of one ModelDeployment; well inside a scrape interval."""
MAX_BODY: Final = 8 << 20


@dataclasses.dataclass(frozen=True)
class Value:
    """What a pod said."""

    report: Report


@dataclasses.dataclass(frozen=True)
class NotReadable:
    """Why a pod said nothing: one CamelCase word, and a detail for people."""

    reason: str
    detail: str = ""


Reading: TypeAlias = Value | NotReadable


def url_of(pod: Object) -> str | None:
    """Where the pod's analyst serves its counters; None while the pod has no address."""
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{contract.PORT_ADMIN}/counts"


class Scraper:
    """Reads pods over one HTTP session; at most ``CONCURRENCY`` at a time over all ModelDeployments."""

    def __init__(self, session: aiohttp.ClientSession, url: Callable[[Object], str | None] = url_of) -> None:
        self._session = session
        self._url = url
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def read(self, pods: Sequence[Object], token: str, since: Mapping[str, int]) -> Mapping[str, Reading]:
        """
        Read the counters of ``pods``.

        Args:
            pods: guarded pods.
            token: bearer token of their ModelDeployment.
            since: last epoch that is known, by pod uid.

        Returns:
            a reading by pod uid, one for each pod.
        """
        tasks = {uid_of(p): asyncio.create_task(self._read(p, token, since.get(uid_of(p), 0))) for p in pods}
        if tasks:
            _, late = await asyncio.wait(tasks.values(), timeout=DEADLINE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return {uid: _result(task) for uid, task in tasks.items()}

    async def _read(self, pod: Object, token: str, since: int) -> Reading:
        url = self._url(pod)
        if url is None:
            return NotReadable("NoAddress")
        timeout = aiohttp.ClientTimeout(total=POD_DEADLINE_S)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with (
                self._slots,
                self._session.get(
                    url, params={"since": since}, headers=headers, timeout=timeout, allow_redirects=False
                ) as response,
            ):
                return await _decode(response)
        except TimeoutError:
            return NotReadable("TimedOut", f"no answer within {POD_DEADLINE_S:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return NotReadable("Unreachable", type(error).__name__)


async def _decode(response: aiohttp.ClientResponse) -> Reading:
    if response.status in (401, 403):
        return NotReadable("TokenRefused", "the sidecar has no or another token; its ConfigMap may not be mounted yet")
    if response.status != 200:
        return NotReadable("BadStatus", str(response.status))
    body = await response.content.read(MAX_BODY + 1)
    while len(body) <= MAX_BODY and not response.content.at_eof():
        body += await response.content.read(MAX_BODY + 1 - len(body))
    if len(body) > MAX_BODY:
        return NotReadable("TooLarge", f"more than {MAX_BODY} bytes")
    try:
        return Value(decode_report(body))
    except CountsError as error:
        return NotReadable("BadReport", str(error)[:200])


def _result(task: "asyncio.Task[Reading]") -> Reading:
    if task.cancelled():
        return NotReadable("TimedOut", f"no turn within {DEADLINE_S:g} s")
    return task.result()


def scrapable(pods: Sequence[Object], readings: Mapping[str, Reading], *, operator_namespace: str) -> Condition:
    """Say which pods can't be read and, where the network is in the way, the policy that would let us."""
    kind = contract.CONDITION_SCRAPABLE
    if not pods:
        return unknown(kind, "NoGuardedPods", "there is no guarded pod to read")
    silent = [(pod, r) for pod in pods if isinstance(r := readings.get(uid_of(pod)), NotReadable)]
    if not silent:
        return holds(kind, "AllPods", f"all {len(pods)} guarded pods are read")
    pod, reading = silent[0]
    text = f"{len(silent)} of {len(pods)} guarded pods can't be read, such as {name_of(pod)}: {reading.detail}"
    if reading.reason in ("TimedOut", "Unreachable"):
        text += f"; if a NetworkPolicy is in the way, this one lets us in: {network_policy(pod, operator_namespace)}"
    return fails(kind, reading.reason, text)


def network_policy(pod: Object, operator_namespace: str) -> str:
    """NetworkPolicy that would admit the operator, as one line of YAML. We create none in a user's namespace."""
    return (
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, "
        f"metadata: {{name: onguard-counts, namespace: {namespace_of(pod)}}}, "
        f"spec: {{podSelector: {{matchExpressions: [{{key: {contract.LABEL_GUARDED_BY}, operator: Exists}}]}}, "
        "policyTypes: [Ingress], ingress: [{from: [{namespaceSelector: {matchLabels: "
        f"{{kubernetes.io/metadata.name: {operator_namespace}}}}}}}], ports: [{{port: {contract.PORT_ADMIN}}}]}}]}}}}"
    )
