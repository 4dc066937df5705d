"""A mounted file that may change: read again when it is another one, with a bound."""

from pathlib import Path
from typing import Final, NamedTuple

from onguard_sidecar.decoding import encoding
from onguard_sidecar.decoding.batch import Undecodable

_GZIP: Final = b"\x1f\x8b"


class Content(NamedTuple):
    """What was read: ``data``, or a fault that says why not."""

    data: bytes = b""
    fault: str = ""


class Watched:
    """
    One file of a ConfigMap volume.

    Args:
        path: the file; the kubelet swaps a symbolic link above it, so its identity is looked up each time.
        limit_bytes: largest size that is read, also after decompression.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._limit = limit_bytes
        self._signature: tuple[int, ...] | None = None

    def changed(self) -> Content | None:
        """Its content if it is another file than at the last call (or the first one), else None."""
        try:
            stat = self._path.stat()
            signature = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if signature == self._signature:
                return None
            content = self._read(stat.st_size)
        except OSError as error:
            return self._gone(error)
        self._signature = signature
        return content

    def _gone(self, error: OSError) -> Content | None:
        known, self._signature = self._signature, ()
        if known == ():
            return None
        return Content(fault=f"{self._path.name}: {error.strerror}")

    def _read(self, size: int) -> Content:
        if size > self._limit:
            return Content(fault=f"{self._path.name}: expected at most {self._limit} bytes, got {size}")
        data = self._path.read_bytes()
        if not data.startswith(_GZIP):
            return Content(data)
        expanded = encoding.expand(data, "gzip", limit_bytes=self._limit)
        if isinstance(expanded, Undecodable):
            return Content(fault=f"{self._path.name}: expected gzip of at most {self._limit} bytes when expanded")
        return Content(expanded)
