"""
How exchanges travel from the wire to the analyst: datagrams over a Unix SOCK_SEQPACKET socket.

A *batch* holds whole exchanges, column by column, and each head once: to write and read a column takes a fraction of
the time of a record each. An exchange too large for one datagram goes as a record in numbered *fragments*. The socket
keeps order and boundaries, so a fragment that does not continue the one before means that something was lost: the
unfinished message is given up and counted.

All integers are in the machine's own order: both ends run on one.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, Final, Self

from onguard_sidecar.exchange import Exchange, Fields

DATAGRAM_MAX: Final = 60_000
"""Bytes of one datagram: far below the socket's default buffer (about 208 KiB), so that several fit."""
MESSAGE_MAX: Final = 4 << 20
"""Bytes of one fragmented record: two bodies and two heads at their caps are less."""

_BATCH: Final = b"OGB2"
_FRAGMENT: Final = b"OGF1"
_NUMBERS: Final = 9
"""Integers of an Exchange, before its four byte strings."""
_RECORD: Final = struct.Struct("=qqqqqqqqqIIII")
"""The integers of an Exchange, then the lengths of its byte strings."""
_START: Final = struct.Struct("=4sII")
"""Kind, exchanges, heads. Then the integers; which head each request and each answer has, and the lengths of request
bodies, answer bodies and heads; these three themselves."""
_PART: Final = struct.Struct("=QIII")
"""Message number, fragment number, fragments in all, bytes in all."""
OVERHEAD: Final = 8 * _NUMBERS + 6 * 4
"""Bytes of a batch that an exchange takes at most beyond its byte strings."""
EMPTY_BATCH: Final = _START.size
_PART_PAYLOAD: Final = DATAGRAM_MAX - len(_FRAGMENT) - _PART.size


class HandoverError(ValueError):
    """A datagram is not what the wire sends."""


def encode(exchange: Fields) -> bytes:
    """One record."""
    parts = exchange[_NUMBERS:]
    return b"".join((_RECORD.pack(*exchange[:_NUMBERS], *map(len, parts)), *parts))


def decode(record: bytes) -> Exchange:
    """
    Inverse of :func:`encode`.

    Raises:
        HandoverError: if the lengths do not add up.
    """
    if len(record) < _RECORD.size:
        raise HandoverError(f"expected a record of at least {_RECORD.size} bytes, got {len(record)}")
    fields = _RECORD.unpack_from(record)
    pieces = _cut(record, _RECORD.size, fields[_NUMBERS:])
    return Exchange(*fields[:_NUMBERS], *pieces)


def _cut(data: bytes, at: int, lengths: Sequence[int]) -> list[bytes]:
    """The pieces from ``at`` to the end."""
    *starts, end = accumulate(lengths, initial=at)
    if end != len(data):
        raise HandoverError(f"expected a record of {end} bytes, got {len(data)}")
    return [data[start:stop] for start, stop in pairwise((*starts, end))]


def size_in_batch(exchange: Fields) -> int:
    """Bytes that an exchange adds to a batch at most."""
    return OVERHEAD + sum(map(len, exchange[_NUMBERS:]))


def batch(exchanges: Sequence[Fields]) -> bytes:
    """One datagram of exchanges, at least one; the caller keeps it within ``DATAGRAM_MAX``."""
    *numbers, asked, bodies, answered, answers = zip(*exchanges, strict=True)
    place = {head: number for number, head in enumerate(dict.fromkeys((*asked, *answered)))}
    find = place.__getitem__
    sizes = (*map(find, asked), *map(find, answered), *map(len, bodies), *map(len, answers), *map(len, place))
    count = len(exchanges)
    start = struct.pack(
        f"=4sII{_NUMBERS * count}q{len(sizes)}I", _BATCH, count, len(place), *chain.from_iterable(numbers), *sizes
    )
    return b"".join((start, *bodies, *answers, *place))


