"""
Season: the reference hour by hour of a week's days and weekends, so that a daily rhythm is not drift.

Cells are the 24 hours of the day in UTC, of Monday to Friday and of the weekend: 48. A reference with cells has limits
for each of them, from its own counts, at 1/48 of the error; a request is judged by the limits of the hour that it came
in. H0 of the detector's theorem then reads: the probability of each event lies within the tolerance of what it was *at
that hour*. Which hour it is is known beforehand, so the theorem holds as it stands.

What the reference does not know is not guessed. An hour with few requests has wide limits, and one with none has no
limits at all: nothing is judged then. Days that differ by more than their hours do (a holiday, a change of the season
of the year, an hour of daylight saving time) are beyond it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from onguard.profile import Group, Profile, ProfileError

Ints = npt.NDArray[np.int64]

HOURS: Final = 24
CELLS: Final = 2 * HOURS
HOUR_S: Final = 3600
LATE_S: Final = 60.0
"""A request may be counted so much later than it came."""
LEAST_DAYS: Final = 7.0
"""A week has each hour of each day; less is no season."""
MANY: Final = 5000
"""Effective requests from which a cell's limits are as narrow as the tolerance is wide, about."""
KEY: Final = "season"
FORMAT: Final = 1


class _Cell(msgspec.Struct, frozen=True, array_like=True):
    cell: int
    counts: tuple[int, ...]


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    version: int = FORMAT
    cells: tuple[_Cell, ...]


def cell_of(unix: float) -> int:
    """
    Cell of a moment: its hour in UTC, and 24 more at the weekend.

    >>> cell_of(0.0), cell_of(13.5 * 3600), cell_of(2 * 86_400.0)
    (0, 13, 24)
    """
    moment = dt.datetime.fromtimestamp(unix, dt.UTC)
    return moment.hour + (HOURS if moment.weekday() >= 5 else 0)


def cells_between(start: float, end: float) -> frozenset[int]:
    """
    Cells that requests counted in (start, end] may have come in.

    >>> sorted(cells_between(7200.0 + 600, 7200.0 + 615)), sorted(cells_between(7200.0, 7200.0 + 15))
    ([2], [1, 2])
    >>> len(cells_between(0.0, 14 * 86_400.0))
    48
    """
    first = int((start - LATE_S) // HOUR_S)
    last = min(int(end // HOUR_S), first + 7 * HOURS)
    return frozenset(cell_of(float(hour * HOUR_S)) for hour in range(first, last + 1))


def with_season(profile: Profile, cells: Mapping[int, Ints]) -> Profile:
    """The same reference with counts per cell, each (B,) in its layout; cells without a row are left out."""
    kept = tuple(_Cell(cell, tuple(bins.tolist())) for cell, bins in sorted(cells.items()) if bins.any())
    raw = msgspec.Raw(msgspec.json.encode(_Saved(cells=kept)))
    fields = {name: getattr(profile, name) for name in profile.__struct_fields__}
    return Profile(**{**fields, "extensions": {**profile.extensions, KEY: raw}})


def season_of(profile: Profile) -> Mapping[int, Ints]:
    """
    Counts per cell in the profile's layout; empty without a season.

    Raises:
        ProfileError: for cells that are none, or counts that do not fit the bins.
    """
    raw = profile.extensions.get(KEY)
    if raw is None:
        return {}
    try:
        saved = msgspec.json.decode(raw, type=_Saved)
    except msgspec.DecodeError as error:
        raise ProfileError(f"{error} - at `profile.extensions.season`") from None
    found = {}
    for i, one in enumerate(saved.cells):
        where = f"at `profile.extensions.season.cells[{i}]`"
        if not 0 <= one.cell < CELLS or one.cell in found:
            raise ProfileError(f"expected each cell from 0 to {CELLS - 1} once, got {one.cell} - {where}")
        if len(one.counts) != profile.layout.total or min(one.counts) < 0:
            raise ProfileError(f"expected {profile.layout.total} counts >= 0, got {len(one.counts)} - {where}")
        found[one.cell] = np.array(one.counts, np.int64)
    return found


def rows_of(profile: Profile, bins: Ints) -> int:
    """Rows behind the counts of one cell: each is in each input once."""
    inputs = (i for i, feature in enumerate(profile.features) if feature.group is Group.INPUT)
    return max((int(bins[profile.layout.block(i)].sum()) for i in inputs), default=0)


def thin(profile: Profile, hours: Iterable[int] = range(CELLS)) -> tuple[int, int]:
    """How many of the cells have fewer effective rows than ``MANY``, and how many of these have none."""
    cells, effect = season_of(profile), max(profile.design_effect or 1.0, 1.0)
    rows = [rows_of(profile, cells[cell]) / effect if cell in cells else 0.0 for cell in hours]
    return sum(n < MANY for n in rows), sum(n == 0 for n in rows)


def remark(profile: Profile) -> str:
    """
    What a person should know of the season of a reference; empty if it has none.

    >>> from onguard.profile import Feature, Kind
    >>> town = Feature(name="town", kind=Kind.CATEGORICAL, categories=("a",), counts=(5, 1, 0, 0, 0, 0))
    >>> remark(with_season(Profile(rows=6, features=(town,)), {3: np.array([5, 1, 0, 0, 0, 0])}))
    'by hour (UTC), weekdays and weekends apart; 48 of 48 have under 5,000 requests: wide limits; 47 none: not judged'
    """
    if KEY not in profile.extensions:
        return ""
    few, none = thin(profile)
    text = "by hour (UTC), weekdays and weekends apart"
    text += f"; {few} of {CELLS} have under {MANY:,} requests: wide limits" if few else ""
    return text + (f"; {none} none: not judged" if none else "")
