"""
Copies of HTTP/2 connections for the analyst, which reads them: the wire itself looks at nothing behind the preface.

The same hand-over as for exchanges, and the same rule: what does not fit is dropped and counted, nothing waits. Without
one chunk the rest of its connection can't be read, so a connection that has lost one is not copied any more.
"""

import asyncio
from typing import Final, Protocol

from onguard_sidecar import chunks
from onguard_sidecar.chunks import CHUNK_MAX, CHUNK_OVERHEAD, Chunk
from onguard_sidecar.handover import DATAGRAM_MAX
from onguard_sidecar.wire.outbox import BATCH_S

PREFACE: Final = b"PRI * HTTP/2.0"
"""The first bytes of a client that speaks HTTP/2 without having asked (RFC 9113, section 3.4)."""
SETTINGS_CAP: Final = 16 << 10
"""Bytes of a server's that may come before the client's preface: it says its settings first, and more would be odd."""
_SETTINGS: Final = 4


def may_begin_settings(start: bytes) -> bool:
    """
    Whether a server's first bytes can be HTTP/2's: a SETTINGS frame of the connection, of less than 64 KiB.

    >>> may_begin_settings(bytes.fromhex("00 0012 04 00 00000000 0003")), may_begin_settings(b"HTTP/1.1 200")
    (True, False)
    """
    return start[:1] in (b"", b"\0") and start[3:4] in (b"", b"\4") and not start[4:9].strip(b"\0")


class Way(Protocol):
    """Where datagrams go."""

    @property
    def is_connected(self) -> bool:
        """Somebody reads them."""

    def pass_on(self, datagram: bytes) -> bool:
        """Take a datagram, or not; never waits."""


class Tally(Protocol):
    """Where is counted what was lost."""

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter."""


class Copier:
    """
    Collects the chunks of all HTTP/2 connections into datagrams.

    Args:
        way: to the analyst.
        tally: counts connections whose copy is not whole.
    """

    def __init__(self, way: Way, tally: Tally, loop: asyncio.AbstractEventLoop) -> None:
        self._way, self._tally, self._loop = way, tally, loop
        self._live: dict[int, StreamCopy] = {}
        """Copies that are whole so far, by connection."""
        self._batch: list[Chunk] = []
        self._bytes = chunks.EMPTY
        self._untold: list[Chunk] = []
        """What the analyst must hear of copies that are not whole any more."""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, connection: int) -> "StreamCopy":
        """The copy of a connection, from its first byte."""
        copy = self._live[connection] = StreamCopy(self, connection)
        return copy

    def add(self, chunk: Chunk) -> None:
        """Take a chunk for the next datagram."""
        size = CHUNK_OVERHEAD + len(chunk.data)
        if self._bytes + size > DATAGRAM_MAX:
            self.flush()
        if chunk.connection not in self._live:  # lost, maybe just now
            return
        self._batch.append(chunk)
        self._bytes += size
        if chunk.kind == chunks.CLIENT_END:
            del self._live[chunk.connection]
        if self._timer is None:
            self._timer = self._loop.call_later(BATCH_S, self.flush)

    def flush(self) -> None:
        """Send what was collected; what can't be sent is lost, and its connections with it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._untold and self._way.pass_on(chunks.joined(self._untold[:_AT_ONCE])):
            del self._untold[:_AT_ONCE]
        batch, self._batch, self._bytes = self._batch, [], chunks.EMPTY
        if batch and not self._way.pass_on(chunks.joined(batch)):
            self._lose({chunk.connection for chunk in batch}, max(chunk.now for chunk in batch))
        if self._untold:
            self._timer = self._loop.call_later(BATCH_S, self.flush)

    def lose_all(self) -> None:
        """The analyst is gone, and with it what it knew of every connection."""
        self._batch, self._bytes = [], chunks.EMPTY
        self._lose(set(self._live), 0)
        self._untold.clear()

    def close(self) -> None:
        """Send what can be sent."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()

    def _lose(self, connections: set[int], now: int) -> None:
        self._tally.count("connections_opaque", len(connections))
        self._tally.count("connections_http2_lost", len(connections))
        for connection in connections:
            self._live.pop(connection, None)
        if self._way.is_connected:
            self._untold += [Chunk(connection, chunks.LOST, 0, now) for connection in connections]


_AT_ONCE: Final = (DATAGRAM_MAX - chunks.EMPTY) // CHUNK_OVERHEAD


class StreamCopy:
    """The copy of one connection, as far as it goes."""

    __slots__ = ("_client_bytes", "_connection", "_copier", "_server_bytes")

    def __init__(self, copier: Copier, connection: int) -> None:
        self._copier, self._connection = copier, connection
        self._client_bytes = self._server_bytes = 0

    def client(self, data: bytes, now: int) -> None:
        """Bytes of the client's."""
        for at in range(0, len(data), CHUNK_MAX):
            piece = data[at : at + CHUNK_MAX]
            self._copier.add(Chunk(self._connection, chunks.CLIENT, self._client_bytes, now, piece))
            self._client_bytes += len(piece)

    def server(self, data: bytes, now: int) -> None:
        """Bytes of the model's."""
        for at in range(0, len(data), CHUNK_MAX):
            piece = data[at : at + CHUNK_MAX]
            self._copier.add(Chunk(self._connection, chunks.SERVER, self._server_bytes, now, piece))
            self._server_bytes += len(piece)

    def end(self, kind: int, now: int) -> None:
        """How a side ended: CLIENT_END, SERVER_END or SERVER_RESET of :mod:`onguard_sidecar.chunks`."""
        self._copier.add(Chunk(self._connection, kind, 0, now))
