"""What all connections of a wire share, and what is asked of all of them together."""

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from onguard_sidecar.wire import room
from onguard_sidecar.wire.accounts import Accounts
from onguard_sidecar.wire.arrivals import SEEN_LARGE, SEEN_MAX, Arrivals
from onguard_sidecar.wire.backlog import Backlog, Side
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.limits import FREE_BYTES, Budget, Limits

if TYPE_CHECKING:
    from onguard_sidecar.wire.proxy import ClientSide, ModelSide

SEEN_S: Final = 0.005
"""Longest time that an arrival waits to be framed."""


class Dialler(Protocol):
    """Connects to the model."""

    async def dial(self, model_side: "ModelSide") -> None:
        """
        Connect ``model_side``.

        Raises:
            OSError: the model can't be reached.
        """


class Traffic:
    """
    What all connections of a wire share.

    Attributes:
        clients: open client connections.
        lame: a lame duck: answers say that the connection ends.
        arrivals: what was forwarded and waits to be framed.
        most: arrivals that may wait.
        alone: largest request that waits for its answer, to be framed together with it; none with a lame duck.
        budget: of what all framers keep.
        backlog: what waits for slow peers.
    """

    def __init__(self, accounts: Accounts, heads: Heads, dialler: Dialler, limits: Limits) -> None:
        self.accounts, self.heads, self.dialler, self.limits = accounts, heads, dialler, limits
        self.budget = Budget()
        self.backlog = Backlog(limits.waiting)
        self.clients: set[ClientSide] = set()
        self.lame = False
        self.arrivals = Arrivals(accounts, heads)
        self.most = SEEN_MAX
        self.alone = FREE_BYTES
        self._number = 0
        self._is_waiting = False

    def next_number(self) -> int:
        """Of a new client connection, from 1."""
        self._number += 1
        return self._number

    def on_edge(self, size: int) -> None:
        """An arrival of ``size`` bytes is the first or the last that waits, or large: frame later, or now."""
        if len(self.arrivals.waiting) >= self.most or size > SEEN_LARGE:
            self.arrivals.settle()
        elif not self._is_waiting:
            self._is_waiting = True
            asyncio.get_running_loop().call_later(SEEN_S, self._on_time)

    def catch_up(self) -> None:
        """Frame and count everything that was forwarded, requests that wait for their answer included."""
        for client in self.clients:
            client.await_no_answer()
        self.arrivals.settle()

    def _on_time(self) -> None:
        self._is_waiting = False
        self.arrivals.settle()

    def begin_lame(self) -> None:
        """Lame duck from now on: each connection ends with its next answer. Connections without one stay open."""
        self.catch_up()
        self.lame, self.most, self.alone = True, 0, -1
        for client in tuple(self.clients):
            client.stop_if_answered()

    def is_busy(self) -> bool:
        """Whether any request, answer or opaque stream is under way."""
        self.catch_up()
        return any(client.is_busy() for client in self.clients)

    def sweep(self, now: int) -> None:
        """Judge what is overdue, close what is half closed and quiet."""
        self.catch_up()
        for client in tuple(self.clients):
            client.sweep(now)

    def has_room(self) -> bool:
        """Whether one more connection fits, if need be in place of some that are quiet between two requests."""
        if len(self.clients) < self.limits.connections:
            return True
        quiet = room.quietest(self.clients)
        for client in quiet:
            self.accounts.count("connections_evicted")
            client.finish()
        return bool(quiet)

    def close_idle(self) -> None:
        """Close the connections on which nothing has moved for too long."""
        for client in room.idle(self.clients, self.limits.idle_s):
            self.accounts.count("connections_idle_closed")
            client.transport.close()

    def pause(self, side: Side) -> None:
        """Nothing more comes for this side until its peer has caught up; whoever makes that too much is cut."""
        self.backlog.add(side)
        for stuck in self.backlog.excess():
            self.backlog.discard(stuck)
            self.accounts.count("connections_cut")
            # Later: this may be called from within its own write.
            asyncio.get_running_loop().call_soon(stuck.cut)

    def buffered(self) -> int:
        """Bytes that wait to be written, to either side."""
        return sum(client.buffered() for client in self.clients)
