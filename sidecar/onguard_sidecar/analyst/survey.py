"""
The rows of the first requests, looked at to choose bins: how a reference that is learnt from live traffic begins.

A bounded number of rows waits in memory, a few of each request; once there are enough, bins are chosen and the rows are
gone. What leaves the pod is what is in any profile: edges, and names that several requests had. A field with a
redaction of any kind is not looked at, so that none of its values gets into a ConfigMap.
"""

import gzip
import logging
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from onguard import building
from onguard.binning import label
from onguard.columns import Column, of_flags, of_names, of_numbers
from onguard.counts import Surveyed
from onguard.profile import Kind, ProfileError, encode_profile
from onguard.sidecar_config import Survey as Wanted
from onguard.spec import Redact
from onguard_sidecar.analyst import values
from onguard_sidecar.decoding.batch import Batch
from onguard_sidecar.decoding.batch import Column as Values

ROWS_OF_REQUEST: Final = 8
"""Rows of one request resemble each other; so many, evenly spaced, are looked at."""
MOST_CELLS: Final = 1 << 18
"""Of inputs, and of outputs: about 8 MiB. A wide table is looked at in fewer rows."""
_INSTANTS: Final = 0.9
"""Share of names that read as instants from which a column is a clock."""

log: Final = logging.getLogger(__name__)


class Survey:
    """
    Rows of the first requests.

    Args:
        wanted: how many requests.
        redact: fields that are not looked at.

    Attributes:
        said: what /counts shows of it.
    """

    def __init__(self, wanted: Wanted, redact: Sequence[Redact]) -> None:
        self._wanted = wanted
        self._inputs, self._outputs = _Rows("x", redact), _Rows("y", redact)
        self.said = Surveyed(attempt=wanted.attempt, requests=0)

    @property
    def is_open(self) -> bool:
        """Whether more requests are wanted."""
        return self.said.requests < self._wanted.requests

    def inputs(self, batch: Batch) -> None:
        """Look at the rows of one request; at the last one, choose bins."""
        self._inputs.add(batch)
        requests = self.said.requests + 1
        self.said = Surveyed(attempt=self._wanted.attempt, requests=requests)
        if not self.is_open:
            self._choose(requests)

    def outputs(self, batch: Batch) -> None:
        """Look at the rows of one answer."""
        if self.is_open:
            self._outputs.add(batch)

    def _choose(self, requests: int) -> None:
        """A table that no bins can be chosen for is said, and stays undecided until another attempt."""
        content, error = b"", ""
        try:
            inputs, outputs = self._inputs.columns(), self._outputs.columns()
            if {c.name for c in inputs} & {c.name for c in outputs}:
                outputs = []  # a profile has each name once
            made = building.bins(inputs, outputs, source=f"the first {requests:,} requests of one pod")
            content = gzip.compress(encode_profile(made), mtime=0)
        except ProfileError as fault:
            error = str(fault)
            log.warning("no bins: %s", error)
        self._inputs, self._outputs = _Rows("x", ()), _Rows("y", ())
        self.said = Surveyed(attempt=self._wanted.attempt, requests=requests, profile_json=content, error=error)


class _Rows:
    """Values by column, in the order in which columns were first seen; without names they are numbered."""

    def __init__(self, prefix: str, redact: Sequence[Redact]) -> None:
        self._prefix = prefix
        self._hidden = frozenset(rule.field for rule in redact)
        self._columns: dict[str, list[object]] = {}
        self._count = 0

    def add(self, batch: Batch) -> None:
        names = batch.names or tuple(f"{self._prefix}{i}" for i in range(batch.width))
        chosen = range(0, batch.rows, max(-(-batch.rows // ROWS_OF_REQUEST), 1))
        if (self._count + len(chosen)) * len(self._columns.keys() | set(names)) > MOST_CELLS:
            return
        for i, name in enumerate(names):
            if name not in self._hidden:
                column = self._columns.setdefault(name, [None] * self._count)
                column.extend(_plain(batch.column(i), chosen))
        self._count += len(chosen)
        for column in self._columns.values():
            column.extend([None] * (self._count - len(column)))

    def columns(self) -> list[Column]:
        return [_column(name, column) for name, column in self._columns.items()]


def _plain(column: Values, chosen: Sequence[int]) -> list[object]:
    listed = column.tolist() if isinstance(column, np.ndarray) else column
    return [listed[i] for i in chosen]


def _column(name: str, column: Sequence[object]) -> Column:
    """The kind that a file's column of these values would have."""
    scalars = [value[0] if isinstance(value, list) and len(value) == 1 else value for value in column]
    known = [value for value in scalars if value is not None and value == value]
    if known and all(isinstance(value, bool) for value in known):
        return of_flags(name, np.array([-1 if v is None else int(v is True) for v in scalars], np.int64))
    if all(isinstance(value, int | float) for value in known):
        return of_numbers(name, np.array([values.number(value) for value in scalars], np.float64))
    labels = [None if value is None or value != value else label(value) for value in scalars]
    names = tuple(dict.fromkeys(text for text in labels if text is not None))
    place = {text: i for i, text in enumerate(names)}
    codes = np.array([-1 if text is None else place[text] for text in labels], np.int64)
    made = of_names(name, codes, names)
    return made if made.numbers is not None else _clock(made, names, codes)


def _clock(made: Column, names: Sequence[str], codes: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Column:
    instants = np.array([*(values.instant(text) for text in names), math.nan])
    if not names or np.count_nonzero(np.isfinite(instants)) < _INSTANTS * len(names):
        return made
    return of_numbers(made.name, instants[codes], kind=Kind.DATETIME)
