"""ModelDeployments of a namespace, kept for two seconds: a roll-out of a hundred pods asks the API once a moment."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from onguard_operator.gate.api_server import ApiError
from onguard_operator.objects import Object

FRESH_S: Final = 2.0
STALE_S: Final = 60.0
"""While the API server does not answer, a list of this age is better than an unguarded pod."""
MAX_NAMESPACES: Final = 256

List = Callable[[str], Awaitable[list[Object]]]


@dataclass(frozen=True)
class _Entry:
    items: Sequence[Object]
    read_at_s: float


class Guards:
    """A small cache in front of the API server; one question at a time for each namespace."""

    def __init__(self, read: List, clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Sequence[Object]]] = {}

    async def of_namespace(self, namespace: str) -> Sequence[Object]:
        """
        ModelDeployments of the namespace.

        Raises:
            ApiError: if they can't be read and no recent list is known.
        """
        entry = self._entries.get(namespace)
        if entry is not None and self._clock() - entry.read_at_s < FRESH_S:
            return entry.items
        task = self._asking.get(namespace)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(namespace))
            self._asking[namespace] = task
            task.add_done_callback(lambda done: self._answered(namespace, done))
        # Who gives up must not take the answer away from the others.
        return await asyncio.shield(task)

    async def _ask(self, namespace: str) -> Sequence[Object]:
        try:
            self._remember(namespace, _Entry(await self._read(namespace), self._clock()))
        except ApiError:
            entry = self._entries.get(namespace)
            if entry is None or self._clock() - entry.read_at_s > STALE_S:
                raise
        return self._entries[namespace].items

    def _answered(self, namespace: str, task: asyncio.Task[Sequence[Object]]) -> None:
        del self._asking[namespace]
        if not task.cancelled():
            task.exception()  # marks it as seen where everybody who asked has given up

    def _remember(self, namespace: str, entry: _Entry) -> None:
        self._entries[namespace] = entry
        self._entries.move_to_end(namespace)
        if len(self._entries) > MAX_NAMESPACES:
            self._entries.popitem(last=False)
