"""
HTTP/2 read from copies of both directions of a connection (RFC 9113, RFC 7541): bytes -> what happened on its streams.

What can't be followed without doubt ends the reading of that connection for good, since the tables of header
compression are then unknown. This module loads hpack and hyperframe, about 5 MiB: import it when the first such
connection comes.
"""

import struct
from typing import Final, NamedTuple

from hpack import Decoder, HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
BLOCK_BYTES: Final = 64 << 10
"""Bytes of one header block, compressed and expanded, as of a head of HTTP/1; and of any other frame that is held until
it is whole. Servers of gRPC refuse more than 8 to 16 KiB."""
TABLE_BYTES: Final = 64 << 10
"""Bytes of one table of header compression: peers ask for 4 KiB, some for 64; a larger one is not followed."""

_HEADER: Final = 9
_DATA: Final = 0
_SKIPPED: Final = frozenset((2, 6, 8))
"""PRIORITY, PING, WINDOW_UPDATE. Of types that are unknown the rest of the world says the same: skip them."""
_READ: Final = frozenset((1, 3, 4, 5, 7, 9))
"""HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, GOAWAY, CONTINUATION."""
_END_STREAM: Final = 1
_PADDED: Final = 8
_FRAME: Final = struct.Struct(">HBBBI")

_INDICES: Final = bytes(range(0x81, 0xFF))
"""Fields that are one index of one byte."""
_KNOWN: Final = 16
_KNOWN_BYTES: Final = 32
"""Blocks remembered in one direction, and fields of each: a client has a few methods and a dozen fields. Their values
are the table's own, so that all of them cost 32 KiB at most."""

Fields = list[tuple[bytes, bytes]]


class Http2Error(ValueError):
    """The bytes can't be followed any more."""


class Http2LimitError(Http2Error):
    """To follow the bytes would take more memory than is allowed."""


class Headers(NamedTuple):
    """Header fields of a stream, or its trailers; ``fields`` as they came, names in lower case."""

    stream: int
    fields: Fields
    ends: bool
    """The sender is done with the stream."""


class Content(NamedTuple):
    """Some bytes of a stream's body, without padding; maybe none."""

    stream: int
    data: bytes
    ends: bool


class Reset(NamedTuple):
    """RST_STREAM with its error code."""

    stream: int
    code: int


class GoAway(NamedTuple):
    """Streams of the other side above ``last`` were not and will not be looked at."""

    last: int


class TableSize(NamedTuple):
    """The sender lets the other side's compression use a table of so many bytes."""

    size: int


Event = Headers | Content | Reset | GoAway | TableSize


