"""
Single activity: one operator acts at a time, proven by a Lease that it renews.

The holder trusts its Lease only for a part of what it has written, by its own monotonic clock, so that two operators
whose clocks differ never both believe to hold it (as in client-go's leader election).
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from onguard_operator.cluster import Cluster, ClusterError, ConflictError, ExistsError, Kind
from onguard_operator.objects import Object

NAME: Final = "onguard-operator"
DURATION_S: Final = 30
TRUST_S: Final = 20.0
"""How long after a renewal began the Lease is relied on; less than DURATION_S by more than a request's deadline."""
RENEW_S: Final = 5.0
_log = logging.getLogger(__name__)


class Lease:
    """Our hold on the Lease. :attr:`is_held` is asked right before each act."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        holder: str,
        *,
        monotonic: Callable[[], float],
        clock: Callable[[], datetime],
    ) -> None:
        self._cluster, self._namespace, self._holder = cluster, namespace, holder
        self._monotonic, self._clock = monotonic, clock
        self._trusted_until = float("-inf")
        self._seen: tuple[str, float] | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process alone may act now."""
        return self._monotonic() < self._trusted_until

    async def keep(self) -> None:
        """Renew for ever; run as a task, cancel to stop."""
        while True:
            try:
                await self.renew()
            except ClusterError as error:
                _log.warning("the Lease could not be renewed: %s", error)
            await asyncio.sleep(RENEW_S)

    async def renew(self) -> bool:
        """Take or renew the Lease if it is ours, free or expired; says whether it is ours now."""
        began = self._monotonic()
        current = await self._cluster.find(Kind.LEASE, self._namespace, NAME)
        if current is None:
            won = await self._create()
        elif self._may_take(current, began):
            won = await self._take(current)
        else:
            won = False
        self._trusted_until = began + TRUST_S if won else float("-inf")
        return won

    async def release(self) -> None:
        """Give the Lease back, so that the next process need not wait for it to expire."""
        self._trusted_until = float("-inf")
        current = await self._cluster.find(Kind.LEASE, self._namespace, NAME)
        if current and current["spec"].get("holderIdentity") == self._holder:
            await self._cluster.patch(Kind.LEASE, current, {"spec": {"holderIdentity": ""}})

    def _may_take(self, current: Object, now: float) -> bool:
        spec = current["spec"]
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._holder):
            return True
        # Expiry is judged by how long we have seen no change, not by the other's clock.
        version = current["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
        return now - self._seen[1] > float(spec.get("leaseDurationSeconds") or DURATION_S)

    def _spec(self) -> Object:
        moment = self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": self._holder, "leaseDurationSeconds": DURATION_S, "renewTime": moment}

    async def _create(self) -> bool:
        body = {
            "apiVersion": Kind.LEASE.api_version,
            "kind": Kind.LEASE.kind,
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": self._spec(),
        }
        try:
            await self._cluster.create(Kind.LEASE, body)
        except ExistsError:
            return False
        return True

    async def _take(self, current: Object) -> bool:
        try:
            await self._cluster.patch(Kind.LEASE, current, {"spec": self._spec()})
        except ConflictError:
            return False
        return True
