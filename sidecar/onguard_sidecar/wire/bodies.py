"""Bodies of HTTP/1 messages: where they end, and a copy of their content up to a cap (RFC 9112, sections 6 and 7)."""

import re
from typing import Final, Protocol

from onguard_sidecar.exchange import BODY_CAP
from onguard_sidecar.wire.heads import FramingError, FramingLimitError
from onguard_sidecar.wire.limits import BYTES_PER_LINE, LINES_FREE, LINES_PER_ARRIVAL, Budget

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
LINE_CAP: Final = 16 << 10
"""Bytes of one chunk-size line with extensions, or of one trailer line."""
TRAILER_CAP: Final = 64 << 10
"""Bytes of all trailers, as of a head."""


class Copy:
    """
    The first ``BODY_CAP`` bytes of a body's content, as far as the budget allows.

    Attributes:
        truncated: there was more.
        size: bytes kept, all charged to the budget.
    """

    __slots__ = ("_budget", "_kept", "size", "truncated")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._kept = bytearray()
        self.size = 0
        self.truncated = False

    def add(self, piece: bytes) -> None:
        """Keep as much of the next piece as fits."""
        if self.truncated:
            return
        room = BODY_CAP - self.size
        if len(piece) > room:
            self.truncated = True
            piece = piece[:room]
        if self._budget.take_body(len(piece)):
            self._kept += piece
            self.size += len(piece)
        else:
            self.truncated = True

    def content(self) -> bytes:
        """All that was kept."""
        return bytes(self._kept)


class Body(Protocol):
    """A body that is under way."""

    done: bool

    def feed(self, data: bytes, at: int, copy: Copy | None) -> int:
        """
        Take bytes from position ``at``, return the position after them.

        Raises:
            FramingError: they do not fit the framing.
        """


class FixedBody:
    """A body of known length, or (None) one that only the end of the connection ends."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int | None) -> None:
        self._left = length
        self.done = length == 0

    @property
    def until_end(self) -> bool:
        """Only the end of the connection ends it."""
        return self._left is None

    def feed(self, data: bytes, at: int, copy: Copy | None) -> int:
        """Take up to the end of the body."""
        end = len(data) if self._left is None else min(len(data), at + self._left)
        if copy is not None:
            copy.add(data[at:end])
        if self._left is not None:
            self._left -= end - at
            self.done = self._left == 0
        return end


class ChunkedBody:
    """A body in chunks, with trailers."""

    __slots__ = ("_chunk", "_line", "_lines_left", "_trailer_bytes", "done")

    def __init__(self) -> None:
        self.done = False
        self._lines_left = LINES_FREE
        self._line = b""
        """Start of a line that is not complete."""
        self._chunk = 0
        """Bytes left of the present chunk with its CRLF; 0 between chunks."""
        self._trailer_bytes = -1
        """Bytes of trailers so far; -1 before the last chunk."""

    def feed(self, data: bytes, at: int, copy: Copy | None) -> int:
        """
        Take up to the end of the body.

        Raises:
            FramingError: not what RFC 9112 section 7.1 allows.
            FramingLimitError: a flood of tiny chunks or trailers.
        """
        end = len(data)
        earned = LINES_PER_ARRIVAL + (end - at) // BYTES_PER_LINE
        self._lines_left = min(self._lines_left, LINES_FREE) + earned
        while at < end and not self.done:
            if self._chunk:
                at = self._content(data, at, copy)
            elif self._trailer_bytes < 0 and not self._line and (found := _SIZE.match(data, at)):
                at = found.end()
                self._begin(int(found[1], 16))
            else:
                at = self._incomplete(data, at)
        return at

    def _begin(self, size: int) -> None:
        self._count_line()
        if size:
            self._chunk = size + 2
        else:
            self._trailer_bytes = 0

    def _count_line(self) -> None:
        self._lines_left -= 1
        if self._lines_left < 0:
            raise FramingLimitError(f"expected chunks of at least {BYTES_PER_LINE} bytes in a body of so many")

    def _content(self, data: bytes, at: int, copy: Copy | None) -> int:
        stop = min(len(data), at + self._chunk)
        content = min(stop, at + max(self._chunk - 2, 0))
        if copy is not None and content > at:
            copy.add(data[at:content])
        if content < stop:  # some of the CRLF
            expected = b"\r\n"[2 - min(2, self._chunk) :][: stop - content]
            if data[content:stop] != expected:
                raise FramingError("expected CRLF after a chunk")
        self._chunk -= stop - at
        return stop

    def _incomplete(self, data: bytes, at: int) -> int:
        """Take one line, or the start of one."""
        newline = data.find(b"\n", at)
        stop = len(data) if newline < 0 else newline + 1
        line = self._line + data[at:stop]
        if len(line) > LINE_CAP:
            raise FramingError(f"expected lines of at most {LINE_CAP} bytes between chunks")
        self._line = line
        if newline >= 0:
            self._line = b""
            self._take_line(line)
        return stop

    def _take_line(self, line: bytes) -> None:
        if self._trailer_bytes < 0:
            found = _SIZE.fullmatch(line)
            if not found:
                raise FramingError("expected a chunk size")
            self._begin(int(found[1], 16))
            return
        self._count_line()
        self._trailer_bytes += len(line)
        if not line.endswith(b"\r\n") or self._trailer_bytes > TRAILER_CAP:
            raise FramingError(f"expected trailer lines of at most {TRAILER_CAP} bytes in all")
        self.done = line == b"\r\n"
