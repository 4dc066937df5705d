"""
How exchanges travel from the wire to the analyst: datagrams over a Unix SOCK_SEQPACKET socket.

A *batch* holds whole records; a record too large for one datagram goes as numbered *fragments*. The socket keeps
order and boundaries, so a fragment that does not continue the one before means that something was lost: the
unfinished message is given up and counted.

All integers are little-endian; both ends run on one machine.
"""

import struct
from collections.abc import Iterable
from typing import Final

from onguard_sidecar.exchange import Exchange

DATAGRAM_MAX: Final = 60_000
"""Bytes of one datagram: far below the socket's default buffer (about 208 KiB), so that several fit."""
MESSAGE_MAX: Final = 4 << 20
"""Bytes of one fragmented record: two bodies and two heads at their caps are less."""

_BATCH: Final = b"OGB1"
_FRAGMENT: Final = b"OGF1"
_RECORD: Final = struct.Struct("<qqqqqqqqqIIII")
"""The nine integers of an Exchange, then the lengths of its four byte strings."""
_LENGTH: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<IqqqqqqqqqIIII")
"""The length of a record, then its start."""
_PART: Final = struct.Struct("<QIII")
"""Message number, fragment number, fragments in all, bytes in all."""
RECORD_OVERHEAD: Final = _LENGTH.size
"""Bytes of a batch that a record takes beyond its own."""
RECORD_IN_BATCH_MAX: Final = DATAGRAM_MAX - len(_BATCH) - _LENGTH.size
_PART_PAYLOAD: Final = DATAGRAM_MAX - len(_FRAGMENT) - _PART.size


class HandoverError(ValueError):
    """A datagram is not what the wire sends."""


def entry(exchange: Exchange) -> tuple[int, tuple[bytes, ...]]:
    """One record with its length before it, as a batch holds it: its size, and the pieces to join."""
    # Spelled out, since it runs once a request on the data path: half the time of slices and maps.
    connection, number, started, ttfb, duration, status, flags, gap, chunks, head, body, answer_head, answer = exchange
    lengths = (len(head), len(body), len(answer_head), len(answer))
    size = _RECORD.size + sum(lengths)
    start = _ENTRY.pack(
        size, connection, number, started, ttfb, duration, status, flags, gap, chunks, *lengths
    )  # fmt: skip
    return size + _LENGTH.size, (start, head, body, answer_head, answer)


def encode(exchange: Exchange) -> bytes:
    """One record."""
    return b"".join(entry(exchange)[1])[_LENGTH.size :]


def decode(record: bytes) -> Exchange:
    """
    Inverse of :func:`encode`.

    Raises:
        HandoverError: if the lengths do not add up.
    """
    return _decode(record, 0, len(record))


def _decode(data: bytes, at: int, end: int) -> Exchange:
    """The record from ``at`` to ``end``. Spelled out, as :func:`entry`: it runs once a request."""
    start = at + _RECORD.size
    if start > end:
        raise HandoverError(f"expected a record of at least {_RECORD.size} bytes, got {end - at}")
    fields = _RECORD.unpack_from(data, at)
    body = start + fields[9]
    answer_head = body + fields[10]
    answer = answer_head + fields[11]
    if answer + fields[12] != end:
        raise HandoverError(f"expected a record of {answer + fields[12] - at} bytes, got {end - at}")
    parts = (data[start:body], data[body:answer_head], data[answer_head:answer], data[answer:end])
    return tuple.__new__(Exchange, fields[:9] + parts)  # not by its constructor, which takes twice the time


def batch(records: Iterable[bytes]) -> bytes:
    """
    One datagram of whole records; the caller keeps it within ``DATAGRAM_MAX``.

    >>> len(batch([b"", b"xy"]))
    14
    """
    parts = [_BATCH]
    for record in records:
        parts += (_LENGTH.pack(len(record)), record)
    return b"".join(parts)


def joined(pieces: Iterable[bytes]) -> bytes:
    """As :func:`batch`, of the pieces of entries."""
    return b"".join((_BATCH, *pieces))


def size_in_batch(record: bytes) -> int:
    """Bytes that a record adds to a batch."""
    return RECORD_OVERHEAD + len(record)


def fragments(record: bytes, message: int) -> list[bytes]:
    """Datagrams of one large record; ``message`` numbers it uniquely on its connection."""
    total = -(-len(record) // _PART_PAYLOAD)
    return [
        _FRAGMENT
        + _PART.pack(message, number, total, len(record))
        + record[number * _PART_PAYLOAD : (number + 1) * _PART_PAYLOAD]
        for number in range(total)
    ]


class Receiver:
    """
    Reassembly for one connection. Pure: datagrams in, exchanges out.

    Attributes:
        lost: fragmented messages given up because a part was missing.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._parts: list[bytes] = []
        self._expected: tuple[int, ...] | None = None
        self._given_up: int | None = None

    def feed(self, datagram: bytes) -> list[Exchange]:
        """
        Exchanges that this datagram completes.

        Raises:
            HandoverError: the datagram is malformed; nothing of it was taken.
        """
        kind = datagram[:4]
        if kind == _BATCH:
            self._give_up()
            return _records(datagram)
        if kind == _FRAGMENT:
            return self._fragment(datagram)
        raise HandoverError(f"expected a batch or a fragment, got {len(datagram)} bytes of another kind")

    def _fragment(self, datagram: bytes) -> list[Exchange]:
        start = len(_FRAGMENT) + _PART.size
        if len(datagram) < start:
            raise HandoverError(f"expected a fragment of at least {start} bytes, got {len(datagram)}")
        header = _PART.unpack_from(datagram, len(_FRAGMENT))
        if header[1] == 0:
            self._begin(header)
        elif header != self._expected:
            self._give_up()
            self._skip(header[0])
            return []
        self._parts.append(datagram[start:])
        return self._finish(header)

    def _begin(self, header: tuple[int, ...]) -> None:
        self._give_up()
        message, _, total, size = header
        if not (size <= MESSAGE_MAX and (total - 1) * _PART_PAYLOAD < size <= total * _PART_PAYLOAD):
            self._given_up = message
            raise HandoverError(f"expected a message of at most {MESSAGE_MAX} bytes, got {size} in {total} fragments")

    def _finish(self, header: tuple[int, ...]) -> list[Exchange]:
        message, number, total, size = header
        if number + 1 < total:
            self._expected = (message, number + 1, total, size)
            return []
        record, self._parts, self._expected = b"".join(self._parts), [], None
        return [decode(record)]

    def _give_up(self) -> None:
        """Forget the unfinished message."""
        if self._expected is not None:
            self._skip(self._expected[0])
        self._parts, self._expected = [], None

    def _skip(self, message: int) -> None:
        if message != self._given_up:
            self._given_up = message
            self.lost += 1


def _records(datagram: bytes) -> list[Exchange]:
    exchanges, at, end = [], len(_BATCH), len(datagram)
    while at < end:
        if at + _LENGTH.size > end:
            raise HandoverError(f"expected a record length at byte {at}, got the end")
        (length,) = _LENGTH.unpack_from(datagram, at)
        at += _LENGTH.size
        if at + length > end:
            raise HandoverError(f"expected {length} bytes at byte {at}, got {end - at}")
        exchanges.append(_decode(datagram, at, at + length))
        at += length
    return exchanges
