"""What a framer tells, and to whom."""

from enum import Enum
from typing import Protocol

from onguard_sidecar.wire.http2 import StreamCopy
from onguard_sidecar.wire.pending import Pending


class Opaque(Enum):
    """Why a connection's bytes are not framed (any more)."""

    NOT_HTTP = "not_http"
    """The first bytes are no HTTP/1 request: TLS, or something else."""
    HTTP2 = "http2"
    """The first bytes are the preface of HTTP/2, gRPC among it: the analyst reads it from a copy."""
    TUNNEL = "tunnel"
    """After 101, or after a CONNECT that succeeded."""
    UNFRAMED = "unframed"
    """HTTP/1 whose framing is broken or ambiguous."""
    LIMIT = "limit"
    """HTTP/1 that would cost more to frame than :mod:`onguard_sidecar.wire.limits` allows."""


class Sink(Protocol):
    """Who hears of requests."""

    def begun(self, pending: Pending) -> None:
        """A request head is complete: decide what to copy."""

    def ended(self, pending: Pending, now: int) -> None:
        """The exchange is over, complete or not; ``now`` is the time of its last byte."""

    def opaque(self, reason: Opaque, lost: list[Pending]) -> None:
        """Nothing more is framed; what was in flight is ``lost`` to the framer."""

    def copied(self) -> StreamCopy | None:
        """Where the bytes of an HTTP/2 connection go; None: nowhere."""
