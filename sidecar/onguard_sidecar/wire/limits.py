"""
What a wire may hold at most, and why so much.

A limit ends in less copying, in a connection that is not framed any more, or in a close; never in an answer of the
wire's own. All defaults together stay below the container's 256 MiB: 25
of the program itself and what is said below. In use and reached are both in the ledger, and
so in ``onguard_wire_limit``, ``onguard_wire_used`` and ``onguard_wire_limit_hits_total``.
"""

from typing import Final, NamedTuple

CONNECTIONS: Final = 4096
"""Client connections. Each costs about 11 KiB here and up to 8 KiB of a small request under way: 80 MiB. At the limit
quiet keep-alive connections are closed; when there is none, the new one is."""
IDLE_S: Final = 3600.0
"""Seconds without a byte in either direction, requests that wait for the model included. Beyond any time-out that a
client, a model or a mesh has by default, so that the wire is never the first to end a connection that is in use."""
BUFFER_BYTES: Final = 64 << 10
"""Bytes that wait to be written to one side, above which nothing is read from the other: one read (at most 256 KiB)
may go beyond it."""
WAITING_BYTES: Final = 96 << 20
"""Bytes that wait to be written, on all connections together: 500 readers that take nothing of long answers. Beyond it
the connection that has been stuck for longest is reset; otherwise the kernel would end the wire, and with it all."""
UNSENT_BYTES: Final = 128 << 10
"""Bytes unsent that the kernel keeps for a connection, in place of up to 4 MiB; it counts as ours."""
KERNEL_BYTES: Final = 128 << 10
"""Receive buffer of the kernel for the model's bytes, in place of up to 6 MiB. The model is in the same pod."""
COPY_BYTES: Final = 32 << 20
"""Bytes of requests and answers under way that are kept for the analyst, on all connections together. Sixteen pairs of
bodies at their caps; beyond it bodies are truncated for the analyst, not for the model."""
HEADS_BYTES: Final = 8 << 20
"""Of these, bytes that bodies may not have: without room for its head a connection can't be framed any more and its
requests are not counted one by one, so that slow uploads would hide other clients' requests."""
FREE_BYTES: Final = 4 << 10
"""A request that came alone, whole and no larger is not charged to COPY_BYTES: nearly all are, and it costs time."""
PIPELINE: Final = 256
"""Requests on one connection without an answer; more makes it opaque. Clients that pipeline send a handful."""
PENDING_BYTES: Final = 512
"""What a request under way costs beside its bytes."""
LINES_FREE: Final = 4096
"""Lines between chunks that one body may have for nothing: 7 ms of framing."""
LINES_PER_ARRIVAL: Final = 16
"""Earned by each arrival, which costs as much by itself: a stream of tokens never reaches the limit."""
BYTES_PER_LINE: Final = 64
"""Bytes that earn another line. Smaller chunks than that, in their thousands, are a flood: framing is given up."""


class Limits(NamedTuple):
    """The limits that the environment may change."""

    connections: int = CONNECTIONS
    idle_s: float = IDLE_S
    waiting: int = WAITING_BYTES


class Budget:
    """
    COPY_BYTES, shared by all framers of a wire.

    Attributes:
        left: bytes that may still be kept.
        shed: bodies of which less was kept for want of room.
    """

    __slots__ = ("left", "shed", "size")

    def __init__(self, size: int = COPY_BYTES) -> None:
        self.size = self.left = size
        self.shed = 0

    def take(self, count: int) -> bool:
        """Whether so many bytes may be kept; they are charged then."""
        if count > self.left:
            return False
        self.left -= count
        return True

    def take_body(self, count: int) -> bool:
        """The same for the copy of a body, which leaves room for heads; counted where it is refused."""
        if count > self.left - HEADS_BYTES:
            self.shed += 1
            return False
        self.left -= count
        return True

    def give(self, count: int) -> None:
        """So many bytes are kept no longer."""
        self.left += count
