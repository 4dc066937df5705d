"""
When to visit which ModelDeployment: on a timer, and at once when something changed.

A visit is level-based: it reads the world anew, so that a lost event costs one interval and an event too many costs
one visit. Each key is visited by one task at a time.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from onguard import contract

MAX_PARALLEL: Final = 8
SETTLE_S: Final = 1.0
"""Events come in bursts: a poked key is visited this much later."""
SWEEP_S: Final = 60.0
_log = logging.getLogger(__name__)


class Key(NamedTuple):
    """A ModelDeployment by name."""

    namespace: str
    name: str


class Scheduler:
    """
    Visits every known key each ``contract.SCRAPE_S`` seconds.

    Args:
        visit: visits one key; says whether the key still exists. Must not raise for what it expects.
        known: lists all keys that exist; called now and then, since watches lose deletions.
        forget: drops all that is remembered of a key.
        failed: told of an unexpected error.
    """

    def __init__(
        self,
        *,
        visit: Callable[[Key], Awaitable[bool]],
        known: Callable[[], Awaitable[Iterable[Key] | None]],
        forget: Callable[[Key], None],
        failed: Callable[[Key, Exception], None],
    ) -> None:
        self._visit, self._known, self._forget, self._failed = visit, known, forget, failed
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._wake: dict[Key, asyncio.Event] = {}
        self._slots = asyncio.Semaphore(MAX_PARALLEL)

    def poke(self, namespace: str, name: str) -> None:
        """Visit soon."""
        key = Key(namespace, name)
        if key not in self._tasks:
            self._wake[key] = asyncio.Event()
            self._tasks[key] = asyncio.create_task(self._run(key), name=f"visit {namespace}/{name}")
        self._wake[key].set()

    async def sweep_for_ever(self) -> None:
        """Find what the watch missed; run as a task, cancel to stop."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Start on keys that no event told of, stop for those that are gone."""
        listed = await self._known()
        if listed is None:
            return  # nothing is known: an unreadable list is no empty list
        keys = set(listed)
        for key in keys - set(self._tasks):
            self.poke(*key)
        for key in set(self._tasks) - keys:
            self._wake[key].set()  # its own visit finds out, by a live read

    async def close(self) -> None:
        """Cancel all visits and wait for their end."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key) -> None:
        try:
            while await self._visit_once(key):
                await self._pause(self._wake[key])
        finally:
            del self._tasks[key], self._wake[key]
            self._forget(key)

    async def _visit_once(self, key: Key) -> bool:
        self._wake[key].clear()
        async with self._slots:
            try:
                return await self._visit(key)
            except Exception as error:  # noqa: BLE001 - one broken object must not end the visits of the others
                _log.exception("visit of %s/%s failed", *key)
                self._failed(key, error)
                return True

    async def _pause(self, wake: asyncio.Event) -> None:
        """Wait for the interval, jittered so that the visits of many keys spread; less if poked."""
        jitter = random.uniform(0.9, 1.0)  # noqa: S311 - spreads load, guards nothing
        try:
            async with asyncio.timeout(contract.SCRAPE_S * jitter):
                await wake.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_S)
