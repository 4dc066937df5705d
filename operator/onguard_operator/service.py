"""The operator's tasks, put together and taken apart; kopf only tells of events and of the process's end."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final, Self

import aiohttp
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from onguard import contract
from onguard_operator import probes
from onguard_operator.cluster import Cluster, ClusterError, Kind, NotFoundError, open_cluster
from onguard_operator.lease import Lease
from onguard_operator.objects import name_of, namespace_of, uid_of
from onguard_operator.probes import Pulse
from onguard_operator.scheduler import Key, Scheduler
from onguard_operator.scrape import Scraper
from onguard_operator.settings import Settings
from onguard_operator.store import Store
from onguard_operator.telemetry import Telemetry
from onguard_operator.visit import Tools, Visitor

FAREWELL_S: Final = 8.0
"""For the last save and the release of the Lease; kopf ends the process 20 s after SIGTERM."""
_log = logging.getLogger(__name__)


class ClusterTooOldError(RuntimeError):
    """The API server is older than what native sidecars with named ports need."""


class Service:
    """
    Everything that runs beside kopf.

    :meth:`poke` may be called at any time; visits happen while the Lease is held.
    """

    def __init__(self, tools: Tools, visitor: Visitor, pulse: Pulse, stack: AsyncExitStack) -> None:
        self._tools, self._visitor, self._pulse, self._stack = tools, visitor, pulse, stack
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._scheduler = Scheduler(visit=self._visit, known=self._known, forget=visitor.forget, failed=self._failed)

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> Self:
        """
        Connect, check the cluster, start all tasks.

        Raises:
            SettingsError: if the environment is incomplete.
            ClusterTooOldError: if the cluster can't do what guarding needs.
            ClusterError: if the API server can't be asked.
        """
        settings = Settings.from_env(environment)
        settings.read_key()
        stack = AsyncExitStack()
        cluster = await stack.enter_async_context(open_cluster(environment))
        version = await cluster.version()
        if version < contract.MINIMUM_KUBERNETES:
            await stack.aclose()
            raise ClusterTooOldError(f"expected Kubernetes {contract.MINIMUM_KUBERNETES} or newer, got {version}")
        session = await stack.enter_async_context(aiohttp.ClientSession(trust_env=False))
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        tools = Tools(
            cluster=cluster,
            store=Store(cluster, settings.namespace),
            scraper=Scraper(session),
            lease=Lease(cluster, settings.namespace, settings.identity, monotonic=time.monotonic, clock=_now),
            telemetry=Telemetry(registry),
            settings=settings,
            clock=_now,
        )
        service = cls(tools, Visitor(tools), Pulse(time.monotonic), stack)
        service._begin()
        return service

    def _begin(self) -> None:
        tools = self._tools
        app = probes.make_app(tools.telemetry.registry, self._pulse, is_leading=lambda: tools.lease.is_held)
        work = {
            "lease": tools.lease.keep(),
            "sweep": self._scheduler.sweep_for_ever(),
            "probes": probes.serve(app, tools.settings.metrics_port, self._stop),
        }
        self._tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]

    def poke(self, namespace: str, name: str) -> None:
        """Visit this ModelDeployment soon."""
        self._scheduler.poke(namespace, name)

    async def stop(self) -> None:
        """End visits, save, give the Lease back; what fails here costs the next process some seconds, no more."""
        self._stop.set()
        await self._scheduler.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(FAREWELL_S):
                if self._tools.lease.is_held:
                    await self._visitor.save_all()
                    await self._tools.lease.release()
        except (ClusterError, TimeoutError) as error:
            _log.warning("the last save failed: %s", error)
        await self._stack.aclose()

    async def _visit(self, key: Key) -> bool:
        try:
            return await self._visitor.visit(key)
        except ClusterError as error:
            _log.warning("%s/%s: %s; trying again at the next visit", *key, error)
            self._tools.telemetry.count_evaluation(key, type(error).__name__)
            return True
        finally:
            self._pulse.beat()

    async def _known(self) -> list[Key] | None:
        cluster: Cluster = self._tools.cluster
        try:
            found = await cluster.list(Kind.MODEL_DEPLOYMENT)
            if self._tools.lease.is_held:
                await self._tools.store.sweep(frozenset(uid_of(mdep) for mdep in found))
        except NotFoundError:
            return []  # the CRD is not there (any more): nothing is guarded
        except ClusterError as error:
            _log.warning("the list of ModelDeployments can't be read: %s", error)
            return None
        finally:
            self._pulse.beat()
        return [Key(namespace_of(mdep), name_of(mdep)) for mdep in found]

    def _failed(self, key: Key, error: Exception) -> None:
        self._tools.telemetry.count_evaluation(key, type(error).__name__)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one clock of this program, handed to everything else
