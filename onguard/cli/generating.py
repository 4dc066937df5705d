"""Rows of made-up traffic, as cells: drawn from a reference's own marginals, or from a file; and faults in them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from onguard.profile import Feature, Profile

Floats = npt.NDArray[np.float64]
Random = np.random.Generator
_WHOLE_NUMBERS: Final = 10**9


class FaultError(ValueError):
    """A fault can't be made; the text says what was expected."""


class Rows(Protocol):
    """Where rows come from."""

    def draw(self, count: int, random: Random) -> Floats:
        """(count, features) cells, and where rows have a label one more column of it: 0, 1 or NaN."""


class FromProfile:
    """
    Rows whose every feature has the reference's law; features are independent, which real ones are not.

    Args:
        profile: the reference.
    """

    def __init__(self, profile: Profile) -> None:
        self._features = profile.features
        self._shares = [np.array(f.counts, np.float64) / max(sum(f.counts), 1) for f in profile.features]

    def draw(self, count: int, random: Random) -> Floats:
        """Draw a bin, then a value of it."""
        cells = np.empty((count, len(self._features)))
        for i, (feature, shares) in enumerate(zip(self._features, self._shares, strict=True)):
            bins = random.choice(shares.size, size=count, p=shares) if shares.any() else np.full(count, shares.size - 4)
            cells[:, i] = values_of(feature, bins, random)
        return cells


class FromFile:
    """
    Rows of a file in their order, and again from the first.

    Args:
        cells: (rows, features) of the file, at least one row.
        labels: (rows,) of them; None: they have none.
    """

    def __init__(self, cells: Floats, labels: Floats | None = None) -> None:
        self._cells = cells if labels is None else np.column_stack([cells, labels])
        self._next = 0

    def draw(self, count: int, random: Random) -> Floats:  # noqa: ARG002 - the file decides
        """Take the next rows."""
        at = (self._next + np.arange(count)) % len(self._cells)
        self._next += count
        rows: Floats = self._cells[at]
        return rows


