"""Redaction: what happens to a field before anything is counted."""

import hashlib
from collections.abc import Callable, Sequence

from onguard.profile import Feature
from onguard.spec import Redact, Redaction


def is_dropped(feature: Feature, redact: Sequence[Redact]) -> bool:
    """
    Whether nothing of this feature may be counted.

    A number that is hashed has no order left, so hashing one drops it.
    """
    how = {rule.field: rule.how for rule in redact}.get(feature.name)
    return how is Redaction.DROP or (how is Redaction.HASH and feature.is_ordered)


def is_hashed(feature: Feature, redact: Sequence[Redact]) -> bool:
    """Whether a categorical feature is compared by its keyed hash."""
    return not feature.is_ordered and any(r.field == feature.name and r.how is Redaction.HASH for r in redact)


def key_of(counts_token_sha256: str) -> bytes | None:
    """
    The key of a ModelDeployment: the same in all its pods and after a restart, so that hashed names agree.

    It comes from the digest of the token of /counts, which only the ModelDeployment's own ConfigMap holds; None
    without one. Who can read that ConfigMap and the reference can try out values; who reads metrics can not.
    """
    if not counts_token_sha256:
        return None
    return hashlib.sha256(b"onguard redaction " + counts_token_sha256.encode()).digest()


def bin_names(feature: Feature, redact: Sequence[Redact], key: bytes) -> tuple[str, ...]:
    """Names of a feature's bins for people: hashed where the feature is, none where it is dropped."""
    if is_dropped(feature, redact):
        return ()
    if not is_hashed(feature, redact):
        return feature.bin_names
    hashed = tuple(map(keyed_hash(key), feature.categories))
    return (*hashed, *feature.bin_names[len(hashed) :])


def keyed_hash(key: bytes) -> Callable[[str], str]:
    """
    A hash that nobody can invert by trying out values without ``key``.

    >>> keyed_hash(b"k")("Bern") == keyed_hash(b"k")("Bern") != keyed_hash(b"l")("Bern")
    True
    """

    def hashed(text: str) -> str:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()

    return hashed
