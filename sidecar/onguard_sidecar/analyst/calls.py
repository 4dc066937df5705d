"""
One call of HTTP/2, gRPC or not, as an exchange like one of HTTP/1: what is kept of it until it is over.

Heads are kept in HTTP/1's form and only as far as a decoder asks for them. Times are monotonic ns.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from onguard_sidecar.decoding import grpc_status
from onguard_sidecar.wire.accounts import ConnectionAccount
from onguard_sidecar.wire.bodies import Copy
from onguard_sidecar.wire.heads import RequestHead
from onguard_sidecar.wire.limits import PENDING_BYTES, Budget
from onguard_sidecar.wire.pending import Pending

Fields = Sequence[tuple[bytes, bytes]]
Count = Callable[[Pending], None]
_KEPT: Final = frozenset((b"content-type", b"content-encoding", b"grpc-encoding", b"inference-header-content-length"))
GRPC: Final = b"application/grpc"


class Desk:
    """
    What the calls of one connection share.

    Args:
        account: counts them.
        budget: of what all connections keep.
        lose: counts a call that is out of sight.
        shed: counts a call that is not followed, for a limit.
    """

    def __init__(self, account: ConnectionAccount, budget: Budget, *, lose: Count, shed: Count) -> None:
        self._account, self.budget, self._lose, self._shed = account, budget, lose, shed
        self._number = 0

    def begin(self, asked: "Asked", since: int) -> Pending:
        """A call, or a message of a stream, has begun."""
        pending = Pending(self._number, asked.head, asked.text, since)
        self._number += 1
        self._account.begun(pending)
        return pending

    def end(self, pending: Pending, now: int) -> None:
        """It is over, complete or not."""
        pending.settle()
        self._account.ended(pending, now)
        self.budget.give(pending.held())

    def lose(self, pending: Pending) -> None:
        """What becomes of it will not be known."""
        self._lose(pending)
        self.budget.give(pending.held())

    def shed(self, pending: Pending) -> None:
        """There is no room to follow it."""
        self._shed(pending)
        self.budget.give(pending.held())


class Asked:
    """
    The head of a call.

    Attributes:
        path: without its query.
        head: what decides how it is counted.
        text: in HTTP/1's form.
        grpc_encoding: compression of its messages.
    """

    def __init__(self, fields: Fields, is_inference: Callable[[bytes, bytes], bool]) -> None:
        told = dict(fields)
        method, target = told.get(b":method", b""), told.get(b":path", b"")
        self.path = target.partition(b"?")[0]
        self.head = RequestHead(
            length=0,
            is_head=method == b"HEAD",
            is_connect=method == b"CONNECT",
            upgrade=False,
            inference=is_inference(method, target),
            is_ordinary=False,
        )
        self.text = text_of(b"%s %s HTTP/2" % (_clean(method), _clean(self.path)), fields)
        self.grpc_encoding = told.get(b"grpc-encoding", b"").decode("latin-1")


def text_of(line: bytes, fields: Fields) -> bytes:
    """A head in HTTP/1's form, with the fields that decoding asks for."""
    lines = [b"%s: %s" % (name, _clean(value)) for name, value in fields if name in _KEPT]
    return b"\r\n".join((line, *lines, b"", b""))


def _clean(value: bytes) -> bytes:
    """Without what would end a line."""
    return value.translate(None, b"\r\n \x00")


def status_in(fields: Fields) -> int:
    """HTTP's status; 0 where there is none."""
    text = dict(fields).get(b":status", b"")
    return int(text) if text.isdigit() and len(text) == 3 else 0


class Call:
    """A call of one request and one answer."""

    def __init__(self, desk: Desk, asked: Asked, now: int) -> None:
        self._desk = desk
        self._pending = pending = desk.begin(asked, now)
        if desk.budget.take(PENDING_BYTES):
            pending.charged = PENDING_BYTES
        if pending.copied:
            pending.request_copy = Copy(desk.budget)
        self._is_grpc = False
        self.is_over = False

    def under_way(self) -> Iterable[Pending]:
        """What waits for an answer."""
        return (self._pending,)

    def request(self, data: bytes, _now: int) -> None:
        """Some of the request's body."""
        if self._pending.request_copy is not None:
            self._pending.request_copy.add(data)

    def request_done(self) -> None:
        """The client is done."""
        self._pending.request_done = True
        self._leave()

    def answer_head(self, fields: Fields, now: int) -> None:
        """The answer's head, an interim one, or its trailers."""
        pending, status = self._pending, status_in(fields)
        if 100 <= status < 200:
            return
        pending.arrival(now)
        if status and not pending.status:
            pending.status = status
            pending.response_head = text_of(b"HTTP/2 %d" % status, fields)
            self._is_grpc = dict(fields).get(b"content-type", b"").startswith(GRPC)
            if pending.copied:
                pending.response_copy = Copy(self._desk.budget)

    def answer(self, data: bytes, now: int) -> None:
        """Some of the answer's body."""
        self._pending.arrival(now)
        if self._pending.response_copy is not None:
            self._pending.response_copy.add(data)

    def answer_done(self, trailers: Fields, _now: int) -> None:
        """The model is done; ``trailers`` is its last head, maybe its only one."""
        pending = self._pending
        if self._is_grpc:
            pending.status = grpc_status.status_of(dict(trailers).get(b"grpc-status"), pending.status)
        pending.response_done = True
        self._leave()

    def stop(self, flag: int, now: int) -> None:
        """It ends before its time: ``flag`` says by whom. An answer that is complete stays one."""
        pending = self._pending
        if pending.response_done:
            now = pending.last_ns
        else:
            pending.flags |= flag
        self._finish(now)

    def refuse(self, flag: int, now: int) -> None:
        """The model never looked at it: clients send it again."""
        self._pending.flags |= flag
        self._pending.unit = -1
        self._finish(now)

    def lose(self) -> None:
        """Nothing more will be known of it."""
        self._desk.lose(self._pending)
        self.is_over = True

    def _leave(self) -> None:
        if self._pending.request_done and self._pending.response_done:
            self._finish(self._pending.last_ns)

    def _finish(self, now: int) -> None:
        self._desk.end(self._pending, now)
        self.is_over = True