class Half:
    """
    One direction of a connection.

    Args:
        preface: bytes that must come first: PREFACE from a client, nothing from a server.
    """

    def __init__(self, preface: bytes = b"") -> None:
        self._held = bytearray()
        self._preface = preface
        self._is_first = True
        """No frame was seen yet."""
        self._skip = 0
        """Bytes still to come of what is not looked at."""
        self._content = 0
        """Bytes still to come of a DATA frame's content."""
        self._padding = 0
        self._data = Content(0, b"", False)
        """The DATA frame under way: its stream, and whether it ends it."""
        self._block: HeadersFrame | PushPromiseFrame | None = None
        """What the CONTINUATION frames to come belong to."""
        self._known: dict[bytes, Fields] = {}
        """Blocks of nothing but indices, until the table changes."""
        self._decoder = Decoder(max_header_list_size=BLOCK_BYTES)

    def allow_table(self, size: int) -> None:
        """The other side has allowed so much. When this side learns of it is unknown, so that the largest one holds."""
        allowed = max(self._decoder.max_allowed_table_size, min(size, TABLE_BYTES))
        self._decoder.max_allowed_table_size = allowed

    def feed(self, data: bytes) -> list[Event]:
        """
        What these bytes complete.

        Raises:
            Http2Error: no more can be read of this connection.
        """
        self._held += data
        events: list[Event] = []
        try:
            while taken := self._step(events):
                del self._held[:taken]
        except (HyperframeError, HPACKError) as error:
            raise Http2Error(f"expected HTTP/2, got {type(error).__name__}") from None
        return events

    def _step(self, events: list[Event]) -> int:
        """Look at the next piece; how many bytes it took."""
        held = self._held
        if self._preface:
            return self._take_preface()
        if self._skip:
            taken = min(self._skip, len(held))
            self._skip -= taken
            return taken
        if self._content:
            return self._take_content(events)
        return self._take_frame(events) if len(held) >= _HEADER else 0

    def _take_preface(self) -> int:
        size = min(len(self._preface), len(self._held))
        if self._held[:size] != self._preface[:size]:
            raise Http2Error("expected the preface of HTTP/2")
        self._preface = self._preface[size:]
        return size

    def _take_frame(self, events: list[Event]) -> int:
        held = self._held
        size, kind, flags, stream = _frame_header(held)
        if self._block is not None and kind != ContinuationFrame.type:
            raise Http2Error(f"expected a CONTINUATION frame, got type {kind}")
        if self._is_first and kind != SettingsFrame.type:  # RFC 9113, 3.4: of either side
            raise Http2Error(f"expected a SETTINGS frame first, got type {kind}")
        self._is_first = False
        if kind == _DATA:
            return self._begin_content(size, flags, stream, events)
        if kind in _SKIPPED or kind not in _READ:
            self._skip = size
            return _HEADER
        if size > BLOCK_BYTES:
            raise Http2LimitError(f"expected a frame of at most {BLOCK_BYTES} bytes, got {size}")
        end = _HEADER + size
        if len(held) < end:
            return 0
        frame, _ = Frame.parse_frame_header(memoryview(bytes(held[:_HEADER])))
        frame.parse_body(memoryview(bytes(held[_HEADER:end])))
        self._take(frame, events)
        return end

    def _begin_content(self, size: int, flags: int, stream: int, events: list[Event]) -> int:
        taken, padding = _HEADER, 0
        if flags & _PADDED:
            if len(self._held) <= _HEADER:
                return 0
            padding, taken = self._held[_HEADER], _HEADER + 1
            size -= 1 + padding
        if size < 0 or not stream:
            raise Http2Error("expected a stream's content, and less padding than that")
        self._content, self._padding = size, padding
        self._data = Content(stream, b"", bool(flags & _END_STREAM))
        if not size:
            events.append(self._data)
            self._skip, self._padding = padding, 0
        return taken

    def _take_content(self, events: list[Event]) -> int:
        """What has come of a DATA frame, which may be as large as 16 MiB; padding follows its content."""
        taken = min(self._content, len(self._held))
        if taken:
            self._content -= taken
            ends = self._data.ends and not self._content
            events.append(Content(self._data.stream, bytes(self._held[:taken]), ends))
        if not self._content:
            self._skip, self._padding = self._padding, 0
        return taken

    def _take(self, frame: Frame, events: list[Event]) -> None:
        match frame:
            case HeadersFrame() | PushPromiseFrame():
                self._block = frame
                self._take_block(frame, events)
            case ContinuationFrame():
                self._continue(frame, events)
            case SettingsFrame():
                if SettingsFrame.HEADER_TABLE_SIZE in frame.settings:
                    events.append(TableSize(frame.settings[SettingsFrame.HEADER_TABLE_SIZE]))
            case RstStreamFrame():
                events.append(Reset(frame.stream_id, frame.error_code))
            case GoAwayFrame():
                events.append(GoAway(frame.last_stream_id))

    def _continue(self, frame: ContinuationFrame, events: list[Event]) -> None:
        block = self._block
        if block is None or block.stream_id != frame.stream_id:
            raise Http2Error("expected CONTINUATION frames only of the header block before them")
        block.data += frame.data
        if len(block.data) > BLOCK_BYTES:
            raise Http2LimitError(f"expected a header block of at most {BLOCK_BYTES} bytes")
        if "END_HEADERS" in frame.flags:
            block.flags.add("END_HEADERS")
        self._take_block(block, events)

    def _take_block(self, block: HeadersFrame | PushPromiseFrame, events: list[Event]) -> None:
        if "END_HEADERS" not in block.flags:
            return
        self._block = None
        fields = self._fields(block.data)
        if isinstance(block, HeadersFrame):  # what a server pushes was not asked for: only its compression matters
            events.append(Headers(block.stream_id, fields, "END_STREAM" in block.flags))

    def _fields(self, block: bytes) -> Fields:
        """A block of nothing but indices leaves the table as it is (RFC 7541, 6.1), and comes with every call."""
        is_known = len(block) <= _KNOWN_BYTES and not block.translate(None, _INDICES)
        if is_known and block in self._known:
            return self._known[block]
        fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        if not is_known or len(self._known) >= _KNOWN:
            self._known.clear()
        if is_known:
            self._known[block] = fields
        return fields


def _frame_header(held: bytearray) -> tuple[int, int, int, int]:
    """Bytes of the frame behind its header, type, flags, stream."""
    high, low, kind, flags, stream = _FRAME.unpack_from(held)
    return (high << 8) + low, kind, flags, stream & 0x7FFFFFFF
