"""Answers of /healthz and /readyz from the wire's own event loop: they ask neither the model nor the analyst."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

_HEAD_CAP: Final = 8192
_ANSWER: Final = "HTTP/1.1 {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}"


class Health(asyncio.Protocol):
    """One probe: one request, one answer, the end."""

    def __init__(self, is_draining: Callable[[], bool]) -> None:
        self._is_draining = is_draining
        self._head = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A probe connects."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the head is complete."""
        self._head += data
        if self._transport is not None and (b"\r\n\r\n" in self._head or len(self._head) > _HEAD_CAP):
            self._transport.write(answer(self._head, is_draining=self._is_draining()))
            self._transport.close()
            self._transport = None


def answer(head: bytes, *, is_draining: bool) -> bytes:
    r"""
    Response to the probe with this request head.

    >>> answer(b"GET /readyz HTTP/1.1", is_draining=True).partition(b"\r")[0]
    b'HTTP/1.1 503 Service Unavailable'
    """
    target = (*head.split(b" ", 2), b"", b"")[1].partition(b"?")[0]
    if target == b"/readyz" and is_draining:
        status, body = "503 Service Unavailable", "draining\n"
    elif target in (b"/healthz", b"/readyz"):
        status, body = "200 OK", "ok\n"
    else:
        status, body = "404 Not Found", "expected /healthz or /readyz\n"
    return _ANSWER.format(status, len(body), body).encode()
