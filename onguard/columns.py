"""
A column of a reference file in memory, and what kind and role it has.

Values are either float64 (NaN missing, infinite unparseable) or codes into a list of names (-1 missing), so that a
million rows of a few names are cheap.
"""

import dataclasses
import math
import re
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard.profile import Kind, ProfileError, Role

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ID_UNIQUE: Final = 0.9
"""Share of distinct values from which names are identifiers."""
NUMBER_LIKE: Final = 0.9
"""Share of names that read as numbers from which a column of names is numeric; the rest is unparseable."""
TEXT_WORDS: Final = 3.0
"""Mean words from which distinct names are text rather than identifiers."""
_MIN_DISTINCT: Final = 20
"""Fewer distinct values than this are neither identifiers nor text."""
_EPOCHS: Final = ((9e8, 4e9), (9e11, 4e12))
"""Seconds or milliseconds since 1970 between 1998 and 2096."""
_PADDED: Final = re.compile(r"[+-]?0\d")
_ID_NAME: Final = re.compile(r"(?:^|[^a-z])(?:id|uuid|guid|key|index|row|number|no)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Column:
    """
    One column. Exactly one of ``numbers`` and ``codes`` is there.

    Attributes:
        name: header.
        kind: how its values are binned.
        role: what they mean.
        numbers: (rows,) values; datetimes in seconds since 1970, text as its length.
        codes: (rows,) index into ``names``, -1 for missing.
        names: distinct names.
    """

    name: str
    kind: Kind
    role: Role = Role.FEATURE
    numbers: Floats | None = None
    codes: Ints | None = None
    names: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Length."""
        return len(self.present)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(rows,) whether there is a readable value."""
        if self.numbers is not None:
            return np.isfinite(self.numbers)
        if self.codes is None:
            raise ProfileError(f'expected numbers or codes, got neither - at column "{self.name}"')
        return self.codes >= 0


def of_numbers(name: str, numbers: Floats, *, kind: Kind = Kind.NUMERIC) -> Column:
    """
    A column of numbers or instants with its role.

    >>> of_numbers("made_at", 1.7e9 + np.arange(40.0)).role, of_numbers("order_id", np.arange(40.0)).role
    (<Role.TIME: 'time'>, <Role.ID: 'id'>)
    >>> of_numbers("age", np.arange(40.0) % 7).role
    <Role.FEATURE: 'feature'>
    """
    numbers = np.asarray(numbers, np.float64)
    role = Role.TIME if kind is Kind.DATETIME else _number_role(name, numbers)
    return Column(name=name, kind=kind, role=role, numbers=numbers)


def _number_role(name: str, numbers: Floats) -> Role:
    finite = numbers[np.isfinite(numbers)]
    distinct = np.unique(finite).size
    if distinct < _MIN_DISTINCT or not np.array_equal(finite, np.floor(finite)):
        return Role.FEATURE
    moves_on = bool(np.all(np.diff(finite) >= 0))
    if any(low < finite.min() and finite.max() < high for low, high in _EPOCHS) and (moves_on or _is_time(name)):
        return Role.TIME
    is_unique = distinct > ID_UNIQUE * finite.size
    counts_up = moves_on and finite[-1] - finite[0] < 2 * finite.size
    return Role.ID if is_unique and (counts_up or _ID_NAME.search(name)) else Role.FEATURE


def _is_time(name: str) -> bool:
    return bool(re.search(r"time|date|stamp|_at$|_ts$|^ts$", name, re.IGNORECASE))


def of_flags(name: str, codes: Ints) -> Column:
    """A boolean column: code 0 is false, 1 is true, -1 missing."""
    return Column(name=name, kind=Kind.BOOLEAN, codes=codes, names=("false", "true"))


def of_names(name: str, codes: Ints, names: tuple[str, ...]) -> Column:
    """
    A column of names: categories, identifiers, text (by its length), or numbers with some unreadable ones.

    >>> of_names("town", np.array([0, 1, 0, -1]), ("Bern", "Chur")).kind
    <Kind.CATEGORICAL: 'categorical'>
    >>> column = of_names("age", np.arange(20), (*map(str, range(19)), "n/a?"))
    >>> column.kind, float(column.numbers[-1])
    (<Kind.NUMERIC: 'numeric'>, inf)
    """
    rows_of = np.bincount(codes[codes >= 0], minlength=len(names))
    total = int(rows_of.sum())
    numbers = np.array([_number(text) for text in names], np.float64)
    if total and rows_of[np.isfinite(numbers)].sum() >= NUMBER_LIKE * total:
        return of_numbers(name, np.append(numbers, math.nan)[codes])
    if len(names) < _MIN_DISTINCT or len(names) <= ID_UNIQUE * total:
        return Column(name=name, kind=Kind.CATEGORICAL, codes=codes, names=names)
    if sum(len(text.split()) for text in names) >= TEXT_WORDS * len(names):
        lengths = np.append(np.array([float(len(text)) for text in names]), math.nan)
        return Column(name=name, kind=Kind.TEXT, role=Role.TEXT, numbers=lengths[codes])
    return Column(name=name, kind=Kind.CATEGORICAL, role=Role.ID, codes=codes, names=names)


def _number(text: str) -> float:
    """The number that ``text`` is; infinite where it is none, or a code such as a zip code with leading zeros."""
    if _PADDED.match(text.strip()) or "_" in text:
        return math.inf
    try:
        return float(text)
    except ValueError:
        return math.inf


def with_role(column: Column, role: Role) -> Column:
    """
    The same column read as ``role`` by a person's wish.

    Raises:
        ProfileError: for a role that needs values of another kind.
    """
    if role not in (Role.FEATURE, Role.ID, Role.TIME):
        raise ProfileError(f'expected role feature, id or time, got {role} - at column "{column.name}"')
    return dataclasses.replace(column, role=role)


def rows_of(column: Column, mask: npt.NDArray[np.bool_]) -> Column:
    """
    Some rows of a column.

    >>> rows_of(of_numbers("age", np.array([1.0, 2.0])), np.array([False, True])).numbers
    array([2.])
    """
    if column.numbers is not None:
        return dataclasses.replace(column, numbers=column.numbers[mask])
    return dataclasses.replace(column, codes=codes_of(column)[mask])


def numbers_of(column: Column) -> Floats:
    """Numbers of a column that has them."""
    if column.numbers is None:
        raise ProfileError(f'expected numbers, got names - at column "{column.name}"')
    return column.numbers


def codes_of(column: Column) -> Ints:
    """Codes of a column that has them."""
    if column.codes is None:
        raise ProfileError(f'expected names, got numbers - at column "{column.name}"')
    return column.codes
