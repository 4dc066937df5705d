"""
One exchange as the wire saw it: a request, its final answer, and when what happened.

The wire makes it, :mod:`onguard_sidecar.handover` carries it, the analyst decodes it. Bodies are the content as
framed (chunks joined, no trailers), still in their ``Content-Encoding``.
"""

from typing import Final, NamedTuple

BODY_CAP: Final = 1 << 20
"""Bytes copied of each body; what is beyond is forwarded, not copied, and flagged."""
HEAD_CAP: Final = 64 << 10
"""Bytes of one head that the framer accepts; more makes the connection opaque."""

REQUEST_TRUNCATED: Final = 1
"""The request body is longer than the copy."""
RESPONSE_TRUNCATED: Final = 2
"""The response body is longer than the copy."""
CLIENT_ABORTED: Final = 4
"""The client went away before the answer was complete."""
UPSTREAM_RESET: Final = 8
"""The model reset or ended the connection before its answer was complete."""
STALE: Final = 16
"""The model had ended an idle connection before the request reached it: clients send it again. Never handed over."""

Fields = tuple[int, int, int, int, int, int, int, int, int, bytes, bytes, bytes, bytes]
"""An exchange on its way, which needs no names."""


class Exchange(NamedTuple):
    """
    A request and what came back. Frozen; times in ns.

    Attributes:
        connection: number of the client connection in this boot of the wire.
        number: of the request on its connection, from 0.
        started_ns: wall clock at the first byte of the request.
        ttfb_ns: from the first byte of the request to the first byte of the final answer; -1 without one.
        duration_ns: from the first byte of the request to the last byte of the answer, or to the abort.
        status: of the final answer; 0 without one.
        flags: sum of the flag constants of this module.
        gap_ns: largest time between two arrivals of answer bytes.
        chunks: arrivals of answer bytes.
        request_head: request line and header lines with the closing empty line.
        request_body: content, at most ``BODY_CAP`` bytes.
        response_head: status line and header lines of the final answer; empty without one.
        response_body: content, at most ``BODY_CAP`` bytes.
    """

    connection: int
    number: int
    started_ns: int
    ttfb_ns: int
    duration_ns: int
    status: int
    flags: int
    gap_ns: int
    chunks: int
    request_head: bytes
    request_body: bytes
    response_head: bytes
    response_body: bytes

    @property
    def request_truncated(self) -> bool:
        """The request body is longer than the copy."""
        return bool(self.flags & REQUEST_TRUNCATED)

    @property
    def response_truncated(self) -> bool:
        """The response body is longer than the copy."""
        return bool(self.flags & RESPONSE_TRUNCATED)

    @property
    def client_aborted(self) -> bool:
        """The client went away before the answer was complete."""
        return bool(self.flags & CLIENT_ABORTED)

    @property
    def upstream_reset(self) -> bool:
        """The model reset or ended the connection before its answer was complete."""
        return bool(self.flags & UPSTREAM_RESET)
