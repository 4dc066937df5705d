"""The one stated exception to byte equality: a lame duck says ``Connection: close`` in an answer's head."""

import re
from typing import Final

_CONNECTION: Final = re.compile(rb"(?i)(\r\nconnection:[ \t]*+)([^\r\n]*+)")


def with_close(head: bytes, *, sent: int = 0) -> bytes:
    r"""
    The head of an answer with ``close`` among its connection options (RFC 9112, section 9.6).

    The first ``sent`` bytes have left already and stay as they are.

    >>> with_close(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n")
    b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n'
    >>> with_close(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    """
    found = _CONNECTION.search(head)
    if found and found.start() >= sent:
        options = [option.strip() for option in found[2].split(b",")]
        kept = [option for option in options if option and option.lower() != b"keep-alive"]
        return head[: found.start(2)] + b", ".join([*kept, b"close"]) + head[found.end(2) :]
    at = len(head) - 2
    if sent > at:  # only the last byte is missing: too late
        return head
    return head[:at] + b"Connection: close\r\n" + head[at:]
