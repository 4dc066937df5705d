"""
Content-encoding of a copied body, undone within a bound (RFC 9110, 8.4; RFC 7932 for br, RFC 8878 for zstd).

The libraries for br and zstd are loaded when the first such body comes.
"""

import importlib
import sys
import zlib
from typing import Any, Final

from onguard_sidecar.decoding.batch import Reason, Undecodable

MAX_EXPANDED_BYTES: Final = 4 << 20
"""Four times the copy cap: a table of numbers compresses about so far; a bomb stops here."""
ZSTD_WINDOW_LOG: Final = 23
"""8 MiB, which is what RFC 8878 wants of every decoder; a frame may ask for gigabytes."""
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
"""Window bits that let zlib recognise either header."""
_ZSTD: Final = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


def expand(body: bytes, content_encoding: str, *, limit_bytes: int = MAX_EXPANDED_BYTES) -> bytes | Undecodable:
    """
    The body as it was before ``content_encoding`` (identity, gzip, x-gzip, deflate, br or zstd).

    >>> expand(b"[]", ""), expand(b"[]", "compress")
    (b'[]', Undecodable(reason=<Reason.UNSUPPORTED_ENCODING: 'unsupported_encoding'>))
    """
    match content_encoding.strip().lower():
        case "" | "identity":
            return body if len(body) <= limit_bytes else Undecodable(Reason.TOO_LARGE)
        case "gzip" | "x-gzip" | "deflate":
            return _inflate(body, limit_bytes)
        case "br":
            return _unbrotli(body, limit_bytes)
        case "zstd":
            return _unzstd(body, limit_bytes)
        case _:
            return Undecodable(Reason.UNSUPPORTED_ENCODING)


def _inflate(body: bytes, limit_bytes: int) -> bytes | Undecodable:
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        expanded = inflater.decompress(body, limit_bytes + 1)
    except zlib.error:
        return Undecodable(Reason.UNSUPPORTED_ENCODING)
    return _within(expanded, limit_bytes, whole=inflater.eof)


def _unbrotli(body: bytes, limit_bytes: int) -> bytes | Undecodable:
    brotli: Any = importlib.import_module("brotli")
    decompressor = brotli.Decompressor()
    try:
        expanded: bytes = decompressor.process(body, output_buffer_limit=limit_bytes + 1)
    except brotli.error:
        return Undecodable(Reason.UNSUPPORTED_ENCODING)
    return _within(expanded, limit_bytes, whole=decompressor.is_finished())


def _unzstd(body: bytes, limit_bytes: int) -> bytes | Undecodable:
    zstd: Any = importlib.import_module(_ZSTD)
    window = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    decompressor = zstd.ZstdDecompressor(options=window)
    try:
        expanded: bytes = decompressor.decompress(body, max_length=limit_bytes + 1)
    except zstd.ZstdError:
        return Undecodable(Reason.UNSUPPORTED_ENCODING)
    return _within(expanded, limit_bytes, whole=decompressor.eof)


def _within(expanded: bytes, limit_bytes: int, *, whole: bool) -> bytes | Undecodable:
    if len(expanded) > limit_bytes:
        return Undecodable(Reason.TOO_LARGE)
    return expanded if whole else Undecodable(Reason.UNSUPPORTED_ENCODING)
