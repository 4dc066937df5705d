"""
A call of ``ModelStreamInfer``: each message of the client's is a request of its own, with the first answer that is its.

An answer belongs to the oldest request under way with the same ``id``; without ids, to the oldest. So a client that
asks for several answers to one request and gives no ids gets them counted with the requests after it. An answer beyond
the first of its request is not read. A stream may stay open for days: nothing of it is kept but requests under way.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from onguard_sidecar.analyst.calls import GRPC, Asked, Desk, Fields, status_in, text_of
from onguard_sidecar.decoding import grpc_messages, grpc_status
from onguard_sidecar.decoding import open_inference_grpc as protocol
from onguard_sidecar.exchange import RESPONSE_TRUNCATED
from onguard_sidecar.wire.bodies import Copy
from onguard_sidecar.wire.limits import Budget
from onguard_sidecar.wire.pending import Pending

MESSAGES: Final = 256
"""Requests of one stream without an answer, as of one connection of HTTP/1; more are counted as truncated."""
_HEAD: Final = text_of(b"HTTP/2 200", ((b"content-type", GRPC),))


class Messages:
    """One direction of a stream, cut into messages; of each the first ``BODY_CAP`` bytes are kept, with its prefix."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._prefix = b""
        self._left = 0
        self._copy = Copy(budget)
        self._since = 0

    def feed(self, data: bytes, now: int) -> Iterator[tuple[Copy, int]]:
        """Messages that these bytes complete, with the time of their first byte."""
        at, size = 0, grpc_messages.PREFIX.size
        while at < len(data):
            if len(self._prefix) < size:
                self._since = self._since if self._prefix else now
                piece = data[at : at + size - len(self._prefix)]
                self._prefix += piece
                if len(self._prefix) == size:
                    self._left = grpc_messages.PREFIX.unpack(self._prefix)[1]
            else:
                piece = data[at : at + self._left]
                self._left -= len(piece)
            at += len(piece)
            self._copy.add(piece)
            if len(self._prefix) == size and not self._left:
                yield self._copy, self._since
                self._copy, self._prefix = Copy(self._budget), b""

    def drop(self) -> None:
        """Forget the message under way."""
        self._budget.give(self._copy.size)
        self._copy, self._prefix = Copy(self._budget), b""


class StreamedCall:
    """A call with many requests and answers."""

    def __init__(self, desk: Desk, asked: Asked, now: int) -> None:
        self._desk, self._asked, self._since = desk, asked, now
        self._requests, self._answers = Messages(desk.budget), Messages(desk.budget)
        self._waiting: list[tuple[str | None, Pending]] = []
        """Requests without an answer, oldest first, by id; None: an id that could not be read."""
        self._was_asked = False
        self._status = 0
        self._encoding = ""
        self.is_over = False

    def under_way(self) -> Iterable[Pending]:
        """What waits for an answer."""
        return [pending for _, pending in self._waiting]

    def request(self, data: bytes, now: int) -> None:
        """Some of the client's messages."""
        for copy, since in self._requests.feed(data, now):
            self._was_asked = True
            pending = self._desk.begin(self._asked, since)
            pending.request_copy, pending.request_done = copy, True
            if len(self._waiting) >= MESSAGES:
                self._desk.shed(pending)
            else:
                self._waiting.append((self._id_of(copy), pending))

    def request_done(self) -> None:
        """The client asks nothing more; answers may still come."""

    def answer_head(self, fields: Fields, _now: int) -> None:
        """The answer's head, an interim one, or its trailers."""
        status = status_in(fields)
        if status >= 200 and not self._status:
            self._status = status
            self._encoding = dict(fields).get(b"grpc-encoding", b"").decode("latin-1")

    def answer(self, data: bytes, now: int) -> None:
        """Some of the model's messages."""
        for copy, _ in self._answers.feed(data, now):
            self._desk.budget.give(copy.size)
            self._take_answer(copy, now)

    def answer_done(self, trailers: Fields, now: int) -> None:
        """The model is done: what has no answer by now shares the fate of the call."""
        status = grpc_status.status_of(dict(trailers).get(b"grpc-status"), self._status)
        for pending in self._rest(is_call=status != grpc_status.OK):
            pending.arrival(now)
            pending.status, pending.response_head, pending.response_done = status, _HEAD, True
            self._desk.end(pending, now)
        self._close()

    def stop(self, flag: int, now: int) -> None:
        """It ends before its time: ``flag`` says by whom."""
        for pending in self._rest(is_call=True):
            pending.flags |= flag
            self._desk.end(pending, now)
        self._close()

    def refuse(self, flag: int, now: int) -> None:
        """The model never looked at it: clients send it again."""
        for pending in self._rest(is_call=True):
            pending.flags |= flag
            pending.unit = -1
            self._desk.end(pending, now)
        self._close()

    def lose(self) -> None:
        """Nothing more will be known of it."""
        for pending in self.under_way():
            self._desk.lose(pending)
        self._close()

    def _rest(self, *, is_call: bool) -> Iterable[Pending]:
        """Requests without an answer; where none was ever made and ``is_call``, the call as the one request."""
        if self._was_asked or not is_call:
            return self.under_way()
        pending = self._desk.begin(self._asked, self._since)
        pending.request_done = True
        return (pending,)

    def _id_of(self, copy: Copy) -> str | None:
        return None if copy.truncated else protocol.identity_of(copy.content(), self._asked.grpc_encoding).id

    def _take_answer(self, copy: Copy, now: int) -> None:
        answer = None if copy.truncated else protocol.stream_answer(copy.content(), self._encoding)
        message = b"" if answer is None else grpc_messages.framed(answer.message)
        wanted = "" if answer is None or answer.is_bare else protocol.identity_of(message, "").id
        pending = self._asker(wanted, is_any=not wanted and (answer is None or answer.is_bare or answer.is_error))
        if pending is None:
            return
        pending.arrival(now)
        pending.status = grpc_status.UNKNOWN if answer is not None and answer.is_error else grpc_status.OK
        pending.flags |= RESPONSE_TRUNCATED * copy.truncated
        pending.response_head, pending.response_body, pending.response_done = _HEAD, message, True
        self._desk.end(pending, now)

    def _asker(self, wanted: str, *, is_any: bool) -> Pending | None:
        """The request that an answer belongs to: the oldest of that id, or the oldest of all."""
        for place, (known, pending) in enumerate(self._waiting):
            if is_any or known == wanted or known is None:
                del self._waiting[place]
                return pending
        return None

    def _close(self) -> None:
        self._waiting.clear()
        self._requests.drop()
        self._answers.drop()
        self.is_over = True
