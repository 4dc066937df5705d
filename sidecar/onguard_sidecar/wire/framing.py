"""
Where the messages of one HTTP/1 connection begin and end, seen from copies of its bytes (RFC 9112).

The framer is driven by the queue of requests: an answer's framing depends on its request's method, interim answers are
skipped, bytes after an Upgrade or CONNECT are held until the final status, an early answer is matched while its
request still uploads. What it cannot frame without doubt makes the connection opaque; it never raises.
"""

from collections import deque
from enum import Enum
from typing import Final, Protocol

from onguard_sidecar.exchange import BODY_CAP, CLIENT_ABORTED, HEAD_CAP, UPSTREAM_RESET
from onguard_sidecar.wire.bodies import Body, ChunkedBody, Copy, FixedBody
from onguard_sidecar.wire.closing import with_close
from onguard_sidecar.wire.heads import (
    CHUNKED,
    UNTIL_END,
    FramingError,
    Heads,
    NotHttpError,
    ResponseHead,
    may_begin_request,
)
from onguard_sidecar.wire.pending import Pending

_END: Final = b"\r\n\r\n"
_EMPTY_LINE: Final = b"\r\n"
HELD_CAP: Final = 64 << 10
"""Client bytes held while the status of an Upgrade is awaited; a client that sends more gets no framing."""
LAME_HEAD_CAP: Final = 16 << 10
"""Bytes of an answer's head that a lame duck holds back to insert ``Connection: close``."""


class Opaque(Enum):
    """Why a connection's bytes are not framed (any more)."""

    NOT_HTTP = "not_http"
    """The first bytes are no HTTP/1 request: TLS, HTTP/2 and gRPC, or something else."""
    TUNNEL = "tunnel"
    """After 101, or after a CONNECT that succeeded."""
    UNFRAMED = "unframed"
    """HTTP/1 whose framing is broken or ambiguous."""


class Sink(Protocol):
    """Who hears of requests."""

    def begun(self, pending: Pending) -> None:
        """A request head is complete: decide what to copy."""

    def ended(self, pending: Pending, now: int) -> None:
        """The exchange is over, complete or not; ``now`` is the time of its last byte."""

    def opaque(self, reason: Opaque, lost: list[Pending]) -> None:
        """Nothing more is framed; what was in flight is ``lost`` to the framer."""


