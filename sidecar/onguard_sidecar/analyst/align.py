"""
Columns as a client sends them -> a matrix in the order of the reference. Pure.

By name where the format has names: the order is free, a column that is not there is missing in every row, a column
that the reference does not know is ignored and counted. By position where it has none: then the width must fit, since
nobody can say which column is missing.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np

from onguard.profile import Feature, Kind
from onguard.spec import Redact
from onguard_sidecar.analyst import redaction, values
from onguard_sidecar.decoding import rows
from onguard_sidecar.decoding.batch import Batch, Column, Floats, Reason, Undecodable

_AS_NUMBERS: Final = frozenset((float, int, type(None)))


class Aligned(NamedTuple):
    """
    Rows in the reference's terms.

    Attributes:
        cells: float64 (rows, kept features): numbers and category indices; NaN missing, infinite unparseable.
        missing: features that no column was sent for.
        extra: columns that the reference does not know.
        coerced: columns of a numeric feature in which something was not written as a number.
    """

    cells: Floats
    missing: int = 0
    extra: int = 0
    coerced: int = 0


class Columns:
    """
    The features of one group (inputs or outputs), ready to read batches. Redacted ones are left out of it.

    Attributes:
        kept: names of the features that are counted.
        is_plain: all are, and all are numeric.
    """

    def __init__(self, features: Sequence[Feature], redact: Sequence[Redact], key: bytes) -> None:
        self._position = {feature.name: i for i, feature in enumerate(features)}
        self._kept = [i for i, feature in enumerate(features) if not redaction.is_dropped(feature, redact)]
        self._cells = [_cell(features[i], redact, key) for i in self._kept]
        self._numeric = [features[i].kind is Kind.NUMERIC for i in self._kept]
        self.is_plain = all(self._numeric) and len(self._kept) == len(features)
        self.kept = tuple(features[i].name for i in self._kept)

    def align(self, batch: Batch) -> Aligned | Undecodable:
        """Read a batch; ``mismatch`` if it can't be these columns."""
        if batch.names is None:
            return self._by_position(batch)
        sent = dict(zip(batch.names, range(batch.width), strict=True))
        known = len(self._position.keys() & sent.keys())
        if known == 0:
            return self._by_position(_unwrapped(batch))
        at = [sent.get(name) for name in self.kept]
        columns = [None if i is None else batch.column(i) for i in at]
        missing = sum(1 for i in at if i is None)
        return self._read(columns, batch.rows)._replace(missing=missing, extra=batch.width - known)

    def _by_position(self, batch: Batch | Undecodable) -> Aligned | Undecodable:
        if isinstance(batch, Undecodable) or batch.width != len(self._position):
            return Undecodable(Reason.MISMATCH)
        if self.is_plain and isinstance(batch.values, np.ndarray):
            return Aligned(batch.values)
        return self._read([batch.column(i) for i in self._kept], batch.rows)

    def _read(self, columns: Sequence[Column | None], count: int) -> Aligned:
        if count == 1:
            return self._read_one(
                [None if c is None else c.tolist() if isinstance(c, np.ndarray) else c for c in columns]
            )
        cells = np.empty((count, len(columns)), np.float64)
        listed: list[int] = []
        lists: list[Sequence[float]] = []
        coerced = 0
        for i, column in enumerate(columns):
            if column is None:
                cells[:, i] = values.MISSING
            elif isinstance(column, np.ndarray) and self._numeric[i]:
                cells[:, i] = column
            else:
                plain = column.tolist() if isinstance(column, np.ndarray) else column
                coerced += self._numeric[i] and not _AS_NUMBERS.issuperset(map(type, plain))
                listed.append(i)
                lists.append([self._cells[i](value) for value in plain])
        if listed:
            cells[:, listed] = np.array(lists, np.float64).T
        return Aligned(cells, coerced=coerced)

    def _read_one(self, columns: Sequence[Sequence[object] | None]) -> Aligned:
        """A single row, which is most traffic: without an array for each column it takes a third of the time."""
        row = [
            values.MISSING if column is None else cell(column[0])
            for column, cell in zip(columns, self._cells, strict=True)
        ]
        coerced = sum(
            numeric and column is not None and type(column[0]) not in _AS_NUMBERS
            for column, numeric in zip(columns, self._numeric, strict=True)
        )
        return Aligned(np.array([row], np.float64), coerced=coerced)


def _unwrapped(batch: Batch) -> Batch | Undecodable:
    """
    The rows inside a single column of a name that the reference does not know.

    A tensor signature names its one tensor (``{"instances": [{"dense_input": [1, 2]}]}``), never the columns.
    """
    if batch.width != 1:
        return Undecodable(Reason.MISMATCH)
    column = batch.column(0)
    if isinstance(column, list) and any(isinstance(value, list) for value in column):
        inner = rows.of_rows(column)
        return inner if isinstance(inner, Undecodable) or inner.names is None else Undecodable(Reason.MISMATCH)
    return Batch(batch.rows, None, (column,))


def _cell(feature: Feature, redact: Sequence[Redact], key_bytes: bytes) -> values.Cell:
    match feature.kind:
        case Kind.NUMERIC:
            return values.number
        case Kind.DATETIME:
            return values.instant
        case Kind.TEXT:
            return values.length
        case Kind.CATEGORICAL | Kind.BOOLEAN:
            key = _key(feature, redact, key_bytes)
            return values.category({key(name): i for i, name in enumerate(feature.categories)}, key=key)


def _key(feature: Feature, redact: Sequence[Redact], key_bytes: bytes) -> Callable[[str], str]:
    """What a category's name is looked up by."""
    if redaction.is_hashed(feature, redact):
        return redaction.keyed_hash(key_bytes)
    return values.truth if set(feature.categories) <= {"true", "false"} else str
