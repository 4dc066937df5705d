"""
JSON as model clients write it: RFC 8259, and ``NaN``, ``Infinity`` as Python's and Java's writers emit them.

msgspec refuses those three words, rightly; a body that holds one is read a second time by the standard library.
"""

import json
from typing import Any, Final, TypeVar

import msgspec

from onguard_sidecar.decoding.batch import Reason, Undecodable

T = TypeVar("T")
_WORDS: Final = (b"NaN", b"Infinity")


def strict(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """Decode by type; None if the body is not of that type (or not JSON: the caller then asks :func:`loose`)."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def loose(body: bytes) -> Any | Undecodable:
    """
    Any JSON value, with NaN and infinities.

    >>> loose(b'{"instances": [[NaN, 1]]}')
    {'instances': [[nan, 1]]}
    >>> loose(b"{")
    Undecodable(reason=<Reason.BAD_JSON: 'bad_json'>)
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        return Undecodable(Reason.TOO_DEEP)
    except UnicodeDecodeError:
        return Undecodable(Reason.BAD_UTF8)
    except msgspec.DecodeError:
        return _with_words(body) if any(word in body for word in _WORDS) else Undecodable(Reason.BAD_JSON)


def _with_words(body: bytes) -> Any | Undecodable:
    try:
        return json.loads(body)
    except RecursionError:
        return Undecodable(Reason.TOO_DEEP)
    except UnicodeDecodeError:
        return Undecodable(Reason.BAD_UTF8)
    except ValueError:
        return Undecodable(Reason.BAD_JSON)
