"""
``grpc-status`` as the status of HTTP that means the same, so that one objective judges both.

The table is that of Google's public ``google/rpc/code.proto``. What it makes 5xx is the model's error: UNKNOWN (what a
servicer's own exception becomes), DEADLINE_EXCEEDED (it was too slow), UNIMPLEMENTED (a server that does not infer is
none), INTERNAL, UNAVAILABLE and DATA_LOSS. The rest is 4xx, a client's doing until ``errors.statuses`` says otherwise:
a full model that answers RESOURCE_EXHAUSTED is 429.
"""

from typing import Final

OK: Final = 200
_STATUSES: Final = {
    0: OK,  # OK
    1: 499,  # CANCELLED
    2: 500,  # UNKNOWN
    3: 400,  # INVALID_ARGUMENT
    4: 504,  # DEADLINE_EXCEEDED
    5: 404,  # NOT_FOUND
    6: 409,  # ALREADY_EXISTS
    7: 403,  # PERMISSION_DENIED
    8: 429,  # RESOURCE_EXHAUSTED
    9: 400,  # FAILED_PRECONDITION
    10: 409,  # ABORTED
    11: 400,  # OUT_OF_RANGE
    12: 501,  # UNIMPLEMENTED
    13: 500,  # INTERNAL
    14: 503,  # UNAVAILABLE
    15: 500,  # DATA_LOSS
    16: 401,  # UNAUTHENTICATED
}
UNKNOWN: Final = 500


def status_of(grpc_status: bytes | None, http_status: int) -> int:
    """
    The status of a call that has ended.

    Args:
        grpc_status: as its trailers told it; None: they did not, which clients take for UNKNOWN.
        http_status: of its answer's head; anything but 200 was answered by something that is no gRPC server.

    >>> status_of(b"0", 200), status_of(b"8", 200), status_of(b"77", 200), status_of(None, 200), status_of(None, 502)
    (200, 429, 500, 500, 502)
    """
    if grpc_status is None:
        return UNKNOWN if http_status == OK else http_status
    code = int(grpc_status) if grpc_status.isdigit() and len(grpc_status) < 4 else -1
    return _STATUSES.get(code, UNKNOWN)
