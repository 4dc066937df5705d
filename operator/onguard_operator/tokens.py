"""
Tokens of ``/counts``: one a ModelDeployment, derived from a key that only the operator mounts.

A pod gets nothing but the token's SHA-256, so that whoever reads its ConfigMap can't read its counters.
"""

import hashlib
import hmac


def counts_token(master: bytes, uid: str) -> str:
    """
    Derive the bearer token of one ModelDeployment: HMAC-SHA256 of its uid, in hex.

    >>> counts_token(b"k" * 32, "u-1") == counts_token(b"k" * 32, "u-2")
    False
    """
    return hmac.new(master, uid.encode(), hashlib.sha256).hexdigest()


def fingerprint(token: str) -> str:
    """SHA-256 of a token, hex: what the sidecar compares with."""
    return hashlib.sha256(token.encode()).hexdigest()
