"""
The way of most traffic: rows of plain numbers by position and numbers back, in KServe V1's form.

It counts what the general way counts, in a tenth of the time: heads come again and again and are looked at once, a
single row costs no array of its own. Whatever it does not know for sure it leaves to the general way, untouched.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from onguard_sidecar.analyst.accumulate import Group
from onguard_sidecar.analyst.duplicates import Recent
from onguard_sidecar.decoding import formats, heads, kserve_v1
from onguard_sidecar.decoding.batch import MAX_ROWS
from onguard_sidecar.exchange import Exchange

KNOWN: Final = 256
"""Heads remembered, of at most KNOWN_BYTES each: half a MiB."""
KNOWN_BYTES: Final = 2048
_FORMATS: Final = (formats.KSERVE_V1, formats.TF_SERVING)
"""Two names of the same rows."""
_REQUEST: Final = kserve_v1.REQUEST.decode
_ANSWER: Final = kserve_v1.ANSWER.decode
_ROWS_ANSWER: Final = kserve_v1.ROWS_ANSWER.decode
_OTHER: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, struct.error)
"""Not JSON, or not of this form: the general way says which."""


class Plain:
    """
    Inputs or outputs that are all numeric and all kept.

    Attributes:
        group: counts them.
        pack: makes float64 values, one after another, of one row.
    """

    def __init__(self, group: Group, width: int) -> None:
        self.group = group
        self.pack = struct.Struct(f"{width}d").pack

    def packed(self, rows: Sequence[Sequence[float]]) -> bytes | None:
        """
        Rows one after another; None where there are none or too many.

        Raises:
            struct.error: one is of another width: as quick a check as there is.
        """
        return b"".join([self.pack(*row) for row in rows]) if 0 < len(rows) <= MAX_ROWS else None


class Seen(Protocol):
    """Where what was counted is noted."""

    rows: int
    requests: int
    duplicates: int


class Quick:
    """
    Takes exchanges of plain numbers.

    Args:
        inputs: of the reference.
        outputs: of the reference; None if it has none.
        recent: knows what came a short while ago.
        seen: is kept up to date.
        fits: whether a request with this head is rows of KServe V1's form, uncompressed and not to be left out.
    """

    def __init__(
        self, inputs: Plain, outputs: Plain | None, *, recent: Recent, seen: Seen, fits: Callable[[heads.Head], bool]
    ) -> None:
        self._inputs, self._outputs = inputs, outputs
        self._recent, self._seen, self._fits = recent, seen, fits
        self._requests: dict[bytes, bool] = {}
        self._answers: dict[bytes, bool] = {}

    def take(self, exchange: Exchange, now: float) -> bool | None:
        """Count an exchange: True; False: it is a duplicate; None: not for this way, nothing was done."""
        if exchange.flags or not 200 <= exchange.status < 300 or not self._knows(exchange):
            return None
        # One function and no helpers up to here and below: a call costs as much as what it does.
        try:
            rows = _REQUEST(exchange.request_body).instances
            packed = self._inputs.pack(*rows[0]) if len(rows) == 1 else self._inputs.packed(rows)
            answer = self._answer(exchange.response_body) if self._outputs is not None else b""
        except _OTHER:
            return None
        if packed is None or answer is None:
            return None
        seen = self._seen
        if self._recent.seen(exchange.request_body, now=now):
            seen.duplicates += 1
            return False
        seen.rows += len(rows)
        seen.requests += 1
        self._inputs.group.add_packed(packed)
        if self._outputs is not None:
            self._outputs.group.add_packed(answer)
        return True

    def _answer(self, body: bytes) -> bytes | None:
        plain = self._outputs
        if plain is None:
            return None
        try:
            values = _ANSWER(body).predictions
        except msgspec.ValidationError:
            return plain.packed(_ROWS_ANSWER(body).predictions)
        return plain.pack(values[0]) if len(values) == 1 else plain.packed([[value] for value in values])

    def _knows(self, exchange: Exchange) -> bool:
        fits = self._requests.get(exchange.request_head)
        if fits is None:
            head = heads.parse(exchange.request_head)
            fits = _remember(self._requests, exchange.request_head, not head.content_encoding and self._fits(head))
        if not fits:
            return False
        fits = self._answers.get(exchange.response_head)
        if fits is None:
            plain = not heads.parse(exchange.response_head).content_encoding
            fits = _remember(self._answers, exchange.response_head, plain)
        return fits


def is_rows(protocol: str, head: heads.Head) -> bool:
    """Whether the head alone says that the body is rows of KServe V1's form."""
    return formats.choose(protocol, head=head, body=b"") in _FORMATS


def _remember(known: dict[bytes, bool], head: bytes, fits: bool) -> bool:
    if len(head) <= KNOWN_BYTES:
        if len(known) >= KNOWN:
            known.clear()
        known[head] = fits
    return fits
