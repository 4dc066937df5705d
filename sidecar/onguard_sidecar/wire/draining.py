"""
The way in for preStop: a Unix socket in the pod. Whoever connects starts lame duck and hears of its end.

``python -m onguard_sidecar.wire drain`` is the client; it never fails a pod's termination.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

_DONE: Final = b"drained\n"


async def serve(path: Path, drain: Callable[[], Awaitable[None]]) -> asyncio.Server:
    """Listen for preStop; ``drain`` returns when nothing is in flight or time is up."""

    async def on_connect(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await drain()
        writer.write(_DONE)
        writer.close()

    _clear(path)
    return await asyncio.start_unix_server(on_connect, path)


def _clear(path: Path) -> None:
    """Remove the socket file of an earlier process."""
    path.unlink(missing_ok=True)


def request(path: Path, timeout_s: float) -> str:
    """Start lame duck and wait; the outcome in one word, for the log."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
            peer.settimeout(timeout_s)
            peer.connect(str(path))
            return "drained" if peer.recv(len(_DONE)) else "ended"
    except TimeoutError:
        return "timeout"
    except OSError:
        return "unreachable"