def _exchanges(datagram: bytes) -> "Exchanges":
    """Inverse of :func:`batch`."""
    if len(datagram) < _START.size:
        raise HandoverError(f"expected a batch of at least {_START.size} bytes, got {len(datagram)}")
    _, count, heads = _START.unpack_from(datagram)
    layout = struct.Struct(f"={_NUMBERS * count}q{4 * count + heads}I")
    if len(datagram) < _START.size + layout.size:
        raise HandoverError(f"expected a batch of {count} exchanges, got {len(datagram)} bytes")
    fields = layout.unpack_from(datagram, _START.size)
    numbers, sizes = fields[: _NUMBERS * count], fields[_NUMBERS * count :]
    pieces = _cut(datagram, _START.size + layout.size, sizes[2 * count :])
    table = pieces[2 * count :]
    if count and max(sizes[: 2 * count]) >= heads:
        raise HandoverError(f"expected the number of one of {heads} heads")
    asked, answered = ([table[i] for i in sizes[at : at + count]] for at in (0, count))
    columns = [numbers[at : at + count] for at in range(0, len(numbers), count)] if count else [()] * _NUMBERS
    return Exchanges((*columns, asked, pieces[:count], answered, pieces[count : 2 * count]))


class Exchanges:
    """
    Exchanges of one datagram; each is made when it is asked for.

    Attributes:
        columns: the fields of an Exchange, each with a value for every one.
    """

    __slots__ = ("columns",)

    def __init__(self, columns: tuple[Sequence[Any], ...]) -> None:
        self.columns = columns

    @classmethod
    def of(cls, exchanges: Iterable[Exchange]) -> Self:
        """These exchanges, at least one."""
        return cls(tuple(zip(*exchanges, strict=True)))

    def __len__(self) -> int:
        return len(self.columns[0])

    def __iter__(self) -> Iterator[Exchange]:
        return map(Exchange._make, zip(*self.columns, strict=True))

    def between(self, start: int, end: int) -> "Exchanges":
        """A part of them."""
        return Exchanges(tuple(column[start:end] for column in self.columns))


NOTHING: Final = Exchanges(((),) * len(Exchange._fields))


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

    def feed(self, datagram: bytes) -> Exchanges:
        """
        Exchanges that this datagram completes.

        Raises:
            HandoverError: the datagram is malformed; nothing of it was taken.
        """
        kind = datagram[:4]
        if kind == _BATCH:
            self._give_up()
            return _exchanges(datagram)
        if kind == _FRAGMENT:
            return self._fragment(datagram)
        raise HandoverError(f"expected a batch or a fragment, got {len(datagram)} bytes of another kind")

    def _fragment(self, datagram: bytes) -> Exchanges:
        start = len(_FRAGMENT) + _PART.size
        if len(datagram) < start:
            raise HandoverError(f"expected a fragment of at least {start} bytes, got {len(datagram)}")
        header = _PART.unpack_from(datagram, len(_FRAGMENT))
        if header[1] == 0:
            self._begin(header)
        elif header != self._expected:
            self._give_up()
            self._skip(header[0])
            return NOTHING
        self._parts.append(datagram[start:])
        return self._finish(header)

    def _begin(self, header: tuple[int, ...]) -> None:
        self._give_up()
        message, _, total, size = header
        if not (size <= MESSAGE_MAX and (total - 1) * _PART_PAYLOAD < size <= total * _PART_PAYLOAD):
            self._given_up = message
            raise HandoverError(f"expected a message of at most {MESSAGE_MAX} bytes, got {size} in {total} fragments")

    def _finish(self, header: tuple[int, ...]) -> Exchanges:
        message, number, total, size = header
        if number + 1 < total:
            self._expected = (message, number + 1, total, size)
            return NOTHING
        record, self._parts, self._expected = b"".join(self._parts), [], None
        return Exchanges.of([decode(record)])

    def _give_up(self) -> None:
        """Forget the unfinished message."""
        if self._expected is not None:
            self._skip(self._expected[0])
        self._parts, self._expected = [], None

    def _skip(self, message: int) -> None:
        if message != self._given_up:
            self._given_up = message
            self.lost += 1
