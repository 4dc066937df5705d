"""
Where the messages of one HTTP/1 connection begin and end, seen from copies of its bytes (RFC 9112).

The framer is driven by the queue of requests: an answer's framing depends on its request's method, interim answers are
skipped, bytes after an Upgrade or CONNECT are held until the final status, an early answer is matched while its
request still uploads. What it cannot frame without doubt makes the connection opaque; it never raises.
"""

from typing import Final

from onguard_sidecar import chunks
from onguard_sidecar.exchange import BODY_CAP, HEAD_CAP, RESPONSE_TRUNCATED, STALE, UPSTREAM_RESET
from onguard_sidecar.wire.bodies import ChunkedBody, Copy, FixedBody
from onguard_sidecar.wire.closing import with_close
from onguard_sidecar.wire.heads import CHUNKED, UNTIL_END, FramingError, ResponseHead
from onguard_sidecar.wire.http2 import SETTINGS_CAP, may_begin_settings
from onguard_sidecar.wire.pending import Pending
from onguard_sidecar.wire.request_framing import END, RequestFraming
from onguard_sidecar.wire.sink import Opaque

LAME_HEAD_CAP: Final = 16 << 10
"""Bytes of an answer's head that a lame duck holds back to insert ``Connection: close``."""


class Framer(RequestFraming):
    """Framing of one client connection and its model connection."""

    __slots__ = ()

    # --- what the model sent ------------------------------------------------------------------------------------

    def feed_server(self, data: bytes, now: int) -> None:
        """Bytes that were forwarded to the client."""
        if not self._live:
            if self._copy is not None:
                self._copy.server(data, now)
            return
        try:
            self._server(data, now)
        except FramingError as error:
            self._give_up(self._reason_of(error))

    def feed_lame(self, data: bytes, now: int) -> bytes:
        """As :meth:`feed_server`, for a lame duck: before forwarding, returns the bytes to forward now."""
        if self.reason is not None:
            self.feed_server(data, now)
            rest, self._rest = self._rest, b""
            return rest + data
        if self._out is None:
            self._sent = len(self._server_buffer)
        out = self._out = []
        held = bytes(self._server_buffer[self._sent :])
        self.feed_server(data, now)
        if self.reason in (
            Opaque.UNFRAMED,
            Opaque.LIMIT,
        ):  # what was rewritten so far is lost in the doubt: all as it came
            self._rest = b""
            return held + data
        return b"".join(out)

    def flush_lame(self) -> bytes:
        """What a lame duck still holds back when the model ends its connection."""
        held, self._rest = self._rest, b""
        if self._out is not None:
            held += self._server_buffer[self._sent :]
        self._server_buffer.drop(self._budget)
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
            return self._settings_first(data, at)
        buffer = self._server_buffer
        if not buffer:
            stop = data.find(END, at) + 4
            if stop > 3:
                return self._answer(data[at:stop], data, stop, now)
            self._server_since = now
        known = len(buffer)
        buffer.add(data[at:], self._budget)
        stop = buffer.find(END, max(known - 3, 0)) + 4
        if stop <= 3:
            self._server_head_later()
            return len(data)
        head = bytes(buffer[:stop])
        buffer.drop(self._budget)
        return self._answer(head, data, at + stop - known, now)

    def _settings_first(self, data: bytes, at: int) -> int:
        """A server of HTTP/2 need not wait for its client: what it says is kept until that one's first bytes."""
        buffer = self._server_buffer
        buffer.add(data[at:], self._budget)
        if self.number or len(buffer) > SETTINGS_CAP or not may_begin_settings(bytes(buffer[:9])):
            raise FramingError("expected no answer without a request")
        if self._out is not None:
            self._out.append(data[at:])
            self._sent = len(buffer)
        return len(data)

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
            data = bytes(held)
            held.drop(self._budget)
            self._client(data, now)

    def _answer_body(self, parsed: ResponseHead, pending: Pending, data: bytes, at: int) -> int:
        length = parsed.length
        if pending.head.is_head or parsed.status in (204, 304):
            length = 0
        if 0 <= length <= len(data) - at and length <= BODY_CAP:
            if pending.copied and self._may_keep(pending, length, RESPONSE_TRUNCATED):
                pending.response_body = data[at : at + length]
            if self._out is not None:
                self._out.append(data[at : at + length])
            self._response_done(pending)
            return at + length
        if pending.copied:
            pending.response_copy = Copy(self._budget)
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

    # --- the end ---------------------------------------------------------------------------------------------------

    def end_server(self, now: int, *, reset: bool, unacknowledged: int = 0) -> None:
        """
        The model ended (or reset) its connection: that completes an answer without length, and ends all others.

        ``unacknowledged`` bytes of the client's had not reached the model then.
        """
        if self._copy is not None:
            self._copy.end(chunks.SERVER_RESET if reset else chunks.SERVER_END, now)
        body = self._server_body
        if not reset and isinstance(body, FixedBody) and body.until_end and self.queue:
            self._response_done(self.queue[0])
        if self._is_untaken(unacknowledged):
            self._end_all(now, STALE)
            return
        if self._live and not reset:
            self._is_left = self.number > 0 and not self.queue and self.between_requests
        unanswered = 0 if self._answer_closes and self._server_body is None else UPSTREAM_RESET
        self._end_all(now, unanswered)

    @property
    def is_unanswered(self) -> bool:
        """A request is under way, and not one byte of its answer has come."""
        return bool(self.queue) and not (self.queue[0].status or self._server_buffer or self._held)

    def _is_untaken(self, unacknowledged: int) -> bool:
        """Whether the requests under way came to a connection that the model had ended while it was idle."""
        queue = self.queue
        if not self.is_unanswered or not queue[0].number:
            return False
        return unacknowledged >= sum(pending.request_bytes() for pending in queue) + len(self._client_buffer)
