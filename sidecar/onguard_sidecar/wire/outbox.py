"""
The way to the analyst: batches over a Unix SOCK_SEQPACKET socket. It never waits and it is bounded.

The analyst listens, the wire connects, again and again with a pause when nobody answers. While nobody listens,
exchanges are dropped and counted, not kept.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from onguard_sidecar import handover
from onguard_sidecar.exchange import Fields
from onguard_sidecar.handover import DATAGRAM_MAX, EMPTY_BATCH, MESSAGE_MAX
from onguard_sidecar.ledger import WIRE_FIELDS, WIRE_INDEX, Ledger

BATCH_S: Final = 0.005
"""Longest time that a batch is collected."""
BACKLOG_BYTES: Final = 8 << 20
"""Datagrams that wait for a busy analyst: three exchanges with both bodies at their caps, or 16,000 small ones."""
RETRY_S: Final = (0.1, 2.0)
"""First and longest pause between attempts to connect."""
_SEND_BUFFER: Final = 1 << 20
"""Asked of the kernel, which gives less by default (net.core.wmem_max)."""
_HANDED_OVER: Final = WIRE_INDEX["handed_over"]
_WAITING: Final = WIRE_INDEX["outbox"]
_OUTBOX_FULL: Final = WIRE_INDEX["dropped_outbox_full"]
_NO_ANALYST: Final = WIRE_INDEX["dropped_no_analyst"]
_TOO_LARGE: Final = WIRE_INDEX["dropped_too_large"]
_ANALYST_DIED: Final = WIRE_INDEX["dropped_analyst_died"]
_WAITING_BYTES: Final = WIRE_INDEX["outbox_bytes"]
_COUNTERS: Final = len(WIRE_FIELDS)
"""Published with each batch; histograms and epochs follow with the next sweep."""


class Outbox:
    """Each exchange that is offered ends in exactly one field of the ledger: ``handed_over`` or ``dropped_*``."""

    def __init__(self, path: Path, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._path, self._ledger, self._loop = str(path), ledger, loop
        self._tally = ledger.tally
        self._socket: socket.socket | None = None
        self._batch: list[Fields] = []
        self._batch_bytes = EMPTY_BATCH
        self._timer: asyncio.TimerHandle | None = None
        self._backlog: deque[tuple[bytes, int]] = deque()
        """Datagrams, each with the number of exchanges that are handed over with it."""
        self._backlog_bytes = 0
        self._messages = 0
        self._pause_s = RETRY_S[0]
        self._retry: asyncio.TimerHandle | None = None
        self.on_end: Callable[[], None] = lambda: None
        """Called when the analyst is gone."""

    @property
    def is_connected(self) -> bool:
        """The analyst listens."""
        return self._socket is not None

    def pass_on(self, datagram: bytes) -> bool:
        """Send a datagram that holds no exchanges, or drop it: whether it was taken."""
        if self._socket is None or self._backlog_bytes + len(datagram) > BACKLOG_BYTES:
            return False
        self._send([datagram], 0)
        self._tally[_WAITING_BYTES] = self._backlog_bytes
        return True

    def offer(self, exchanges: Sequence[Fields], size: int) -> None:
        """
        Take exchanges for the next batch, or drop and count them.

        Args:
            exchanges: at least one.
            size: bytes that they take in a batch at most.
        """
        if self._socket is None:
            self._tally[_NO_ANALYST] += len(exchanges)
        elif self._batch_bytes + size <= DATAGRAM_MAX:
            self._collect(exchanges, size)
        elif len(exchanges) > 1:
            for exchange in exchanges:
                self.offer((exchange,), handover.size_in_batch(exchange))
        else:
            self._send_batch()  # what came before goes before
            if EMPTY_BATCH + size <= DATAGRAM_MAX:
                self._collect(exchanges, size)
            else:
                self._offer_large(handover.encode(exchanges[0]))

    def _collect(self, exchanges: Sequence[Fields], size: int) -> None:
        self._batch += exchanges
        self._batch_bytes += size
        self._tally[_WAITING] += len(exchanges)
        if self._timer is None:
            self._timer = self._loop.call_later(BATCH_S, self.flush)

    def flush(self) -> None:
        """
        Send what was collected and publish what became of it.

        Only here and where a socket calls, never within :meth:`offer`: a request is in the middle of its account there.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._send_batch()
        self._tally[_WAITING_BYTES] = self._backlog_bytes
        self._ledger.publish(_COUNTERS)

    def _send_batch(self) -> None:
        if self._batch:
            exchanges, self._batch, self._batch_bytes = self._batch, [], EMPTY_BATCH
            self._tally[_WAITING] -= len(exchanges)
            self._send([handover.batch(exchanges)], len(exchanges))

    def connect(self) -> None:
        """Look for the analyst; if there is none, again later."""
        self._retry = None
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            peer.connect(self._path)
        except OSError:  # nobody listens, or not yet
            peer.close()
            self._retry = self._loop.call_later(self._pause_s, self.connect)
            self._pause_s = min(2 * self._pause_s, RETRY_S[1])
            return
        self._pause_s = RETRY_S[0]
        self._socket = peer
        self._loop.add_reader(peer.fileno(), self._on_readable)

    def close(self) -> None:
        """Send what the socket takes at once, drop and count the rest."""
        if self._socket is not None:
            self._send_batch()
            self._disconnect()
            self._ledger.publish(_COUNTERS)
        if self._timer is not None:
            self._timer.cancel()
        if self._retry is not None:
            self._retry.cancel()

    def _offer_large(self, record: bytes) -> None:
        if len(record) > MESSAGE_MAX:
            self._tally[_TOO_LARGE] += 1
            return
        self._messages += 1
        self._send(handover.fragments(record, self._messages), 1)
        if self._timer is None:
            self._timer = self._loop.call_later(BATCH_S, self.flush)

    def _send(self, datagrams: list[bytes], exchanges: int) -> None:
        """All of them or none; the exchanges are handed over with the last."""
        if self._socket is None:
            self._tally[_NO_ANALYST] += exchanges
            return
        size = sum(map(len, datagrams))
        if self._backlog_bytes + size > BACKLOG_BYTES:
            self._tally[_OUTBOX_FULL] += exchanges
            return
        is_idle = not self._backlog
        last = len(datagrams) - 1
        self._backlog.extend((datagram, exchanges * (number == last)) for number, datagram in enumerate(datagrams))
        self._backlog_bytes += size
        self._tally[_WAITING] += exchanges
        if is_idle:
            self._send_backlog()

    def _on_writable(self) -> None:
        self._send_backlog()
        self._tally[_WAITING_BYTES] = self._backlog_bytes
        self._ledger.publish(_COUNTERS)

    def _send_backlog(self) -> None:
        """Send from the backlog until it is empty or the socket is full."""
        peer = self._socket
        while self._backlog and peer is not None:
            datagram, exchanges = self._backlog[0]
            try:
                peer.send(datagram)
            except BlockingIOError:
                self._loop.add_writer(peer.fileno(), self._on_writable)
                return
            except OSError:
                self._disconnect()
                self._retry = self._loop.call_later(self._pause_s, self.connect)
                return
            self._backlog.popleft()
            self._backlog_bytes -= len(datagram)
            self._tally[_WAITING] -= exchanges
            self._tally[_HANDED_OVER] += exchanges
        if peer is not None:
            self._loop.remove_writer(peer.fileno())

    def _on_readable(self) -> None:
        """The analyst sends nothing: this is its end."""
        peer = self._socket
        try:
            if peer is not None and peer.recv(1):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: as good as its end
        self._disconnect()
        self._retry = self._loop.call_later(self._pause_s, self.connect)
        self._ledger.publish(_COUNTERS)

    def _disconnect(self) -> None:
        """
        What was not sent has no receiver; what was sent and is not accounted for died with the analyst.

        The analyst's account is final here, since it counts what it received before its end of the socket closes.
        """
        peer, self._socket = self._socket, None
        if peer is None:
            return
        self._loop.remove_reader(peer.fileno())
        self._loop.remove_writer(peer.fileno())
        peer.close()
        waiting = self._tally[_WAITING]
        self._tally[_WAITING] = 0
        self._tally[_NO_ANALYST] += waiting
        self._batch, self._batch_bytes = [], EMPTY_BATCH
        self._backlog.clear()
        self._backlog_bytes = self._tally[_WAITING_BYTES] = 0
        self.on_end()
        counted = self._ledger.accounted() + self._tally[_ANALYST_DIED]
        self._tally[_ANALYST_DIED] += max(0, self._tally[_HANDED_OVER] - counted)
