"""Bytes that wait for peers which do not take them, on all connections together."""

import asyncio
from typing import Protocol


class Side(Protocol):
    """One side of a connection."""

    transport: asyncio.Transport

    def cut(self) -> None:
        """End the connection on both sides at once."""


class Backlog:
    """
    Sides that are paused because their peer is slow, and how much waits for them.

    Each of them holds little, but there may be thousands. Beyond the limit the one that has been stuck for longest
    is cut: the memory would otherwise end, and with it every connection.
    """

    __slots__ = ("_stuck", "_total", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._stuck: dict[Side, int] = {}
        self._total = 0

    def add(self, side: Side) -> None:
        """What waits for this side went over its own limit: nothing more comes until it has gone."""
        self.discard(side)
        size = self._stuck[side] = side.transport.get_write_buffer_size()
        self._total += size

    def discard(self, side: Side) -> None:
        """The side has caught up, or is gone."""
        self._total -= self._stuck.pop(side, 0)

    def excess(self) -> list[Side]:
        """Whom to cut, longest stuck first, for the rest to fit."""
        if self._total <= self.limit:
            return []
        for side in tuple(self._stuck):  # it may have shrunk since
            self.add(side)
        left, some = self._total, []
        for side, size in self._stuck.items():
            if left <= self.limit:
                break
            left -= size
            some.append(side)
        return some
