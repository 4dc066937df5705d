"""The few facts of a head that decoding needs, in HTTP/1's form; everything else in it is never looked at."""

from typing import Final, NamedTuple

_CONTENT_TYPE = b"\r\ncontent-type:"
_CONTENT_ENCODING = b"\r\ncontent-encoding:"
_JSON_BYTES = b"\r\ninference-header-content-length:"
_GRPC_ENCODING = b"\r\ngrpc-encoding:"


class Head(NamedTuple):
    """Of a request: method and path without its query. Of an answer both are empty."""

    method: str
    path: str
    content_type: str
    content_encoding: str
    json_bytes: int | None = None
    """Length of the JSON before the binary data of Open Inference v2; None: all is JSON. -1: a length that is none."""
    grpc_encoding: str = ""
    """Compression of gRPC messages that say that they are compressed."""


NONE: Final = Head("", "", "", "")


def parse(head: bytes) -> Head:
    r"""
    Read a head as framed, with its line ends.

    >>> parse(b"POST /v1/models/m:predict?x=1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n")[:3]
    ('POST', '/v1/models/m:predict', 'application/json')
    >>> parse(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n").content_encoding
    'gzip'
    >>> parse(b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 84\r\n\r\n").json_bytes
    84
    """
    lowered = head.lower()
    line = head[: head.find(b"\r\n")].decode("latin-1").split(" ")
    is_request = len(line) == 3 and not line[0].startswith("HTTP/")
    method, path = (line[0], line[1].partition("?")[0]) if is_request else ("", "")
    length = _field(lowered, _JSON_BYTES) if _JSON_BYTES in lowered else None
    json_bytes = None if length is None else _length(length)
    content_type, content_encoding = _field(lowered, _CONTENT_TYPE), _field(lowered, _CONTENT_ENCODING)
    return Head(method, path, content_type, content_encoding, json_bytes, _field(lowered, _GRPC_ENCODING))


def _length(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _field(lowered: bytes, name: bytes) -> str:
    at = lowered.find(name)
    if at < 0:
        return ""
    start = at + len(name)
    return lowered[start : lowered.find(b"\r\n", start)].decode("latin-1").strip()
