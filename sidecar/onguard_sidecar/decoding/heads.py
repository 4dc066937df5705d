"""The few facts of an HTTP/1 head that decoding needs; everything else in it is never looked at."""

from typing import NamedTuple

_CONTENT_TYPE = b"\r\ncontent-type:"
_CONTENT_ENCODING = b"\r\ncontent-encoding:"


class Head(NamedTuple):
    """Of a request: method and path without its query. Of an answer both are empty."""

    method: str
    path: str
    content_type: str
    content_encoding: str


def parse(head: bytes) -> Head:
    r"""
    Read a head as framed, with its line ends.

    >>> parse(b"POST /v1/models/m:predict?x=1 HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\r\n")
    Head(method='POST', path='/v1/models/m:predict', content_type='application/json', content_encoding='')
    >>> parse(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n").content_encoding
    'gzip'
    """
    lowered = head.lower()
    line = head[: head.find(b"\r\n")].decode("latin-1").split(" ")
    is_request = len(line) == 3 and not line[0].startswith("HTTP/")
    method, path = (line[0], line[1].partition("?")[0]) if is_request else ("", "")
    return Head(method, path, _field(lowered, _CONTENT_TYPE), _field(lowered, _CONTENT_ENCODING))


def _field(lowered: bytes, name: bytes) -> str:
    at = lowered.find(name)
    if at < 0:
        return ""
    start = at + len(name)
    return lowered[start : lowered.find(b"\r\n", start)].decode("latin-1").strip()
