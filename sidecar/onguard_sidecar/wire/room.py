"""Room for connections: whom to close when there are too many, or when nothing moves any more."""

import asyncio
from collections.abc import Collection
from typing import Final, Protocol, TypeVar

from onguard_sidecar.wire.transports import quiet_s

AT_ONCE: Final = 64
"""Quiet connections that are closed together when there is no room for a new one: to look for them takes 5 ms."""
QUIET_ENOUGH_S: Final = 1.0
"""A keep-alive connection that was in use a moment ago is not closed for want of room."""


class Connection(Protocol):
    """A client's connection."""

    transport: asyncio.Transport

    def is_idle(self) -> bool:
        """Between two requests of HTTP/1."""


Some = TypeVar("Some", bound=Connection)


def quietest(connections: Collection[Some]) -> list[Some]:
    """Those between two requests on which nothing has moved for longest, at most ``AT_ONCE``."""
    idle = [(quiet_s(each.transport), each) for each in connections if each.is_idle()]
    quiet = sorted((pair for pair in idle if pair[0] >= QUIET_ENOUGH_S), key=lambda pair: -pair[0])
    return [each for _, each in quiet[:AT_ONCE]]


def idle(connections: Collection[Some], seconds: float) -> list[Some]:
    """Those on which nothing has moved for so long, whatever they wait for."""
    return [each for each in connections if quiet_s(each.transport) >= seconds]
