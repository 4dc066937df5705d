"""The reference of a ModelDeployment: its Profile out of a ConfigMap, or why there is none."""

import base64
import binascii
import zlib
from typing import Final

from onguard import contract, season
from onguard.profile import Profile, ProfileError, decode_profile
from onguard_operator import learn, naming
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
    if reference.config_map is None:
        return _learnt(seen, naming.learned_profile(seen.name))
    name = reference.config_map.name
    if seen.profile_map is None:
        return None, fails(
            kind, "ReferenceNotFound", f"ConfigMap {name} is not there; fix: onguard profile, then apply"
        )
    return _decode(seen.profile_map, name, reference.config_map.key)


def _learnt(seen: Observed, name: str) -> tuple[Profile | None, Condition]:
    """The learnt reference, or the bins that it is being counted in, which nothing is judged by."""
    kind, frozen, learning = (
        contract.CONDITION_REFERENCE_VALID,
        learn.frozen_hash(seen),
        "the reference is not learnt yet",
    )
    anew = "raise spec.reference.learn.attempt to learn anew"
    if learn.is_name_taken(seen):
        return None, fails(kind, "NameTaken", f"ConfigMap {name} is not ours; fix: delete or rename it")
    if seen.profile_map is None or not learn.has_bins(seen):
        if frozen:
            return None, fails(kind, "ReferenceLost", f"ConfigMap {name} is gone; fix: restore it, or {anew}")
        return None, unknown(kind, learn.LEARNING, learning)
    profile, condition = _decode(seen.profile_map, name, "profile.json")
    if profile is None:
        return None, fails(kind, condition.reason, f"{condition.message}; fix: restore it, or {anew}")
    if frozen and profile.hash != frozen:
        text = f"ConfigMap {name} holds another reference than the learnt one, {frozen}"
        return None, fails(kind, "ReferenceAltered", f"{text}; fix: restore it, or {anew}")
    return profile, condition if profile.is_counted else unknown(kind, learn.LEARNING, learning)


def _decode(config_map: Object, name: str, key: str) -> tuple[Profile | None, Condition]:
    kind, data = contract.CONDITION_REFERENCE_VALID, _bytes_of(config_map, key)
    if data is None:
        return None, fails(kind, "ReferenceInvalid", f"ConfigMap {name} has no key {key}")
    try:
        profile = decode_profile(_expanded(data))
        season.season_of(profile)
    except ProfileError as error:
        return None, fails(kind, "ReferenceInvalid", f"ConfigMap {name}: {error}")
    text = f"{len(profile.features)} features of {profile.rows} rows, hash {profile.hash}"
    by_hour = season.remark(profile)
    text += f"; {by_hour}" if by_hour else ""
    if profile.learned:
        return profile, holds(kind, "Learned", f"learnt from {profile.source}: what was wrong then is normal; {text}")
    return profile, holds(kind, "Valid", text)


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