class Framer:
    """
    Framing of one client connection and its model connection.

    Attributes:
        queue: requests without a complete exchange, oldest first.
        reason: why the bytes are opaque; None while they are framed.
        closed: a lame duck's last answer is complete.
    """

    __slots__ = (
        "_answer_closes", "_client_body", "_client_buffer", "_client_since", "_heads", "_held", "_live",
        "_number", "_out", "_requests", "_responses", "_sent", "_server_body", "_server_buffer", "_server_since",
        "_sink", "closed", "queue", "reason",
    )  # fmt: skip

    def __init__(self, heads: Heads, sink: Sink) -> None:
        self._heads = heads
        self._requests, self._responses = heads.requests, heads.responses
        self._sink = sink
        self.queue: deque[Pending] = deque()
        self.reason: Opaque | None = None
        self.closed = False
        self._live = True
        """Neither opaque nor ended."""
        self._number = 0
        self._client_body: Body | None = None
        self._client_buffer = bytearray()
        self._client_since = 0
        self._held: bytearray | None = None
        self._server_body: Body | None = None
        self._server_buffer = bytearray()
        self._server_since = 0
        self._answer_closes = False
        self._out: list[bytes] | None = None
        self._sent = 0

    @property
    def between_requests(self) -> bool:
        """Every request byte that was fed belongs to a complete request."""
        return self._client_body is None and not self._client_buffer and not self._held

    # --- what the client sent ---------------------------------------------------------------------------------

    def feed_client(self, data: bytes, now: int) -> None:
        """Bytes that were forwarded to the model."""
        if not self._live:
            return
        if self._client_body is None and not self._client_buffer and self._held is None:
            # The usual case first: one whole request, with a head that was seen before.
            stop = data.find(_END) + 4
            head = data[:stop]
            parsed = self._requests.get(head)
            if parsed is not None and parsed.is_plain and stop + parsed.length == len(data):
                pending = Pending(self._number, parsed, head, now)
                pending.request_body = data[stop:]
                pending.request_done = True
                self._number += 1
                self.queue.append(pending)
                self._sink.begun(pending)
                return
        try:
            self._client(data, now)
        except NotHttpError:
            self._give_up(Opaque.UNFRAMED if self._number else Opaque.NOT_HTTP)
        except FramingError:
            self._give_up(Opaque.UNFRAMED)

    def _client(self, data: bytes, now: int) -> None:
        at, end = 0, len(data)
        while at < end:
            if self._held is not None:
                self._hold(data[at:])
                return
            body = self._client_body
            if body is None:
                at = self._client_head(data, at, now)
                continue
            pending = self.queue[-1]
            at = body.feed(data, at, pending.request_copy)
            if body.done:
                self._client_body = None
                self._request_done(pending)

    def _client_head(self, data: bytes, at: int, now: int) -> int:
        buffer = self._client_buffer
        if not buffer:
            if data.startswith(_EMPTY_LINE, at):  # RFC 9112 2.2: ignored before a request line
                return at + 2
            stop = data.find(_END, at) + 4
            if stop > 3:
                return self._open(data[at:stop], data, stop, now)
            self._client_since = now
        known = len(buffer)
        buffer += data[at:]
        stop = buffer.find(_END, max(known - 3, 0)) + 4
        if stop > 3 and not buffer.startswith(_EMPTY_LINE):
            head = bytes(buffer[:stop])
            buffer.clear()
            return self._open(head, data, at + stop - known, self._client_since)
        return self._client_head_later(data, known)

    def _client_head_later(self, data: bytes, known: int) -> int:
        """The buffered head is not complete, or an empty line before it was cut in two."""
        buffer = self._client_buffer
        if buffer.startswith(_EMPTY_LINE):
            buffer.clear()
            return 2 - known
        if buffer != b"\r" and not may_begin_request(bytes(buffer[:64])):
            raise NotHttpError("expected the start of an HTTP/1 request")
        if len(buffer) > HEAD_CAP:
            raise FramingError(f"expected a head of at most {HEAD_CAP} bytes")
        return len(data)

    def _open(self, head: bytes, data: bytes, at: int, since: int) -> int:
        """A request head is complete and its body, if any, begins at ``at``."""
        if len(head) > HEAD_CAP:
            raise FramingError(f"expected a head of at most {HEAD_CAP} bytes")
        parsed = self._heads.request(head)
        pending = Pending(self._number, parsed, head, since)
        self._number += 1
        self.queue.append(pending)
        self._sink.begun(pending)
        length = parsed.length
        if 0 <= length <= len(data) - at and length <= BODY_CAP:
            if pending.copied:
                pending.request_body = data[at : at + length]
            self._request_done(pending)
            return at + length
        if pending.copied:
            pending.request_copy = Copy()
        self._client_body = ChunkedBody() if length == CHUNKED else FixedBody(length)
        return at

    def _request_done(self, pending: Pending) -> None:
        pending.request_done = True
        if pending.head.upgrade or pending.head.is_connect:
            self._held = bytearray()
        if pending.response_done:
            self._complete(pending)

    def _hold(self, data: bytes) -> None:
        held = self._held
        if held is not None:
            held += data
            if len(held) > HELD_CAP:
                raise FramingError(f"expected at most {HELD_CAP} bytes before the status of an Upgrade")

    # --- what the model sent ------------------------------------------------------------------------------------

    def feed_server(self, data: bytes, now: int) -> None:
        """Bytes that were forwarded to the client."""
        if not self._live:
            return
        queue = self.queue
        if self._server_body is None and not self._server_buffer and queue and self._out is None:
            # The usual case first: one whole answer, with a head that was seen before.
            pending, stop = queue[0], data.find(_END) + 4
            head = data[:stop]
            parsed = self._responses.get(head)
            if (
                parsed is not None
                and parsed.is_plain
                and stop + parsed.length == len(data)
                and pending.head.is_plain
                and pending.request_done
            ):
                pending.response_head = head
                pending.response_body = data[stop:]
                self._answer_at_once(pending, parsed, now)
                return
        try:
            self._server(data, now)
        except FramingError:
            self._give_up(Opaque.UNFRAMED)

    def _answer_at_once(self, pending: Pending, parsed: ResponseHead, now: int) -> None:
        self.queue.popleft()
        pending.status = parsed.status
        pending.ttfb_ns = now - pending.started_ns
        pending.chunks = 1
        pending.response_done = True
        self._answer_closes = not parsed.keeps_alive
        if pending.request_copy is not None:
            pending.settle()
        self._sink.ended(pending, now)

    def feed_lame(self, data: bytes, now: int) -> bytes:
        """As :meth:`feed_server`, for a lame duck: before forwarding, returns the bytes to forward now."""
        if self.reason is not None:
            return data
        if self._out is None:
            self._sent = len(self._server_buffer)
        out = self._out = []
        held = bytes(self._server_buffer[self._sent :])
        self.feed_server(data, now)
        if self.reason is Opaque.UNFRAMED:  # what was rewritten so far is lost in the doubt: all as it came
            return held + data
        return b"".join(out)

    def flush_lame(self) -> bytes:
        """What a lame duck still holds back when the model ends its connection."""
        held = b"" if self._out is None else bytes(self._server_buffer[self._sent :])
        self._server_buffer.clear()
        return held

    def _server(self, data: bytes, now: int) -> None:
        at, end = 0, len(data)
        while at < end:
            start, body = at, self._server_body
            if body is None:
                at = self._server_head(data, at, now)
            else:
                pending = self.queue[0]
                if at == 0:
                    pending.arrival(now)
                at = body.feed(data, at, pending.response_copy)
                if self._out is not None:
                    self._out.append(data[start:at])
                if body.done:
                    self._response_done(pending)
            if self.reason is not None:
                if self._out is not None:
                    self._out.append(data[at:])
                return

    def _server_head(self, data: bytes, at: int, now: int) -> int:
        if not self.queue or self.queue[0].response_done:
            raise FramingError("expected no answer without a request")
        buffer = self._server_buffer
        if not buffer:
            stop = data.find(_END, at) + 4
            if stop > 3:
                return self._answer(data[at:stop], data, stop, now)
            self._server_since = now
        known = len(buffer)
        buffer += data[at:]
        stop = buffer.find(_END, max(known - 3, 0)) + 4
        if stop <= 3:
            self._server_head_later()
            return len(data)
        head = bytes(buffer[:stop])
        buffer.clear()
        return self._answer(head, data, at + stop - known, now)

    def _server_head_later(self) -> None:
        buffer = self._server_buffer
        if len(buffer) > HEAD_CAP or not b"HTTP/1.".startswith(buffer[:7]):
            raise FramingError(f"expected the start of an HTTP/1 response head of at most {HEAD_CAP} bytes")
        if self._out is not None and len(buffer) > LAME_HEAD_CAP:
            self._out.append(bytes(buffer[self._sent :]))
            self._sent = len(buffer)

    def _answer(self, head: bytes, data: bytes, at: int, now: int) -> int:
        """An answer's head is complete and its body, if any, begins at ``at``."""
        parsed = self._heads.response(head)
        pending = self.queue[0]
        if parsed.status < 200 or (pending.head.is_connect and parsed.status < 300):
            return self._interim(parsed, pending, head, at=at, now=now)
        pending.arrival(now)
        pending.status = parsed.status
        pending.response_head = head
        self._answer_closes = not parsed.keeps_alive
        if self._out is not None:
            self._emit_final(head, pending)
        if self._held is not None and pending is self.queue[-1]:
            self._resume(now)
        return self._answer_body(parsed, pending, data, at)

    def _interim(self, parsed: ResponseHead, pending: Pending, head: bytes, *, at: int, now: int) -> int:
        """1xx is skipped; 101 and a successful CONNECT end HTTP here."""
        if self._out is not None:
            self._out.append(head[self._sent :])
            self._sent = 0
        if 100 <= parsed.status < 200 and parsed.status != 101:
            return at
        if self._held is None or len(self.queue) > 1:
            raise FramingError("expected 101 only for an Upgrade")
        pending.arrival(now)
        pending.status, pending.response_head = parsed.status, head
        pending.response_done = True
        self._complete(pending)
        self._give_up(Opaque.TUNNEL)
        return at

    def _resume(self, now: int) -> None:
        """The Upgrade was declined: what the client sent since is HTTP/1."""
        held, self._held = self._held, None
        if held:
            self._client(bytes(held), now)

    def _answer_body(self, parsed: ResponseHead, pending: Pending, data: bytes, at: int) -> int:
        length = parsed.length
        if pending.head.is_head or parsed.status in (204, 304):
            length = 0
        if 0 <= length <= len(data) - at and length <= BODY_CAP:
            if pending.copied:
                pending.response_body = data[at : at + length]
            if self._out is not None:
                self._out.append(data[at : at + length])
            self._response_done(pending)
            return at + length
        if pending.copied:
            pending.response_copy = Copy()
        self._server_body = ChunkedBody() if length == CHUNKED else FixedBody(None if length == UNTIL_END else length)
        return at

    def _emit_final(self, head: bytes, pending: Pending) -> None:
        """The lame duck's answer to the last request that was forwarded says that the connection ends."""
        if self._out is None:
            return
        if pending is self.queue[-1] and self.between_requests and not self._answer_closes:
            pending.closing = True
            head = with_close(head, sent=self._sent)
        self._out.append(head[self._sent :])
        self._sent = 0

    def _response_done(self, pending: Pending) -> None:
        self._server_body = None
        pending.response_done = True
        if pending.closing:
            self.closed = True
        if pending.request_done:
            self._complete(pending)

    def _complete(self, pending: Pending) -> None:
        self.queue.popleft()
        pending.settle()
        self._sink.ended(pending, pending.last_ns)

    # --- the end --------------------------------------------------------------------------------------------------

    def end_server(self, now: int, *, reset: bool) -> None:
        """The model ended (or reset) its connection: that completes an answer without length, and ends all others."""
        body = self._server_body
        if not reset and isinstance(body, FixedBody) and body.until_end and self.queue:
            self._response_done(self.queue[0])
        unanswered = 0 if self._answer_closes and self._server_body is None else UPSTREAM_RESET
        self._end_all(now, unanswered)

    def end_client(self, now: int) -> None:
        """The client's connection is gone: what was in flight is aborted."""
        self._end_all(now, CLIENT_ABORTED)

    def _end_all(self, now: int, flag: int) -> None:
        self._live = False  # what a client sends from now on gets no answer
        while self.queue:
            pending = self.queue.popleft()
            if not pending.response_done:
                pending.flags |= flag
            pending.settle()
            self._sink.ended(pending, now)
        self._server_body = None

    def _give_up(self, reason: Opaque) -> None:
        if self.reason is None:
            self.reason = reason
            self._live = False
            lost = list(self.queue)
            self.queue.clear()
            self._client_body = self._server_body = self._held = None
            self._sink.opaque(reason, lost)
