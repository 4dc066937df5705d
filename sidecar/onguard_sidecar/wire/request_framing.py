"""The client's half of framing, and how exchanges end; the model's is :mod:`onguard_sidecar.wire.framing`."""

from collections import deque
from typing import Final

from onguard_sidecar import chunks
from onguard_sidecar.exchange import BODY_CAP, CLIENT_ABORTED, HEAD_CAP, REQUEST_TRUNCATED, STALE
from onguard_sidecar.wire.bodies import Body, ChunkedBody, Copy, FixedBody
from onguard_sidecar.wire.heads import (
    CHUNKED,
    FramingError,
    FramingLimitError,
    Heads,
    NotHttpError,
    may_begin_request,
)
from onguard_sidecar.wire.http2 import PREFACE, StreamCopy
from onguard_sidecar.wire.limits import PENDING_BYTES, PIPELINE, Budget
from onguard_sidecar.wire.pending import Pending
from onguard_sidecar.wire.sink import Opaque, Sink

END: Final = b"\r\n\r\n"
_EMPTY_LINE: Final = b"\r\n"
HELD_CAP: Final = 64 << 10
"""Client bytes held while the status of an Upgrade is awaited; a client that sends more gets no framing."""


class _Held(bytearray):
    """Bytes that wait for more, charged to the budget."""

    def add(self, piece: bytes, budget: Budget) -> None:
        if not budget.take(len(piece)):
            raise FramingLimitError("expected no more bytes of unfinished heads than the budget has left")
        self += piece

    def drop(self, budget: Budget) -> None:
        budget.give(len(self))
        self.clear()


