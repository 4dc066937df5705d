"""The reference of a ModelDeployment: its Profile out of a ConfigMap, or why there is none."""

import base64
import binascii
import zlib
from typing import Final

from onguard import contract
from onguard.profile import Profile, ProfileError, decode_profile
from onguard_operator import naming
from onguard_operator.objects import Object
from onguard_operator.observe import Observed
from onguard_operator.status import Condition, fails, holds, unknown

MAX_BYTES: Final = 8 << 20
"""Of a profile that was compressed to fit into a ConfigMap."""
_GZIP: Final = b"\x1f\x8b"


def read(seen: Observed) -> tuple[Profile | None, Condition]:
    """Decode the reference. Without a valid one data is not judged, and the condition says why."""
    kind, reference = contract.CONDITION_REFERENCE_VALID, seen.spec.reference
    if reference.config_map is None and reference.learn is None:
        wanted = seen.spec.objectives.drift or seen.spec.objectives.data_quality
        if wanted:
            return None, fails(kind, "ReferenceMissing", "drift and dataQuality need one; fix: set spec.reference")
        return None, holds(kind, "NoneNeeded", "no objective needs a reference")
    name = reference.config_map.name if reference.config_map else naming.learned_profile(seen.name)
    key = reference.config_map.key if reference.config_map else "profile.json"
    if seen.profile_map is None:
        if reference.config_map is None:
            return None, unknown(kind, "Learning", "the reference is not learned yet")
        return None, fails(
            kind, "ReferenceNotFound", f"ConfigMap {name} is not there; fix: onguard profile, then apply"
        )
    data = _bytes_of(seen.profile_map, key)
    if data is None:
        return None, fails(kind, "ReferenceInvalid", f"ConfigMap {name} has no key {key}")
    return _decode(data, name)


def _decode(data: bytes, name: str) -> tuple[Profile | None, Condition]:
    kind = contract.CONDITION_REFERENCE_VALID
    try:
        profile = decode_profile(_expanded(data))
    except ProfileError as error:
        return None, fails(kind, "ReferenceInvalid", f"ConfigMap {name}: {error}")
    text = f"{len(profile.features)} features of {profile.rows} rows, hash {profile.hash}"
    return profile, holds(kind, "Learned" if profile.learned else "Valid", text)


def _bytes_of(config_map: Object, key: str) -> bytes | None:
    text = (config_map.get("data") or {}).get(key)
    if text is not None:
        return str(text).encode()
    encoded = (config_map.get("binaryData") or {}).get(key)
    try:
        return base64.b64decode(encoded) if encoded is not None else None
    except binascii.Error:
        return None


def _expanded(data: bytes) -> bytes:
    """
    What a compressed profile holds; any other content as it is.

    >>> _expanded(b"{}")
    b'{}'
    """
    if not data.startswith(_GZIP):
        return data
    stream = zlib.decompressobj(wbits=31)
    try:
        content = stream.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise ProfileError(f"expected gzip, got damaged data ({error})") from None
    if not stream.eof:
        raise ProfileError(f"expected whole gzip of at most {MAX_BYTES} bytes when expanded")
    return content
