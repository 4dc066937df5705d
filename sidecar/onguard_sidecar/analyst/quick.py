"""
The way of most traffic: rows of plain numbers by position and numbers back, in KServe V1's form.

It counts what the general way counts, in a tenth of the time: heads come again and again and are looked at once, and
each step is taken for many exchanges together. What it does not know for sure it leaves to the general way, untouched.
"""

from collections.abc import Callable, Sequence
from itertools import compress
from typing import Final, Protocol

import msgspec

from onguard_sidecar.analyst.accumulate import Group
from onguard_sidecar.analyst.duplicates import Recent
from onguard_sidecar.decoding import formats, heads, kserve_v1
from onguard_sidecar.handover import Exchanges

KNOWN: Final = 256
"""Heads remembered, of at most KNOWN_BYTES each: half a MiB."""
KNOWN_BYTES: Final = 2048
_FORMATS: Final = (formats.KSERVE_V1, formats.TF_SERVING)
"""Two names of the same rows."""
_REQUEST: Final = kserve_v1.REQUEST.decode
_ANSWER: Final = kserve_v1.ANSWER.decode
_ROWS_ANSWER: Final = kserve_v1.ROWS_ANSWER.decode
_GOOD: Final = frozenset(range(200, 300))
_OTHER: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Not JSON, or not of this form: the general way says which."""


class Seen(Protocol):
    """Where what was counted is noted."""

    rows: int
    requests: int
    duplicates: int


class Quick:
    """
    Takes exchanges of plain numbers.

    Args:
        inputs: counts those of the reference, all numeric and all kept.
        outputs: likewise; None if it has none.
        recent: knows what came a short while ago.
        seen: is kept up to date.
        fits: whether a request with this head is rows of KServe V1's form, uncompressed and not to be left out.
    """

    def __init__(
        self, inputs: Group, outputs: Group | None, *, recent: Recent, seen: Seen, fits: Callable[[heads.Head], bool]
    ) -> None:
        self._inputs, self._outputs = inputs, outputs
        self._recent, self._seen, self._fits = recent, seen, fits
        self._requests: dict[bytes, bool] = {}
        self._answers: dict[bytes, bool] = {}

    def take(self, exchanges: Exchanges, now: float) -> list[bool] | None:
        """Count exchanges: whether each is new, or a duplicate; None: not for this way, nothing was done."""
        _, _, _, _, _, statuses, flags, _, _, asked, bodies, answered, answers = exchanges.columns
        if any(flags) or not _GOOD.issuperset(statuses) or not self._knows(set(asked), set(answered)):
            return None
        try:
            inputs = [_REQUEST(body).instances for body in bodies]
            outputs = None if self._outputs is None else _outputs(answers)
        except _OTHER:
            return None
        if not self._inputs.fits(inputs) or (self._outputs and outputs and not self._outputs.fits(outputs)):
            return None
        are_new = self._recent.note_all(bodies, now=now)
        if not all(are_new):
            self._seen.duplicates += are_new.count(False)
            inputs, outputs = list(compress(inputs, are_new)), outputs and list(compress(outputs, are_new))
        if inputs:
            self._seen.requests += len(inputs)
            self._seen.rows += self._inputs.add_requests(inputs)
        if self._outputs and outputs:
            self._outputs.add_requests(outputs)
        return are_new

    def _knows(self, asked: set[bytes], answered: set[bytes]) -> bool:
        """Whether all heads are fit; they are remembered."""
        return all(map(self._is_fit, asked)) and all(map(self._is_plain, answered))

    def _is_fit(self, head: bytes) -> bool:
        fits = self._requests.get(head)
        if fits is None:
            parsed = heads.parse(head)
            fits = _remember(self._requests, head, not parsed.content_encoding and self._fits(parsed))
        return fits

    def _is_plain(self, head: bytes) -> bool:
        plain = self._answers.get(head)
        return _remember(self._answers, head, not heads.parse(head).content_encoding) if plain is None else plain


def _outputs(answers: Sequence[bytes]) -> list[list[list[float]]]:
    """
    Rows of each answer; a list of numbers is a column.

    Raises:
        msgspec.DecodeError: one is neither that nor rows.
    """
    try:
        columns = [_ANSWER(body).predictions for body in answers]
    except msgspec.ValidationError:
        return [_answer(body) for body in answers]
    return [[column] if len(column) == 1 else [[value] for value in column] for column in columns]


def _answer(body: bytes) -> list[list[float]]:
    try:
        return [[value] for value in _ANSWER(body).predictions]
    except msgspec.ValidationError:
        return _ROWS_ANSWER(body).predictions


def is_rows(protocol: str, head: heads.Head) -> bool:
    """Whether the head alone says that the body is rows of KServe V1's form."""
    return formats.choose(protocol, head=head, body=b"") in _FORMATS


def _remember(known: dict[bytes, bool], head: bytes, fits: bool) -> bool:
    if len(head) <= KNOWN_BYTES:
        if len(known) >= KNOWN:
            known.clear()
        known[head] = fits
    return fits
