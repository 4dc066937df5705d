"""
gRPC's length-prefixed messages: a flag, four bytes of length, so many bytes (the public document "gRPC over HTTP2").

The flag says whether the message is compressed, the field ``grpc-encoding`` of the head with what.
"""

import struct
from typing import Final

from onguard_sidecar.decoding import encoding
from onguard_sidecar.decoding.batch import Reason, Undecodable

PREFIX: Final = struct.Struct(">BI")


def only(body: bytes, grpc_encoding: str) -> bytes | Undecodable:
    """
    The one message of a unary call, decompressed within the bound of :mod:`onguard_sidecar.decoding.encoding`.

    >>> only(framed(b"xy"), "")
    b'xy'
    >>> only(framed(b"xy")[:-1], "")
    Undecodable(reason=<Reason.BAD_SHAPE: 'bad_shape'>)
    """
    if len(body) < PREFIX.size:
        return Undecodable(Reason.BAD_SHAPE)
    flag, size = PREFIX.unpack_from(body)
    if len(body) != PREFIX.size + size:
        return Undecodable(Reason.BAD_SHAPE)
    if flag == 0:
        return encoding.expand(body[PREFIX.size :], "")
    known = flag == 1 and grpc_encoding not in ("", "identity")
    return encoding.expand(body[PREFIX.size :], grpc_encoding) if known else Undecodable(Reason.UNSUPPORTED_ENCODING)


def framed(message: bytes) -> bytes:
    """A message with its prefix, uncompressed."""
    return PREFIX.pack(0, len(message)) + message
