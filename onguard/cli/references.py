"""Profiles as files: read plain or compressed, write compressed where a ConfigMap would not hold the plain text."""

import gzip
import zlib
from pathlib import Path
from typing import Final

from onguard.profile import Profile, ProfileError, decode_profile, encode_profile

CONFIG_MAP_BYTES: Final = 1 << 20
"""A ConfigMap holds 1 MiB in all."""
ROOM_BYTES: Final = 16 << 10
"""Left for the ConfigMap's own name, labels and owners."""
_GZIP: Final = b"\x1f\x8b"


def read_profile(path: Path) -> Profile:
    """
    Read ``profile.json`` or ``profile.json.gz``.

    Raises:
        ProfileError: for damaged data; the text names the file.
        OSError: if it can't be read.
    """
    data = path.read_bytes()
    try:
        return decode_profile(gzip.decompress(data) if data.startswith(_GZIP) else data)
    except (ProfileError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ProfileError(f"{path}: {error}") from None


def packed(profile: Profile) -> bytes:
    """JSON, compressed if it is too large for a ConfigMap: operator and sidecar tell by the first bytes."""
    plain = encode_profile(profile)
    decode_profile(plain)
    return plain if fits(len(plain)) else gzip.compress(plain, 9, mtime=0)


def fits(size: int) -> bool:
    """
    Whether a ConfigMap holds so many bytes as its only content.

    >>> fits(100_000), fits(1 << 20)
    (True, False)
    """
    return size <= CONFIG_MAP_BYTES - ROOM_BYTES
