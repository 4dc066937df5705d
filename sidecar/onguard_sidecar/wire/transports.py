"""What the data path needs of sockets beside reading and writing."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from typing import Final, cast

from onguard_sidecar.wire.limits import BUFFER_BYTES, KERNEL_BYTES, UNSENT_BYTES

KEEPALIVE_S: Final = 300
"""Silence after which the kernel asks whether the other side still exists; invisible to both programs."""
_RESET: Final = struct.pack("ii", 1, 0)
_BYTES: Final = struct.Struct("@120xQQ")
"""Of ``struct tcp_info``: ``tcpi_bytes_acked`` and ``tcpi_bytes_received``."""
_QUIET: Final = struct.Struct("@44xI4xI")
"""Of ``struct tcp_info`` (linux/tcp.h): ``tcpi_last_data_sent`` and ``tcpi_last_data_recv``, in ms."""


def prepared(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """A new connection's transport: no delay, bounded buffer, dead peers noticed."""
    stream = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
    raw = stream.get_extra_info("socket")
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    stream.set_write_buffer_limits(BUFFER_BYTES)
    return stream


def prepared_local(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """As :func:`prepared`, to a model of the same pod: no distance that a large window would have to bridge."""
    stream = prepared(transport)
    stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    return stream


def reset(transport: asyncio.Transport) -> None:
    """Make the close of a connection a reset (RST)."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def quiet_s(transport: asyncio.Transport) -> float:
    """Seconds without a byte in either direction. The kernel knows; keeping it here would cost every request."""
    raw = transport.get_extra_info("socket")
    if raw is None or transport.is_closing():
        return 0.0
    sent_ms, received_ms = _QUIET.unpack(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUIET.size))
    return float(min(sent_ms, received_ms)) / 1e3


def unread(transport: asyncio.Transport) -> bytes:
    """What the kernel still has for a connection that was lost: it keeps what came before a reset."""
    raw, parts = transport.get_extra_info("socket"), []
    with contextlib.suppress(AttributeError, OSError), socket.socket(fileno=os.dup(raw.fileno())) as left:
        while part := left.recv(KERNEL_BYTES, socket.MSG_DONTWAIT):
            parts.append(part)
    return b"".join(parts)


def unacknowledged(source: asyncio.Transport, target: asyncio.Transport) -> int:
    """
    Bytes that were read from ``source`` and that the kernel behind ``target`` never took; 0 where nobody can tell.

    The kernels know, also of a connection that was reset and of which nothing waits here any more.
    """
    read, written = source.get_extra_info("socket"), target.get_extra_info("socket")
    try:
        _, received = _BYTES.unpack(read.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size))
        acknowledged, _ = _BYTES.unpack(written.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size))
        (unread,) = struct.unpack("i", fcntl.ioctl(read.fileno(), termios.FIONREAD, bytes(4)))
    except (AttributeError, OSError, struct.error):  # not connected; closed; a kernel before Linux 4.2
        return 0
    # The SYN is acknowledged as one byte.
    return max(0, int(received - unread - (acknowledged - 1)))


class _NotConnected(asyncio.Transport):
    """Stands in before a connection exists, so that no event has to ask."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


NOT_CONNECTED: Final = _NotConnected()
