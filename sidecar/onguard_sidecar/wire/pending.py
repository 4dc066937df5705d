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
        fed: bytes of a request body that came in pieces.
        charged: bytes charged to the budget beside those of the copies.
        closing: its answer carries the ``Connection: close`` of a lame duck.
    """

    # Defaults stand on the class: most requests set few of them, and a request costs microseconds in all.
    copied = False
    judged = False
    closing = False
    unit = -1
    request_done = False
    response_done = False
    request_body = b""
    request_copy: Copy | None = None
    response_body = b""
    response_copy: Copy | None = None
    response_head = b""
    status = 0
    flags = 0
    ttfb_ns = -1
    last_ns = -1
    gap_ns = 0
    chunks = 0
    charged = 0
    fed = 0

    def __init__(self, number: int, head: RequestHead, request_head: bytes, started_ns: int) -> None:
        self.number = number
        self.head = head
        self.request_head = request_head
        self.started_ns = started_ns

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

    def request_bytes(self) -> int:
        """Bytes of the request that came so far."""
        return len(self.request_head) + (self.fed or (self.head.length if self.request_done else 0))

    def held(self) -> int:
        """Bytes charged to the budget."""
        copies = (self.request_copy, self.response_copy)
        return self.charged + sum(copy.size for copy in copies if copy is not None)

    def exchange(self, connection: int, wall_ns: int, now: int) -> Exchange:
        """The finished value; ``wall_ns`` is what to add to a monotonic time to get wall-clock time."""
        # Not by Exchange(...), whose generated constructor takes twice the time.
        return tuple.__new__(
            Exchange,
            (
                connection, self.number, self.started_ns + wall_ns, self.ttfb_ns, now - self.started_ns,
                self.status, self.flags, self.gap_ns, self.chunks,
                self.request_head, self.request_body, self.response_head, self.response_body,
            ),
        )  # fmt: skip
