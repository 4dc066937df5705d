"""
What the wire counts of requests: the tee's account, histograms, and the epochs that the objectives are judged by.

Times are monotonic ns; :attr:`Accounts.wall_ns` turns them into wall-clock time. Everything goes to the ledger's tally
and becomes visible at the next publication.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from onguard.contract import CONNECTION_REQUESTS, CONNECTION_SETTLE_EPOCHS, EPOCH_RING, LATENCY_SLOTS, UNIT
from onguard_sidecar import ledger as ledgers
from onguard_sidecar.exchange import (
    CLIENT_ABORTED,
    REQUEST_TRUNCATED,
    RESPONSE_TRUNCATED,
    STALE,
    UPSTREAM_RESET,
    Fields,
)
from onguard_sidecar.handover import size_in_batch
from onguard_sidecar.ledger import EPOCH_NS, MAX_BOUNDS, WIRE_INDEX, Ledger
from onguard_sidecar.wire.config import WireConfig
from onguard_sidecar.wire.http2 import Copier, StreamCopy
from onguard_sidecar.wire.pending import Pending
from onguard_sidecar.wire.sink import Opaque

_REQUESTS: Final = WIRE_INDEX["requests"]
_IN_FLIGHT: Final = WIRE_INDEX["in_flight"]
_NOT_INFERENCE: Final = WIRE_INDEX["not_inference"]
_STALE: Final = WIRE_INDEX["stale"]
_INFERENCE: Final = WIRE_INDEX["inference"]
_SAMPLED_OUT: Final = WIRE_INDEX["sampled_out"]
_STATUS: Final = (WIRE_INDEX["status_other"], *(WIRE_INDEX[f"status_{n}xx"] for n in range(1, 6)))
_DURATION: Final = ledgers.DURATION
_TTFB: Final = ledgers.TTFB
_DURATION_SUM: Final = ledgers.DURATION + MAX_BOUNDS + 1
_TTFB_SUM: Final = ledgers.TTFB + MAX_BOUNDS + 1
_NO_VERDICT: Final = CLIENT_ABORTED | UPSTREAM_RESET


class Outgoing(Protocol):
    """Where exchanges go: it takes each and counts it in exactly one field."""

    def offer(self, exchanges: Sequence[Fields], size: int) -> None:
        """Hand over, or drop and count; never waits. ``size``: bytes that they take in a batch at most."""


class Accounts:
    """
    The counters of one wire.

    Args:
        ledger: where they are kept.
        outbox: takes what the sample chose.
        draw: a random number in [0, 1) for the sample, independent of content.
        wall_ns: wall-clock time less monotonic time.

    Attributes:
        tally: the ledger's private values.
        takes_all: every inference request is copied.
        quick_ns: a longer exchange misses an objective.
        good: cells of the statuses that are no errors.
        row_end: monotonic ns at which the epoch ends that is open.
    """

    def __init__(self, ledger: Ledger, outbox: Outgoing, draw: Callable[[], float], *, wall_ns: int) -> None:
        self.ledger = ledger
        self.tally = ledger.tally
        self.wall_ns = wall_ns
        self._outbox = outbox
        self._draw = draw
        self.copier: Copier | None = None
        """Takes the bytes of HTTP/2 connections."""
        self.epoch = 0
        """Id of the open epoch."""
        self._row = 0
        self.row_end = 0
        self._layout: ledgers.Layout | None = None
        self.cuts = 0
        """Times that the epochs started again; a connection of an earlier cut is in none of them."""
        self.configure(WireConfig())

    def configure(self, config: WireConfig) -> None:
        """Judge by other bounds, statuses or sample from now on; other bounds or statuses start epochs again."""
        self._sample = config.sample
        self.takes_all = config.sample >= 1
        self._statuses = frozenset(config.error_statuses)
        self._slow_ns = tuple(round(bound * 1e9) for bound in config.latency_bounds_s)
        self.quick_ns = min(self._slow_ns, default=1 << 62)
        self.good = {n: _STATUS[n // 100] for n in range(200, 500) if n not in self._statuses}
        layout = ledgers.layout_of(config.objectives_hash, config.latency_bounds_s)
        self._bounds = layout.bounds_ns
        if layout != self._layout:
            self._layout = layout
            self.ledger.relayout(layout)
            self.row_end = 0
            self.cuts += 1

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter that is not on the path of every request."""
        self.tally[WIRE_INDEX[name]] += n

    def show(self, name: str, value: int) -> None:
        """Set a gauge."""
        self.tally[WIRE_INDEX[name]] = value

    def read(self, name: str) -> int:
        """Present value of a counter."""
        return self.tally[WIRE_INDEX[name]]

    def publish(self, now: int) -> None:
        """Show everything up to ``now``."""
        self.roll(now)
        self.tally[WIRE_INDEX["published_ns"]] = max(now + self.wall_ns, self.epoch * EPOCH_NS)
        self.ledger.publish()

    def roll(self, now: int) -> int:
        """
        Cell of the epoch that is open; a closed one never changes, a clock that steps back keeps it open.

        The columns of connections are the exception that ``counts.Epoch`` states.
        """
        if now >= self.row_end:
            self.epoch = max(self.epoch, (now + self.wall_ns) // EPOCH_NS)
            self.row_end = (self.epoch + 1) * EPOCH_NS - self.wall_ns
            self._row = ledgers.RING + self.epoch % EPOCH_RING * ledgers.EPOCH_CELLS
            if self.tally[self._row] != self.epoch:
                self.tally[self._row : self._row + ledgers.EPOCH_CELLS] = [0] * ledgers.EPOCH_CELLS
                self.tally[self._row] = self.epoch
        return self._row

    def sampled(self) -> bool:
        """Whether the next inference request is copied."""
        return self._draw() < self._sample

    def leave(self, pending: Pending, connection: "ConnectionAccount", now: int) -> None:
        """A request is over: account for it, judge it, hand it over."""
        tally = self.tally
        tally[_IN_FLIGHT] -= 1
        tally[_REQUESTS] += 1
        if pending.unit < 0:
            tally[_STALE if pending.flags & STALE else _NOT_INFERENCE] += 1
            return
        tally[_INFERENCE] += 1
        self._judge(pending, connection, now)
        if pending.copied and pending.request_done and not pending.flags & REQUEST_TRUNCATED:
            exchange = pending.exchange(connection.id, self.wall_ns, now)
            self._outbox.offer((exchange,), size_in_batch(exchange))
        else:
            self.count("truncated" if pending.copied else "sampled_out")

    def leave_ordinary(self, times: list[int], copies: Sequence[Fields], size: int) -> None:
        """
        As :meth:`leave`, of exchanges without any flag that ended well in the open epoch, their status counted.

        Args:
            times: what each took, to the first byte and to the last, within every bound; this call sorts them.
            copies: those that the sample took.
            size: bytes that they take in a batch at most.
        """
        tally, number = self.tally, len(times)
        tally[_REQUESTS] += number
        tally[_INFERENCE] += number
        tally[self._row + 1] += number
        tally[_DURATION_SUM] += (spent := sum(times))
        tally[_TTFB_SUM] += spent
        times.sort()
        bucket = counted = 0
        while counted < number:
            bucket = bisect_left(self._bounds, times[counted], bucket)
            below = bisect_right(times, self._bounds[bucket], counted) if bucket < len(self._bounds) else number
            tally[_DURATION + bucket] += below - counted
            tally[_TTFB + bucket] += below - counted
            counted = below
        tally[_SAMPLED_OUT] += number - len(copies)
        if copies:
            self._outbox.offer(copies, size)

    def lose(self, pending: Pending) -> None:
        """A request that the framer lost sight of: in the account, not judged."""
        self.tally[_IN_FLIGHT] -= 1
        self.tally[_REQUESTS] += 1
        self.count("not_inference" if pending.unit < 0 else "truncated")
        if pending.unit >= 0:
            self.tally[_INFERENCE] += 1
            self.count("status_other")

    def _judge(self, pending: Pending, connection: "ConnectionAccount", now: int) -> None:
        flags, status, duration = pending.flags, pending.status, now - pending.started_ns
        is_error = status >= 500 or status in self._statuses
        if flags:
            is_error = self._note_flags(flags, is_error)
        if not flags & _NO_VERDICT:
            self.tally[_STATUS[status // 100 if status < 600 else 0]] += 1
        if status and not flags & _NO_VERDICT:
            self._observe(ledgers.DURATION, duration)
            self._observe(ledgers.TTFB, pending.ttfb_ns)
        slow = [duration > bound for bound in self._slow_ns]
        if (status and not flags & CLIENT_ABORTED) or is_error or any(slow):
            self._enter(pending, connection, is_error, slow, now=now)

    def _note_flags(self, flags: int, is_error: bool) -> bool:
        if flags & CLIENT_ABORTED:
            self.count("client_aborts")
            return False
        if flags & RESPONSE_TRUNCATED:
            self.count("response_truncated")
        if flags & UPSTREAM_RESET:
            self.count("upstream_resets")
            return True
        return is_error

    def _observe(self, histogram: int, value: int) -> None:
        self.tally[histogram + bisect_left(self._bounds, value)] += 1
        self.tally[histogram + MAX_BOUNDS + 1] += value

    def _enter(
        self, pending: Pending, connection: "ConnectionAccount", is_error: bool, slow: list[bool], *, now: int
    ) -> None:
        """Into the open epoch, as ``counts.Epoch`` says."""
        row, tally = self.roll(now), self.tally
        if not pending.judged:
            tally[row + 1] += 1
            for slot, is_slow in enumerate(slow):
                tally[row + ledgers.AT_SLOW + slot] += is_slow
        elif is_error:
            tally[row + 1] += 1
        if is_error:
            tally[row + 2] += 1
            self.count("errors")
        if pending.unit < CONNECTION_REQUESTS and (is_error or any(slow)):
            connection.blame(is_error, slow)

    def overdue(self, pendings: Iterable[Pending], connection: "ConnectionAccount", now: int) -> None:
        """Requests that are in flight past the largest bound are slow now, not when they end."""
        if not self._slow_ns:
            return
        limit = now - max(self._slow_ns)
        for pending in pendings:
            if pending.unit >= 0 and not pending.judged and pending.started_ns < limit and not pending.response_done:
                self._enter(pending, connection, False, [True] * len(self._slow_ns), now=now)
                pending.judged = True


class ConnectionAccount:
    """
    What is counted of one client connection; the framer's sink.

    Attributes:
        id: number of the connection in this boot.
    """

    __slots__ = ("_accounts", "_bad", "_cut", "_epoch", "_row", "_slow", "_units", "id")

    def __init__(self, accounts: Accounts, number: int) -> None:
        self._accounts = accounts
        self.id = number
        self._units = 0
        self._epoch = 0
        self._row = 0
        self._cut = 0
        self._bad = False
        self._slow = [False] * LATENCY_SLOTS

    @property
    def is_judged(self) -> bool:
        """Its first requests are over: what comes decides nothing about the connection."""
        return self._units >= CONNECTION_REQUESTS

    def begun(self, pending: Pending) -> None:
        """A request head is complete: decide what to copy."""
        accounts = self._accounts
        accounts.tally[_IN_FLIGHT] += 1
        if pending.head.inference:
            pending.unit = unit = self._units
            self._units = unit + 1
            pending.copied = accounts.takes_all or accounts.sampled()
            if not unit:
                self._open(pending.started_ns)

    def ended(self, pending: Pending, now: int) -> None:
        """The exchange is over."""
        self._accounts.leave(pending, self, now)

    def opaque(self, reason: Opaque, lost: list[Pending]) -> None:
        """Nothing more is framed."""
        if reason is Opaque.HTTP2:
            self._accounts.count("connections_http2")
            return
        self._accounts.count("connections_opaque")
        if reason is Opaque.UNFRAMED:
            self._accounts.count("framing_failures")
        elif reason is Opaque.LIMIT:
            self._accounts.count("framing_limits")
        for pending in lost:
            self._accounts.lose(pending)

    def copied(self) -> StreamCopy | None:
        """Where the bytes of an HTTP/2 connection go."""
        copier = self._accounts.copier
        return None if copier is None else copier.begin(self.id)

    def blame(self, is_error: bool, slow: list[bool]) -> None:
        """One of the first requests was bad: so is the connection, once, while its epoch's verdict is open."""
        accounts = self._accounts
        if accounts.epoch > self._epoch + CONNECTION_SETTLE_EPOCHS or accounts.cuts != self._cut:
            return
        if is_error and not self._bad:
            self._bad = True
            accounts.tally[self._row + ledgers.AT_CONNECTION_BAD] += UNIT
        for slot, is_slow in enumerate(slow):
            if is_slow and not self._slow[slot]:
                self._slow[slot] = True
                accounts.tally[self._row + ledgers.AT_CONNECTION_SLOW + slot] += UNIT

    def _open(self, now: int) -> None:
        self._row = self._accounts.roll(now)
        self._epoch, self._cut = self._accounts.epoch, self._accounts.cuts
        self._accounts.tally[self._row + ledgers.AT_CONNECTIONS] += 1
