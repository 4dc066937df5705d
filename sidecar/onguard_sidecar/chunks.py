"""
How the bytes of HTTP/2 connections travel from the wire to the analyst: datagrams of *chunks*.

A chunk is what arrived on one side of one connection, with the position of its first byte in that direction, so that
whoever reads it sees that one is missing. All integers are in the machine's own order: both ends run on one.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from onguard_sidecar.handover import DATAGRAM_MAX, HandoverError

CLIENT: Final = 0
"""Bytes of the client's."""
SERVER: Final = 1
"""Bytes of the model's."""
CLIENT_END: Final = 2
"""The client's connection is over: nothing more comes of either side."""
SERVER_END: Final = 3
"""The model half-closed its side."""
SERVER_RESET: Final = 4
"""The model reset the connection."""
LOST: Final = 5
"""Chunks of this connection were dropped on the way, and no more will be sent."""
_KINDS: Final = LOST + 1

_MAGIC: Final = b"OGS1"
_HEAD: Final = struct.Struct("=qqqII")
"""Connection, offset, time, kind, bytes."""
EMPTY: Final = len(_MAGIC)
"""Bytes of a datagram without chunks."""
CHUNK_OVERHEAD: Final = _HEAD.size
CHUNK_MAX: Final = DATAGRAM_MAX - EMPTY - CHUNK_OVERHEAD
"""Bytes of one chunk; more is cut into several."""


class Chunk(NamedTuple):
    """
    Bytes of one side of a connection, or how a side ended.

    Attributes:
        connection: number of the client connection in this boot of the wire.
        kind: one of the constants of this module.
        offset: of the first byte in its direction; 0 for an end.
        now: monotonic ns of the arrival.
        data: empty for an end.
    """

    connection: int
    kind: int
    offset: int
    now: int
    data: bytes = b""


def joined(chunks: Iterable[Chunk]) -> bytes:
    """
    One datagram; the caller keeps it within ``DATAGRAM_MAX``.

    >>> parse(joined([Chunk(7, SERVER, 0, 9, b"xy"), Chunk(7, CLIENT_END, 0, 10)]))[0].data
    b'xy'
    """
    parts = [_MAGIC]
    for connection, kind, offset, now, data in chunks:
        parts += (_HEAD.pack(connection, offset, now, kind, len(data)), data)
    return b"".join(parts)


def are_in(datagram: bytes) -> bool:
    """Whether a datagram holds chunks."""
    return datagram.startswith(_MAGIC)


def parse(datagram: bytes) -> list[Chunk]:
    """
    Inverse of :func:`joined`.

    Raises:
        HandoverError: the lengths do not add up, or a kind is unknown.
    """
    chunks: list[Chunk] = []
    at, end = EMPTY, len(datagram)
    while at < end:
        if at + CHUNK_OVERHEAD > end:
            raise HandoverError(f"expected a chunk at byte {at}, got {end - at} bytes")
        connection, offset, now, kind, size = _HEAD.unpack_from(datagram, at)
        at += CHUNK_OVERHEAD
        if kind >= _KINDS or at + size > end:
            raise HandoverError(f"expected {size} bytes of a known kind at byte {at}, got {end - at} of kind {kind}")
        chunks.append(Chunk(connection, kind, offset, now, datagram[at : at + size]))
        at += size
    return chunks