class RequestFraming:
    """
    What the client of one connection sent.

    Attributes:
        queue: requests without a complete exchange, oldest first.
        reason: why the bytes are opaque; None while they are framed.
        number: of the next request.
        closed: a lame duck's last answer is complete.
    """

    __slots__ = (
        "_answer_closes", "_budget", "_client_body", "_client_buffer", "_client_since", "_copy", "_heads", "_held",
        "_is_left", "_live", "_out", "_rest", "_sent", "_server_body", "_server_buffer",
        "_server_since", "_sink", "closed", "number", "queue", "reason",
    )  # fmt: skip

    def __init__(self, heads: Heads, sink: Sink, budget: Budget) -> None:
        self._heads, self._budget = heads, budget
        self._sink = sink
        self.queue: deque[Pending] = deque()
        self.reason: Opaque | None = None
        self.closed = False
        self._copy: StreamCopy | None = None
        """Takes the bytes of HTTP/2."""
        self._live = True
        """Neither opaque nor ended."""
        self._is_left = False
        """The model has ended the connection between two requests."""
        self.number = 0
        self._client_body: Body | None = None
        self._client_buffer = _Held()
        self._client_since = 0
        self._held: _Held | None = None
        self._server_body: Body | None = None
        self._server_buffer = _Held()
        self._server_since = 0
        self._answer_closes = False
        self._out: list[bytes] | None = None
        self._sent = 0
        self._rest = b""
        """What a lame duck held back of a connection that is opaque since."""

    @property
    def between_requests(self) -> bool:
        """Every request byte that was fed belongs to a complete request."""
        return self._client_body is None and not self._client_buffer and not self._held

    @property
    def is_at_rest(self) -> bool:
        """Nothing is under way, and the next byte begins a request."""
        return self._live and not self.queue and self.between_requests and self._out is None

    # --- what the client sent ---------------------------------------------------------------------------------

    def feed_client(self, data: bytes, now: int) -> None:
        """Bytes that were forwarded to the model."""
        if not self._live:
            if self._copy is not None:
                self._copy.client(data, now)
            elif self._is_left:
                self._feed_late(data, now)
            return
        if not self.number and (self._client_buffer[: len(PREFACE)] + data[: len(PREFACE)]).startswith(PREFACE):
            self._begin_copy(data, now)
            return
        try:
            self._client(data, now)
        except FramingError as error:
            self._give_up(self._reason_of(error))

    def _begin_copy(self, data: bytes, now: int) -> None:
        """HTTP/2: not framed here, copied from its first byte, with what the model had said before."""
        early, said = bytes(self._client_buffer), bytes(self._server_buffer)
        self._give_up(Opaque.HTTP2)
        self._copy = copy = self._sink.copied()
        if copy is not None:
            copy.client(early + data, now)
            if said:
                copy.server(said, now)

    def _feed_late(self, data: bytes, now: int) -> None:
        """A request that crossed the model's end of an idle connection: the model never sees it."""
        self._is_left, self._live = False, True
        self.feed_client(data, now)
        self._end_all(now, STALE)

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
            pending, start = self.queue[-1], at
            at = body.feed(data, at, pending.request_copy)
            pending.fed += at - start
            if body.done:
                self._client_body = None
                self._request_done(pending)

    def _client_head(self, data: bytes, at: int, now: int) -> int:
        buffer = self._client_buffer
        if not buffer:
            if data.startswith(_EMPTY_LINE, at):  # RFC 9112 2.2: ignored before a request line
                return at + 2
            stop = data.find(END, at) + 4
            if stop > 3:
                return self._open(data[at:stop], data, stop, now)
            self._client_since = now
        known = len(buffer)
        buffer.add(data[at:], self._budget)
        stop = buffer.find(END, max(known - 3, 0)) + 4
        if stop > 3 and not buffer.startswith(_EMPTY_LINE):
            head = bytes(buffer[:stop])
            buffer.drop(self._budget)
            return self._open(head, data, at + stop - known, self._client_since)
        return self._client_head_later(data, known)

    def _client_head_later(self, data: bytes, known: int) -> int:
        """The buffered head is not complete, or an empty line before it was cut in two."""
        buffer = self._client_buffer
        if buffer.startswith(_EMPTY_LINE):
            buffer.drop(self._budget)
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
        pending = Pending(self.number, parsed, head, since)
        if len(self.queue) >= PIPELINE or not self._budget.take(len(head) + PENDING_BYTES):
            raise FramingLimitError(f"expected at most {PIPELINE} requests under way, and room for them")
        pending.charged = len(head) + PENDING_BYTES
        self.number += 1
        self.queue.append(pending)
        self._sink.begun(pending)
        length = parsed.length
        if 0 <= length <= len(data) - at and length <= BODY_CAP:
            if pending.copied and self._may_keep(pending, length, REQUEST_TRUNCATED):
                pending.request_body = data[at : at + length]
            self._request_done(pending)
            return at + length
        if pending.copied:
            pending.request_copy = Copy(self._budget)
        self._client_body = ChunkedBody() if length == CHUNKED else FixedBody(length)
        return at

    def _may_keep(self, pending: Pending, length: int, truncated: int) -> bool:
        """Charge a body that came whole; flag it where there is no room for it."""
        if self._budget.take_body(length):
            pending.charged += length
            return True
        pending.flags |= truncated
        return False

    def _request_done(self, pending: Pending) -> None:
        pending.request_done = True
        if pending.head.upgrade or pending.head.is_connect:
            self._held = _Held()
        if pending.response_done:
            self._complete(pending)

    def _hold(self, data: bytes) -> None:
        held = self._held
        if held is not None:
            held.add(data, self._budget)
            if len(held) > HELD_CAP:
                raise FramingError(f"expected at most {HELD_CAP} bytes before the status of an Upgrade")

    def _complete(self, pending: Pending) -> None:
        self.queue.popleft()
        self._leave(pending, pending.last_ns)

    def _leave(self, pending: Pending, now: int) -> None:
        pending.settle()
        self._sink.ended(pending, now)
        self._budget.give(pending.held())

    # --- the end ---------------------------------------------------------------------------------------------------

    def end_client(self, now: int) -> None:
        """The client's connection is gone: what was in flight is aborted."""
        if self._copy is not None:
            self._copy.end(chunks.CLIENT_END, now)
            self._copy = None
        self._end_all(now, CLIENT_ABORTED)

    def _end_all(self, now: int, flag: int) -> None:
        self._live = False  # what a client sends from now on gets no answer
        while self.queue:
            pending = self.queue.popleft()
            if not pending.response_done:
                pending.flags |= flag
            if flag & STALE:  # neither the model nor the analyst has seen it
                pending.unit = -1
            self._leave(pending, now)
        self._server_body = None
        self._drop_buffers()

    def _drop_buffers(self) -> None:
        for buffer in (self._client_buffer, self._server_buffer, self._held):
            if buffer is not None:
                buffer.drop(self._budget)

    def _reason_of(self, error: FramingError) -> Opaque:
        if isinstance(error, FramingLimitError):
            return Opaque.LIMIT
        return Opaque.NOT_HTTP if isinstance(error, NotHttpError) and not self.number else Opaque.UNFRAMED

    def _give_up(self, reason: Opaque) -> None:
        if self.reason is None:
            self.reason = reason
            self._live = False
            lost = list(self.queue)
            self.queue.clear()
            if self._out is not None:
                self._rest = bytes(self._server_buffer[self._sent :])
            self._drop_buffers()
            self._client_body = self._server_body = self._held = None
            self._sink.opaque(reason, lost)
            for pending in lost:
                self._budget.give(pending.held())
