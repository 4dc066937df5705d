"""
A reference from live traffic: counts of the first requests of a recording, in the bins that it was counted in.

The bins come from other rows (the profile's), so the counted rows are an independent sample of them, as in a profile
from a file. Rows of one request are not independent: the design effect is rows per request. What is learned is what was
there: a fault of these days becomes normal, so the profile says ``learned``, and a person has to accept it.
"""

import dataclasses
from collections.abc import Iterable
from typing import Final

import numpy as np

from onguard import contract
from onguard.counts import SUM_SCALE, Counts, from_wire
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
    total, span = _sum(source.bins, frames, requests, least_days * DAY_S)
    got = total.units / contract.UNIT
    if got < requests or span < least_days * DAY_S:
        raise ProfileError(
            f"expected {requests:,} requests over at least {least_days:g} days, got {got:,.0f} over "
            f"{span / DAY_S:.2f} days"
        )
    return frozen(source, total, span_s=span)


def frozen(source: Source, total: Counts, *, span_s: float) -> Profile:
    """
    The reference that counts of live traffic are, in the bins that they were counted in.

    Args:
        source: bins and names.
        total: all that was counted, at least one request.
        span_s: how long that took.
    """
    got = total.units / contract.UNIT
    kept = [i for i, f in enumerate(source.bins.features) if _is_counted(source.bins, i, total, f)]
    return Profile(
        source=f"live traffic: {got:,.0f} requests over {_days(span_s)}, {source.name}",
        created=source.created,
        learned=True,
        rows=total.rows,
        edge_rows=source.bins.edge_rows,
        design_effect=max(total.rows / got, 1.0),
        features=tuple(_feature(source.bins, i, total) for i in kept),
        moments=_moments(source.bins, total),
    )


def _days(span_s: float) -> str:
    """
    How long the traffic was, and whether that is enough to know a week.

    >>> _days(8 * DAY_S), _days(3600.0)
    ('8 days', '0.0417 days (a reference should span 7)')
    """
    text = f"{span_s / DAY_S:.3g} days"
    return text if span_s >= LEAST_DAYS * DAY_S else f"{text} (a reference should span {LEAST_DAYS:g})"


def _sum(bins: Profile, frames: Iterable[Frame], requests: int, least_s: float) -> tuple[Counts, float]:
    """Differences of all pods and boots, until there is enough of both; and the seconds that they span."""
    first: dict[tuple[str, str], Counts] = {}
    last: dict[tuple[str, str], Counts] = {}
    began, at = None, 0.0
    for frame in frames:
        began, at = frame.at if began is None else began, frame.at
        for pod in frame.pods:
            if pod.report is not None and pod.report.counts is not None and pod.arm != contract.ARM_SHADOW:
                key = (pod.uid, pod.report.analyst_boot)
                last[key] = from_wire(pod.report.counts, bins)
                first.setdefault(key, last[key] if frame.at == began else Counts.zero(bins))
        units = sum(last[key].units - first[key].units for key in last)
        if units >= requests * contract.UNIT and at - began >= least_s:
            break
    total = Counts.zero(bins)
    for key, value in last.items():
        total = total + (value - first[key])
    return total, at - (began or at)


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
