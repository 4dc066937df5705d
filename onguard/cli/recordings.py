"""Recordings as files: gzip of length-prefixed msgpack, a header and then one frame a visit."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from onguard.frames import FORMAT, SCHEMA, Frame, Header
from onguard.profile import Profile, ProfileError, decode_profile, encode_profile

MAX_FRAME: Final = 256 << 20
_LENGTH: Final = struct.Struct(">I")


class RecordingError(Exception):
    """The recording can't be read; the text says where."""


@dataclass(frozen=True, eq=False)
class Opening:
    """
    What a recording is of.

    Attributes:
        name: of the model.
        profile: the reference that its counts belong to; None: there was none.
    """

    name: str
    profile: Profile | None


class Writer:
    """Appends frames; each is on the disk when :meth:`add` returns, so that a crash loses none."""

    def __init__(self, path: Path, opening: Opening) -> None:
        self._file = gzip.open(path, "wb")  # noqa: SIM115 - closed by __exit__
        encoded = encode_profile(opening.profile) if opening.profile is not None else b""
        self._put(Header(name=opening.name, profile_json=encoded))

    def add(self, frame: Frame) -> None:
        """Write one frame."""
        self._put(frame)

    def _put(self, value: Any) -> None:
        data = msgspec.msgpack.encode(value)
        self._file.write(_LENGTH.pack(len(data)) + data)
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path) -> tuple[Opening, Iterator[Frame]]:
    """
    Open a recording; frames are read as they are asked for. One that was cut off ends at its last whole frame.

    Raises:
        RecordingError: if it is no recording, or of a newer format; also while frames are read.
    """
    pieces = _pieces(path)
    try:
        header = msgspec.msgpack.decode(next(pieces, b""), type=Header)
        profile = decode_profile(header.profile_json) if header.profile_json else None
    except (msgspec.DecodeError, ProfileError) as error:
        raise RecordingError(f"{path}: expected a recording, got {error}") from None
    if header.schema != SCHEMA or header.version > FORMAT:
        raise RecordingError(f"{path}: expected {SCHEMA} of format {FORMAT}, got {header.schema} of {header.version}")
    return Opening(header.name, profile), _frames(path, pieces)


def _frames(path: Path, pieces: Iterator[bytes]) -> Iterator[Frame]:
    decoder = msgspec.msgpack.Decoder(Frame)
    for number, piece in enumerate(pieces):
        try:
            yield decoder.decode(piece)
        except msgspec.DecodeError as error:
            raise RecordingError(f"{path}: {error} - at frame {number}") from None


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) as file:
            while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
                (size,) = _LENGTH.unpack(head)
                if size > MAX_FRAME:
                    raise RecordingError(f"{path}: expected a frame of at most {MAX_FRAME} bytes, got {size}")
                piece = file.read(size)
                if len(piece) < size:
                    return
                yield piece
    except EOFError:
        return  # the writer was stopped; what is whole was read
    except (OSError, zlib.error) as error:
        raise RecordingError(f"{path}: {error}") from None
