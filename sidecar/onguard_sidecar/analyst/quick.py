"""
The way of most traffic: rows of plain numbers by position and numbers back, in KServe V1's form.

It counts what the general way counts, in a tenth of the time: heads come again and again and are looked at once, a
single row costs no array of its own. Whatever it does not know for sure it leaves to the general way, untouched.
"""

import dataclasses
from collections.abc import Callable
from typing import Final, NamedTuple

from onguard_sidecar.analyst.accumulate import Group, unit_shares
from onguard_sidecar.decoding import formats, heads, json_text, kserve_v1, rows
from onguard_sidecar.decoding.batch import MAX_ROWS, Floats, Undecodable
from onguard_sidecar.exchange import Exchange

KNOWN: Final = 256
"""Heads remembered, of at most KNOWN_BYTES each: half a MiB."""
KNOWN_BYTES: Final = 2048
_FORMATS: Final = (formats.KSERVE_V1, formats.TF_SERVING)
"""Two names of the same rows."""
_Rows = list[float] | Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Plain:
    """
    Inputs or outputs that are all numeric and all kept, or none at all.

    Attributes:
        width: number of features; 0: nothing is counted.
        group: counts them.
    """

    width: int = 0
    group: Group | None = None


class Numbers(NamedTuple):
    """An exchange that was read, not yet counted: one row as a list, or several as a matrix."""

    rows: int
    inputs: _Rows
    input_group: Group
    outputs: _Rows | None
    output_group: Group | None

    def enter(self) -> None:
        """Count it."""
        _count(self.input_group, self.inputs)
        if self.output_group is not None and self.outputs is not None:
            _count(self.output_group, self.outputs)


class Quick:
    """
    Reads exchanges of plain numbers.

    Args:
        protocol: as configured.
        inputs: of the reference.
        outputs: of the reference.
    """

    def __init__(self, protocol: str, inputs: Plain, outputs: Plain) -> None:
        self._protocol = protocol
        self._inputs, self._outputs = inputs, outputs
        self._requests: dict[bytes, bool] = {}
        self._answers: dict[bytes, bool] = {}

    def read(self, exchange: Exchange, is_probe: Callable[[heads.Head], bool]) -> Numbers | None:
        """The numbers of an exchange; None: not for this way."""
        if exchange.flags or not 200 <= exchange.status < 300:
            return None
        fits = self._requests.get(exchange.request_head)
        if fits is None:
            fits = _remember(self._requests, exchange.request_head, self._is_request(exchange.request_head, is_probe))
        return self._numbers(exchange) if fits and self._is_answer(exchange.response_head) else None

    def _numbers(self, exchange: Exchange) -> Numbers | None:
        request = json_text.strict(kserve_v1.REQUEST, exchange.request_body)
        inputs = _rows(request.instances, self._inputs.width) if request else None
        if request is None or inputs is None or self._inputs.group is None:
            return None
        outputs = None
        if self._outputs.width:
            outputs = self._answer(exchange.response_body)
            if outputs is None:
                return None
        return Numbers(len(request.instances), inputs, self._inputs.group, outputs, self._outputs.group)

    def _answer(self, body: bytes) -> _Rows | None:
        answer = json_text.strict(kserve_v1.ANSWER, body)
        if answer is None:
            wide = json_text.strict(kserve_v1.ROWS_ANSWER, body)
            return None if wide is None else _rows(wide.predictions, self._outputs.width)
        if self._outputs.width != 1:
            return None
        if len(answer.predictions) == 1:
            return answer.predictions
        return _rows([[value] for value in answer.predictions], 1)

    def _is_request(self, head: bytes, is_probe: Callable[[heads.Head], bool]) -> bool:
        parsed = heads.parse(head)
        if parsed.content_encoding or is_probe(parsed):
            return False
        # Without a body: a format that only the body tells is not for this way.
        return formats.choose(self._protocol, head=parsed, body=b"") in _FORMATS

    def _is_answer(self, head: bytes) -> bool:
        fits = self._answers.get(head)
        return _remember(self._answers, head, not heads.parse(head).content_encoding) if fits is None else fits


def _remember(known: dict[bytes, bool], head: bytes, fits: bool) -> bool:
    if len(head) <= KNOWN_BYTES:
        if len(known) >= KNOWN:
            known.clear()
        known[head] = fits
    return fits


def _rows(values: list[list[float]], width: int) -> _Rows | None:
    if len(values) == 1:
        return values[0] if len(values[0]) == width else None
    if not values or len(values) > MAX_ROWS or len(values[0]) != width:
        return None
    matrix = rows.matrix(values)
    return None if isinstance(matrix, Undecodable) else matrix


def _count(group: Group, numbers: _Rows) -> None:
    if isinstance(numbers, list):
        group.add_one(numbers)
    else:
        group.add(numbers, unit_shares(len(numbers)))
