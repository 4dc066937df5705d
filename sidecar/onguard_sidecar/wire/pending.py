"""One request on its way: what the framer knows of it until its exchange is complete."""

from onguard_sidecar.exchange import REQUEST_TRUNCATED, RESPONSE_TRUNCATED, Exchange
from onguard_sidecar.wire.bodies import Copy
from onguard_sidecar.wire.heads import RequestHead


class Pending:
    """
    A request in flight. Times are monotonic ns.

    Attributes:
        head: the parsed request head.
        copied: whether bodies are copied (inference that the sample took).
        request_copy, response_copy: bodies that came in pieces.
        request_done, response_done: the message is framed to its end.
        judged: it was still in flight at the largest latency bound and is counted in the epochs.
        unit: number of this inference request on its connection, -1 for other requests.
        closing: its answer carries the ``Connection: close`` of a lame duck.
    """

    __slots__ = (
        "chunks", "closing", "copied", "flags", "gap_ns", "head", "judged", "last_ns", "number", "request_body",
        "request_copy", "request_done", "request_head", "response_body", "response_copy", "response_done",
        "response_head", "started_ns", "status", "ttfb_ns", "unit",
    )  # fmt: skip

    def __init__(self, number: int, head: RequestHead, request_head: bytes, started_ns: int) -> None:
        self.number = number
        self.head = head
        self.request_head = request_head
        self.started_ns = started_ns
        self.copied = False
        self.judged = False
        self.closing = False
        self.unit = -1
        self.request_done = False
        self.response_done = False
        self.request_body = b""
        self.request_copy: Copy | None = None
        self.response_body = b""
        self.response_copy: Copy | None = None
        self.response_head = b""
        self.status = 0
        self.flags = 0
        self.ttfb_ns = -1
        self.last_ns = -1
        self.gap_ns = 0
        self.chunks = 0

    def arrival(self, now: int) -> None:
        """Bytes of the final answer arrived."""
        if self.ttfb_ns < 0:
            self.ttfb_ns = now - self.started_ns
        elif now - self.last_ns > self.gap_ns:
            self.gap_ns = now - self.last_ns
        self.last_ns = now
        self.chunks += 1

    def settle(self) -> None:
        """Join the bodies that came in pieces."""
        if self.request_copy is not None:
            self.request_body = self.request_copy.content()
            self.flags |= REQUEST_TRUNCATED * self.request_copy.truncated
        if self.response_copy is not None:
            self.response_body = self.response_copy.content()
            self.flags |= RESPONSE_TRUNCATED * self.response_copy.truncated

    def exchange(self, connection: int, wall_ns: int, now: int) -> Exchange:
        """The finished value; ``wall_ns`` is what to add to a monotonic time to get wall-clock time."""
        return Exchange(
            connection,
            self.number,
            self.started_ns + wall_ns,
            self.ttfb_ns,
            now - self.started_ns,
            self.status,
            self.flags,
            self.gap_ns,
            self.chunks,
            self.request_head,
            self.request_body,
            self.response_head,
            self.response_body,
        )
