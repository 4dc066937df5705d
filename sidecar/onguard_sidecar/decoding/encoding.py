"""Content-encoding of a copied body, undone within a bound (RFC 9110, 8.4)."""

import zlib
from typing import Final

from onguard_sidecar.decoding.batch import Reason, Undecodable

MAX_EXPANDED_BYTES: Final = 4 << 20
"""Four times the copy cap: a table of numbers compresses about so far; a bomb stops here."""
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
"""Window bits that let zlib recognise either header."""


def expand(body: bytes, content_encoding: str, *, limit_bytes: int = MAX_EXPANDED_BYTES) -> bytes | Undecodable:
    """
    The body as it was before ``content_encoding`` (identity, gzip, x-gzip or deflate).

    >>> expand(b"[]", ""), expand(b"[]", "br")
    (b'[]', Undecodable(reason=<Reason.UNSUPPORTED_ENCODING: 'unsupported_encoding'>))
    """
    match content_encoding.strip().lower():
        case "" | "identity":
            return body if len(body) <= limit_bytes else Undecodable(Reason.TOO_LARGE)
        case "gzip" | "x-gzip" | "deflate":
            return _inflate(body, limit_bytes)
        case _:
            return Undecodable(Reason.UNSUPPORTED_ENCODING)


def _inflate(body: bytes, limit_bytes: int) -> bytes | Undecodable:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        expanded = inflater.decompress(body, limit_bytes + 1)
    except zlib.error:
        return Undecodable(Reason.UNSUPPORTED_ENCODING)
    if len(expanded) > limit_bytes:
        return Undecodable(Reason.TOO_LARGE)
    return expanded if inflater.eof else Undecodable(Reason.UNSUPPORTED_ENCODING)
