"""
Bearer tokens of the alert receiver.

A file with one token a line, read again when it changes; every line is valid, so that old and new are both
accepted while a token is rotated. After the token, namespaces may follow (``TOKEN shop,lab``): then only alerts
for models of these namespaces are taken, since labels of an alert are the word of whoever wrote the rule.
"""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIN_LENGTH: Final = 16
MAX_TOKENS: Final = 64
_SCHEME: Final = "Bearer "


@dataclass(frozen=True)
class Grant:
    """What a token's bearer may alert about; ``namespaces`` None means all of them."""

    token_sha256: bytes
    namespaces: frozenset[str] | None = None

    def covers(self, namespace: str) -> bool:
        """Whether alerts for models of this namespace are taken."""
        return self.namespaces is None or namespace in self.namespaces


def parse(text: str) -> tuple[Grant, ...]:
    r"""
    Read the file's text; short lines are no tokens and grant nothing.

    >>> [grant.namespaces for grant in parse("0123456789abcdef\nfedcba9876543210 shop,lab")]
    [None, frozenset({...})]
    >>> parse("short")
    ()
    """
    grants = []
    for line in text.splitlines()[:MAX_TOKENS]:
        token, _, spaces = line.strip().partition(" ")
        if len(token) >= MIN_LENGTH:
            names = frozenset(name.strip() for name in spaces.split(",") if name.strip())
            grants.append(Grant(_digest(token), names or None))
    return tuple(grants)


def check(header: str | None, grants: tuple[Grant, ...]) -> Grant | None:
    """Find the grant of an ``Authorization`` header; the time taken does not depend on how much of it is right."""
    if header is None or not header.startswith(_SCHEME):
        return None
    shown = _digest(header.removeprefix(_SCHEME).strip())
    matching = [grant for grant in grants if hmac.compare_digest(grant.token_sha256, shown)]
    return matching[0] if matching else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class TokensFile:
    """The file behind :func:`check`; a file that is not there grants nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._grants: tuple[Grant, ...] = ()

    def grants(self) -> tuple[Grant, ...]:
        """Tokens as they are now."""
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if stamp != self._stamp:
                self._grants = parse(self._path.read_text(encoding="utf-8", errors="surrogateescape"))
                self._stamp = stamp
        except OSError:
            self._grants, self._stamp = (), None
        return self._grants
