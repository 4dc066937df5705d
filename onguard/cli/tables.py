"""CSV, parquet and JSON lines files -> columns, through pyarrow; faults name the column and the row."""

import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import numpy as np

from onguard import columns
from onguard.building import unknown_column
from onguard.calibrating import truth
from onguard.columns import Column, Floats, Ints
from onguard.profile import Kind, ProfileError

if TYPE_CHECKING:
    import pyarrow as pa

NULLS: Final = ["", "NULL", "null", "NaN", "nan", "NA", "N/A"]
"""What a CSV writes for a missing value."""
_INDEX: Final = re.compile(r"__index_level_\d+__\Z")
"""pandas writes its row index under this name."""
_CSV_COLUMN: Final = re.compile(r"CSV column #(\d+)")
_PARQUET: Final = frozenset({".parquet", ".pq", ".parq"})
_LINES: Final = frozenset({".jsonl", ".ndjson"})
_CSV: Final = {".csv": ",", ".tsv": "\t"}


class TableError(Exception):
    """The file can't be read; the text says where."""


def read(path: Path) -> "pa.Table":
    """
    Load a file, by its ending (``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, each also ``.gz``; ``.parquet``).

    Raises:
        TableError: if there is no such file, or it is damaged, empty or of another format.
    """
    import pyarrow as pa

    if not path.is_file():
        raise TableError(f'expected a file, got "{path}", which is none')
    suffixes = [s for s in path.suffixes if s != ".gz"]
    ending = suffixes[-1].lower() if suffixes else ""
    try:
        if ending in _PARQUET:
            table = _read_parquet(path)
        elif ending in _CSV:
            table = _read_csv(path, _CSV[ending])
        elif ending in _LINES:
            table = _read_lines(path)
        else:
            raise TableError(f'expected a file .csv, .tsv, .jsonl, .ndjson or .parquet, got "{path.name}"')
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise TableError(f"{path}: {error}") from None
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise TableError(f"{path}: expected unique column names, got {', '.join(sorted(repeated))} more than once")
    return table.select([name for name in table.column_names if not _INDEX.match(name)])


def _read_parquet(path: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    return pq.read_table(path)


def _read_lines(path: Path) -> "pa.Table":
    """One JSON object a line; a key that a line lacks is missing there."""
    from pyarrow import json

    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            return json.read_json(cast(IO[bytes], stream))
    return json.read_json(path)


def _read_csv(path: Path, delimiter: str) -> "pa.Table":
    """A column whose later values are not of the type that its first block suggests is read as text."""
    import pyarrow as pa
    from pyarrow import csv

    types: dict[str, Any] = {}
    while True:
        convert = csv.ConvertOptions(
            null_values=NULLS, strings_can_be_null=True, column_types=types, auto_dict_encode=False
        )
        try:
            return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter), convert_options=convert)
        except pa.ArrowInvalid as error:
            found = _CSV_COLUMN.search(str(error))
            if found is None:
                # Only a reader of one thread knows the row.
                return csv.read_csv(
                    path,
                    read_options=csv.ReadOptions(use_threads=False),
                    parse_options=csv.ParseOptions(delimiter=delimiter),
                )
            with csv.open_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter)) as reader:
                name = reader.schema.names[int(found[1])]
            if name in types:
                raise
            types[name] = pa.string()


def columns_of(table: "pa.Table", *, track: Callable[[Iterable[str]], Iterable[str]] = iter) -> list[Column]:
    """
    Every column of the table in memory.

    Args:
        table: of any types.
        track: wraps the iteration over names, to show progress.

    Raises:
        TableError: for a type that has no bins, such as a list.
    """
    return [_column(name, table.column(name)) for name in track(table.column_names)]


def _column(name: str, values: "pa.ChunkedArray[Any]") -> Column:
    import pyarrow as pa

    kind, types = values.type, pa.types
    if types.is_dictionary(kind):
        values, kind = values.cast(kind.value_type), kind.value_type
    if types.is_boolean(kind):
        return columns.of_flags(name, _filled(values.cast(pa.int64()), -1).astype(np.int64))
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return columns.of_numbers(name, _filled(values.cast(pa.float64(), safe=False), np.nan))
    if types.is_timestamp(kind) or types.is_date(kind):
        return columns.of_numbers(name, _seconds(values), kind=Kind.DATETIME)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        return columns.of_names(name, *_coded(values.cast(pa.string())))
    raise TableError(
        f'expected numbers, booleans, times or text, got {kind} - at column "{name}" (leave it out with --drop {name})'
    )


def _filled(values: "pa.ChunkedArray[Any]", missing: float) -> Floats:
    import pyarrow as pa

    array: Floats = np.asarray(values.fill_null(pa.scalar(missing, values.type)).to_numpy(zero_copy_only=False))
    return array


def _seconds(values: "pa.ChunkedArray[Any]") -> Floats:
    """Seconds since 1970; a time without zone is UTC."""
    import pyarrow as pa

    micros = _filled(values.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).cast(pa.float64()), np.nan)
    return micros / 1e6


def _coded(values: "pa.ChunkedArray[Any]") -> tuple[Ints, tuple[str, ...]]:
    coded = values.combine_chunks().dictionary_encode()
    codes = np.asarray(coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64)
    return codes, tuple(str(name) for name in coded.dictionary.to_pylist())


def drop(table: "pa.Table", names: Iterable[str]) -> "pa.Table":
    """
    The table without some columns.

    Raises:
        ProfileError: for a column that is not there.
    """
    for name in names:
        if name not in table.column_names:
            raise ProfileError(unknown_column(name, table.column_names))
    return table.drop_columns(list(names))


def with_truth(table: "pa.Table", label: str | None) -> tuple["pa.Table", Floats | None]:
    """
    The other columns, and (rows,) labels: 0, 1 or NaN; None without the name of one.

    Raises:
        ProfileError: for a column that is not there, or a value that is no label.
    """
    if label is None:
        return table, None
    if label not in table.column_names:
        raise ProfileError(unknown_column(label, table.column_names))
    return table.drop_columns([label]), truth(_column(label, table.column(label)))
