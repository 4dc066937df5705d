"""
A reference from live traffic: counts of the first requests of a recording, in the bins that it was counted in.

The bins come from other rows (the profile's), so the counted rows are an independent sample of them, as in a profile
from a file. Rows of one request are not independent: the design effect is rows per request. What is learned is what was
there: a fault of these days becomes normal, so the profile says ``learned``, and a person has to accept it.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from onguard import contract, season
from onguard.counts import SUM_SCALE, Counts, Ints, from_wire
from onguard.frames import Frame
from onguard.profile import MAX_ATOMS, SENTINELS, Feature, Group, Moments, Numeric, Profile, ProfileError

LEAST_DAYS: Final = 7.0
"""A week has every hour of the day and every day of the week."""
DAY_S: Final = 86_400.0


@dataclasses.dataclass(frozen=True)
class Source:
    """
    Where a learned reference comes from.

    Attributes:
        bins: the profile that the traffic was counted with.
        name: of the recording, for people.
        created: RFC 3339 time.
    """

    bins: Profile
    name: str
    created: str | None = None


def learn(source: Source, frames: Iterable[Frame], *, requests: int, least_days: float = LEAST_DAYS) -> Profile:
    """
    Freeze a reference.

    Args:
        source: bins and names.
        frames: of a recording, in order; counters that were there before it began are left out.
        requests: stop after so many.
        least_days: least span of the traffic.

    Raises:
        ProfileError: if the recording has fewer requests or days.
        CountsError: if it was counted with another profile.
    """
    summed = _Sum(source.bins)
    for frame in frames:
        summed.add(frame)
        if summed.total.units >= requests * contract.UNIT and summed.span_s >= least_days * DAY_S:
            break
    got, span = summed.total.units / contract.UNIT, summed.span_s
    if got < requests or span < least_days * DAY_S:
        raise ProfileError(
            f"expected {requests:,} requests over at least {least_days:g} days, got {got:,.0f} over "
            f"{span / DAY_S:.2f} days"
        )
    return frozen(source, summed.total, span_s=span, hours=summed.hours)


def frozen(source: Source, total: Counts, *, span_s: float, hours: Mapping[int, Ints]) -> Profile:
    """
    The reference that counts of live traffic are, in the bins that they were counted in.

    Args:
        source: bins and names.
        total: all that was counted, at least one request.
        span_s: how long that took.
        hours: rows per bin by cell of the season; kept from a week on.
    """
    got = total.units / contract.UNIT
    kept = [i for i, f in enumerate(source.bins.features) if _is_counted(source.bins, i, total, f)]
    made = Profile(
        source=f"live traffic: {got:,.0f} requests over {_days(span_s)}, {source.name}",
        created=source.created,
        learned=True,
        rows=total.rows,
        edge_rows=source.bins.edge_rows,
        design_effect=max(total.rows / got, 1.0),
        features=tuple(_feature(source.bins, i, total) for i in kept),
        moments=_moments(source.bins, total),
    )
    if span_s < season.LEAST_DAYS * DAY_S:
        return made
    blocks = [source.bins.layout.block(i) for i in kept]
    return season.with_season(made, {c: np.concatenate([bins[block] for block in blocks]) for c, bins in hours.items()})


def _days(span_s: float) -> str:
    """
    How long the traffic was, and whether that is enough to know a week.

    >>> _days(8 * DAY_S), _days(3600.0)
    ('8 days', '0.0417 days (a reference should span 7)')
    """
    text = f"{span_s / DAY_S:.3g} days"
    return text if span_s >= LEAST_DAYS * DAY_S else f"{text} (a reference should span {LEAST_DAYS:g})"


class _Sum:
    """
    Differences of all pods and boots.

    Attributes:
        total: all of it.
        hours: rows per bin by cell of the season; what may have come in two cells is in none.
        span_s: seconds between the first frame and the last.
    """

    def __init__(self, bins: Profile) -> None:
        self.total = Counts.zero(bins)
        self.hours: dict[int, Ints] = {}
        self.span_s = 0.0
        self._bins = bins
        self._began: float | None = None
        self._at = 0.0
        self._read: dict[tuple[str, str], tuple[Counts, float]] = {}

    def add(self, frame: Frame) -> None:
        """Take the next frame; of the first one, only where its counters stand."""
        is_first, before = self._began is None, self._at
        self._began, self._at = frame.at if self._began is None else self._began, frame.at
        self.span_s = self._at - self._began
        for pod in frame.pods:
            if pod.report is not None and pod.report.counts is not None and pod.arm != contract.ARM_SHADOW:
                key, counts = (pod.uid, pod.report.analyst_boot), from_wire(pod.report.counts, self._bins)
                known = self._read.get(key, (counts if is_first else Counts.zero(self._bins), before))
                self._read[key] = counts, frame.at
                self._note(counts - known[0], season.cells_between(known[1], frame.at))

    def _note(self, new: Counts, cells: frozenset[int]) -> None:
        self.total = self.total + new
        if len(cells) == 1 and new.rows:
            (cell,) = cells
            self.hours[cell] = self.hours[cell] + new.bins if cell in self.hours else new.bins


def _is_counted(bins: Profile, at: int, total: Counts, feature: Feature) -> bool:
    """Whether every row was counted in this feature (a dropped field is not); of outputs, whether any was."""
    rows = int(total.bins[bins.layout.block(at)].sum())
    return rows > 0 if feature.group is Group.OUTPUT else rows == total.rows


def _feature(bins: Profile, at: int, total: Counts) -> Feature:
    old = bins.features[at]
    fields = {name: getattr(old, name) for name in old.__struct_fields__}
    counts = tuple(total.bins[bins.layout.block(at)].tolist())
    numeric = _numeric(old.numeric, at, total) if old.numeric is not None else None
    return Feature(**{**fields, "counts": counts, "numeric": numeric, "design_effect": None})


def _numeric(old: Numeric, at: int, total: Counts) -> Numeric:
    exponents, atoms = total.exponents[at], total.atoms[at]
    cells = np.flatnonzero(exponents)
    own = len(old.atoms)
    return Numeric(
        minimum=old.minimum,
        maximum=old.maximum,
        mean=old.mean,
        sd=old.sd,
        atoms=old.atoms,
        atom_counts=tuple(atoms[[*range(own), *range(MAX_ATOMS, MAX_ATOMS + len(SENTINELS))]].tolist()),
        exponents=tuple(zip(cells.tolist(), exponents[cells].tolist(), strict=True)),
        repeats=int(total.repeats[at]),
        clipped_sum=round(float(total.clipped[at, 0]) / SUM_SCALE, 4),
        clipped_squares=round(float(total.clipped[at, 1]) / SUM_SCALE, 4),
    )


def _moments(bins: Profile, total: Counts) -> Moments | None:
    if bins.moments is None:
        return None
    names = bins.moments.features
    at = [bins.layout.names.index(name) for name in names]
    products = np.round(total.products / SUM_SCALE / max(total.rows, 1), 6) + 0.0
    means = np.round(total.clipped[at, 0] / SUM_SCALE / max(total.rows, 1), 6) + 0.0
    return Moments(features=names, means=tuple(means.tolist()), products=tuple(tuple(row) for row in products.tolist()))
