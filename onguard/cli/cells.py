"""A table of a batch -> the matrix of cells that the sidecar would have made of the same values, and its counts."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from onguard import contract
from onguard.counts import Counts
from onguard.profile import Feature, Kind, Profile
from onguard_sidecar.analyst import values
from onguard_sidecar.analyst.accumulate import Group

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
_BOOLEAN_NAMES: Final = {"true", "false"}


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """
    Rows of a file as cells.

    Attributes:
        cells: (rows, features) in the profile's order; NaN missing, infinite unparseable.
        absent: features that the file does not have; their cells are missing.
        extra: columns of the file that the profile does not know.
    """

    cells: Floats
    absent: tuple[str, ...]
    extra: tuple[str, ...]


def batch_of(profile: Profile, table: "pa.Table") -> Batch:
    """
    Read a table as live traffic would be read: by name, each value as its feature's kind says.

    Args:
        profile: the reference.
        table: of any types; a type that has no bins is unparseable.
    """
    names = [feature.name for feature in profile.features]
    cells = np.full((table.num_rows, len(names)), np.nan)
    for i, feature in enumerate(profile.features):
        if feature.name in table.column_names and table.num_rows:
            cells[:, i] = _cells(feature, table.column(feature.name))
    return Batch(
        cells=cells,
        absent=tuple(name for name in names if name not in table.column_names),
        extra=tuple(name for name in table.column_names if name not in names),
    )


def _cells(feature: Feature, column: "pa.ChunkedArray[Any]") -> Floats:
    import pyarrow as pa

    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    is_time = types.is_timestamp(kind) or types.is_date(kind)
    if is_number and feature.kind in (Kind.NUMERIC, Kind.DATETIME):
        return _floats(column)
    if is_time and feature.kind is Kind.DATETIME:
        return _floats(column.cast(pa.timestamp("us"), safe=False).cast(pa.int64())) / 1e6
    if types.is_nested(kind):
        return np.where(column.is_null().to_numpy(), np.nan, np.inf)
    return _by_value(cell_of(feature), column)


def _floats(column: "pa.ChunkedArray[Any]") -> Floats:
    import pyarrow as pa

    array = column.cast(pa.float64(), safe=False).fill_null(pa.scalar(np.nan, pa.float64()))
    return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)


def _by_value(cell: values.Cell, column: "pa.ChunkedArray[Any]") -> Floats:
    """Each distinct value is read once."""
    coded = column.combine_chunks().dictionary_encode()
    table = np.array([*(cell(value) for value in coded.dictionary.to_pylist()), np.nan], np.float64)
    codes = np.asarray(coded.indices.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
    return table[codes]


def cell_of(feature: Feature) -> values.Cell:
    """How the sidecar reads one value of a feature."""
    match feature.kind:
        case Kind.NUMERIC:
            return values.number
        case Kind.DATETIME:
            return values.instant
        case Kind.TEXT:
            return values.length
        case Kind.CATEGORICAL | Kind.BOOLEAN:
            key: Callable[[str], str] = values.truth if set(feature.categories) <= _BOOLEAN_NAMES else str
            codes: Mapping[str, int] = {key(name): i for i, name in enumerate(feature.categories)}
            return values.category(codes, key=key)


class Counter:
    """Counts rows, each one request, with the sidecar's own arithmetic; totals only grow."""

    def __init__(self, profile: Profile) -> None:
        self._counts = Counts.zero(profile)
        self._group = Group(profile, [feature.name for feature in profile.features], self._counts)
        self._rows = 0

    def add(self, cells: Floats) -> None:
        """Take rows, (rows, features)."""
        self._group.add(cells, np.full(len(cells), contract.UNIT, np.int64))
        self._rows += len(cells)

    def total(self) -> Counts:
        """A copy of all that was counted."""
        self._group.flush()
        units = self._rows * contract.UNIT
        arrays: dict[str, Any] = {k: v.copy() for k, v in vars(self._counts).items() if isinstance(v, np.ndarray)}
        return dataclasses.replace(self._counts, rows=self._rows, units=units, unit_squares=units, **arrays)