def values_of(feature: Feature, bins: npt.NDArray[np.int64], random: Random) -> Floats:
    """
    A value of each bin: its category's index, or a number inside it (whole where the edges are).

    >>> from onguard.profile import Kind, Numeric
    >>> age = Feature(name="age", kind=Kind.NUMERIC, edges=(30.0,), counts=(0,) * 6,
    ...     numeric=Numeric(minimum=18, maximum=90, mean=40, sd=9))
    >>> x = values_of(age, np.array([0, 1, 2, 3, 4, 5]), np.random.default_rng(1))
    >>> all([18 <= x[0] <= 30 < x[1] <= 90, np.isnan(x[2]), np.isinf(x[3]), x[4] < 18, x[5] > 90])
    True
    """
    numeric, special = feature.numeric, feature.value_bins
    if numeric is None:
        cells = bins.astype(np.float64)
    elif not np.isfinite(numeric.maximum - numeric.minimum):
        cells = random.integers(_WHOLE_NUMBERS, size=bins.size).astype(np.float64)  # an identifier or a clock
    else:
        ends = np.array([numeric.minimum, *feature.edges, numeric.maximum])
        at = np.minimum(bins, special - 1)
        cells = ends[at + 1] - random.random(bins.size) * (ends[at + 1] - ends[at])
        if np.array_equal(ends, np.floor(ends)):
            cells = np.ceil(cells)
        far = max(numeric.sd, 1.0)
        cells[bins == special + 2] = numeric.minimum - far
        cells[bins == special + 3] = numeric.maximum + far
    cells[bins == special] = np.nan
    cells[bins == special + 1] = np.inf
    return cells


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that happens to one column: ``apply`` changes cells in place."""

    text: str
    apply: Callable[[Floats, Random], None]


def fault_of(text: str, profile: Profile) -> Fault:
    """
    Read ``FEATURE=KIND[:ARGUMENT[:SHARE]]``.

    Kinds: ``shift:X`` adds, ``scale:X`` multiplies, ``set:X[:SHARE]`` replaces, ``missing:SHARE``, ``unseen:SHARE``,
    ``stuck`` repeats one value, ``swap:FEATURE`` exchanges two columns. Shares are from 0 to 1.

    Raises:
        FaultError: for an unknown feature or kind, or an argument that is none.

    >>> from onguard.profile import Kind
    >>> towns = Feature(name="town", kind=Kind.CATEGORICAL, categories=("a",), counts=(1, 0, 0, 0, 0, 0))
    >>> fault_of("town=melt", Profile(rows=1, features=(towns,)))
    Traceback (most recent call last):
    onguard.cli.generating.FaultError: expected FEATURE=shift|scale|set|missing|unseen|stuck|swap ..., got "town=melt"
    """
    name, _, rest = text.rpartition("=")
    kind, *arguments = rest.split(":")
    names = profile.layout.names
    if kind not in _FAULTS:
        raise FaultError(f'expected FEATURE={"|".join(_FAULTS)} with its argument, got "{text}"')
    if name not in names or (kind == "swap" and [*arguments, ""][0] not in names):
        raise FaultError(f'expected a feature of the reference ({", ".join(names[:10])}), got "{text}"')
    at = names.index(name)
    try:
        return Fault(text, _FAULTS[kind](_Place(at, profile.features[at], names), arguments))
    except (ValueError, IndexError):
        raise FaultError(f'expected {_USAGE[kind]}, got "{text}"') from None


@dataclasses.dataclass(frozen=True)
class _Place:
    at: int
    feature: Feature
    names: tuple[str, ...]


_Make = Callable[[_Place, list[str]], Callable[[Floats, Random], None]]


def _hit(rows: int, share: float, random: Random) -> npt.NDArray[np.bool_]:
    hit: npt.NDArray[np.bool_] = random.random(rows) < share
    return hit


def _share(arguments: list[str], at: int, default: float | None = None) -> float:
    if default is not None and len(arguments) <= at:
        return default
    share = float(arguments[at])
    if not 0.0 <= share <= 1.0:
        raise ValueError(share)
    return share


def _shift(place: _Place, arguments: list[str]) -> Callable[[Floats, Random], None]:
    by = float(arguments[0])

    def apply(cells: Floats, _: Random) -> None:
        cells[:, place.at] += by

    return apply


def _scale(place: _Place, arguments: list[str]) -> Callable[[Floats, Random], None]:
    by = float(arguments[0])

    def apply(cells: Floats, _: Random) -> None:
        cells[:, place.at] *= by

    return apply


def _replace(place: _Place, value: float, share: float) -> Callable[[Floats, Random], None]:
    def apply(cells: Floats, random: Random) -> None:
        cells[_hit(len(cells), share, random), place.at] = value

    return apply


def _set(place: _Place, arguments: list[str]) -> Callable[[Floats, Random], None]:
    categories = place.feature.categories
    value = float(categories.index(arguments[0])) if categories else float(arguments[0])
    return _replace(place, value, _share(arguments, 1, 1.0))


def _missing(place: _Place, arguments: list[str]) -> Callable[[Floats, Random], None]:
    return _replace(place, np.nan, _share(arguments, 0))


def _unseen(place: _Place, arguments: list[str]) -> Callable[[Floats, Random], None]:
    if place.feature.numeric is not None:
        raise ValueError(place.feature.name)
    return _replace(place, float(len(place.feature.categories)), _share(arguments, 0))


def _stuck(place: _Place, _: list[str]) -> Callable[[Floats, Random], None]:
    kept: list[float] = []

    def apply(cells: Floats, _: Random) -> None:
        kept.extend(cells[: 1 - len(kept), place.at])
        cells[:, place.at] = kept[:1] or np.nan

    return apply


def _swap(place: _Place, arguments: list[str]) -> Callable[[Floats, Random], None]:
    pair = [place.at, place.names.index(arguments[0])]

    def apply(cells: Floats, _: Random) -> None:
        cells[:, pair] = cells[:, pair[::-1]]

    return apply


_FAULTS: Final[Mapping[str, _Make]] = {
    "shift": _shift,
    "scale": _scale,
    "set": _set,
    "missing": _missing,
    "unseen": _unseen,
    "stuck": _stuck,
    "swap": _swap,
}
_USAGE: Final = {
    "shift": "FEATURE=shift:NUMBER",
    "scale": "FEATURE=scale:NUMBER",
    "set": "FEATURE=set:VALUE[:SHARE]",
    "missing": "FEATURE=missing:SHARE, a share from 0 to 1",
    "unseen": "FEATURE=unseen:SHARE of a categorical feature, a share from 0 to 1",
    "stuck": "FEATURE=stuck",
    "swap": "FEATURE=swap:FEATURE",
}
