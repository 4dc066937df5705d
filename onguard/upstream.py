"""
Faults of the data's way to the model that look like drift, named from counters.

A stuck value, a flood of one default, another unit and exchanged columns may stay inside the reference's range, so that
no objective of data quality sees them, and drift alone would call them a new population and retrain on them. What gives
them away:

* stuck: a row equals the row before far more often than in the reference;
* default: one value (0, -1, 999, ... or one that the reference repeats) has gained share, and without its rows the
  distribution is that of the reference;
* scaled: the exponent histogram is the reference's moved along by at least an octave, since a factor moves each value
  by the same number of cells, one more or less for rounding;
* shortened: the shares are what cutting the reference's names or whole numbers after so many characters makes of them;
* exchanged: the exponent histograms and the correlations are the reference's with two columns swapped or all rotated.

They explain an alarm that is there already; by themselves they raise none. Where marginals and correlations of the
exchanged columns agree, the exchange is not identifiable and nothing is said.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard import binning, shortened
from onguard.counts import SUM_SCALE, Counts
from onguard.profile import CLIP_SD, EXPONENT_CELLS, EXPONENT_LIMIT, MAX_ATOMS, SENTINELS, Feature, Group, Profile, Role

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_ROWS: Final = 400
"""Fewer rows since the alarm explain nothing yet."""
STUCK_SHARE: Final = 0.9
STUCK_GAIN: Final = 0.3
DEFAULT_GAIN: Final = 0.05
DEFAULT_BEFORE: Final = 0.25
"""A value that was more frequent than this may well become more so in another population."""
REST_WITHIN: Final = 0.03
"""Largest CDF shift of the other values that still counts as none, beyond sampling."""
SCALE_CELLS: Final = 2
"""A unit changes by a factor of at least 2: a population that doubles is no population of the reference."""
SCALE_GAIN: Final = 0.2
"""CDF shift over the exponent cells from which another unit is looked for."""
EXCHANGE_GAIN: Final = 0.1
"""An exchange must be nearer to the reference than no exchange by this much, mean distance of the columns in it."""
_Z: Final = 3.0
_SLACK: Final = 0.05
_LEAST_VARIANCE: Final = 1e-4


Look = Callable[[Profile, Counts, int], "Upstream | None"]


class Kind(StrEnum):
    """What happened on the way."""

    STUCK = "stuck"
    DEFAULT = "default"
    SCALED = "scaled"
    EXCHANGED = "exchanged"
    SHORTENED = "shortened"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upstream:
    """A fault with its columns and a sentence for people."""

    kind: Kind
    features: tuple[str, ...]
    text: str


def explain(profile: Profile, counts: Counts) -> tuple[Upstream, ...]:
    """
    Faults that explain what the rows since an alarm look like; none of too few rows.

    Args:
        profile: the reference.
        counts: rows since the alarm, all replicas summed.
    """
    if counts.rows < LEAST_ROWS:
        return ()
    found = [*_singly(profile, counts, _frozen, taken=set())]
    exchanged = _exchange(_Columns.of(profile, counts), {name for fault in found for name in fault.features})
    found += [exchanged] if exchanged else []
    # A column of another scale in this one's place looks like another unit: exchanges are tried first.
    found += _singly(profile, counts, _scaled, taken={name for fault in found for name in fault.features})
    found += _singly(profile, counts, _shortened, taken={name for fault in found for name in fault.features})
    return tuple(found)


def _singly(profile: Profile, counts: Counts, look: Look, *, taken: set[str]) -> Iterator[Upstream]:
    for at, feature in enumerate(profile.features):
        live = counts.bins[profile.layout.block(at)]
        present = int(live[: feature.value_bins].sum() + live[feature.value_bins + 2 :].sum())
        is_judged = feature.group is Group.INPUT and feature.role is Role.FEATURE and feature.name not in taken
        if is_judged and present >= LEAST_ROWS and (fault := look(profile, counts, at)) is not None:
            yield fault


def _frozen(profile: Profile, counts: Counts, at: int) -> Upstream | None:
    feature, live = profile.features[at], counts.bins[profile.layout.block(at)]
    if feature.numeric is None:
        return None
    present = int(live[: feature.value_bins].sum() + live[feature.value_bins + 2 :].sum())
    return _stuck(profile, feature, int(counts.repeats[at]) / present) or _default(feature, live, counts.atoms[at])


def _stuck(profile: Profile, feature: Feature, repeats: float) -> Upstream | None:
    before = feature.numeric.repeats / max(profile.rows, 1) if feature.numeric else 1.0
    if repeats < max(STUCK_SHARE, before + STUCK_GAIN):
        return None
    text = f"{feature.name} equals the row before in {repeats:.0%} of the rows, {before:.0%} in the reference"
    return Upstream(kind=Kind.STUCK, features=(feature.name,), text=text)


def _default(feature: Feature, live: Ints, atoms: Ints) -> Upstream | None:
    if (numeric := feature.numeric) is None:
        return None
    reference, own = np.array(feature.counts, np.int64), numeric.atoms[:MAX_ATOMS]
    values = np.array([*own, *SENTINELS])
    seen = np.concatenate([atoms[: len(own)], atoms[MAX_ATOMS:]])
    before = np.array(numeric.atom_counts or np.zeros(values.size), np.int64)
    if before.size != values.size:
        return None
    n, total = max(int(live.sum()), 1), max(int(reference.sum()), 1)
    now, then = seen / n, before / total
    gain = now - then - _Z * np.sqrt(now * (1.0 - now) / n + then * (1.0 - then) / total)
    gain[then > DEFAULT_BEFORE] = 0.0
    best = int(np.argmax(gain))
    if gain[best] < DEFAULT_GAIN:
        return None
    cell = int(binning.bin_numeric(feature, values[best : best + 1])[0])
    if not _same_rest(_line(feature, live, cell, int(seen[best])), _line(feature, reference, cell, int(before[best]))):
        return None
    text = f"{feature.name} is {values[best]:g} in {now[best]:.0%} of the rows, {then[best]:.0%} in the reference"
    return Upstream(kind=Kind.DEFAULT, features=(feature.name,), text=text)


def _line(feature: Feature, counts: Ints, cell: int, taken: int) -> Floats:
    """Below, value bins, above, without the rows of one value."""
    left = counts.astype(np.float64)
    left[cell] -= taken
    values = feature.value_bins
    return np.array([left[values + 2], *left[:values], left[values + 3]])


def _same_rest(live: Floats, reference: Floats) -> bool:
    n, total = live.sum(), reference.sum()
    if n < LEAST_ROWS / 4:
        return False
    gap = float(np.abs(np.cumsum(live) / n - np.cumsum(reference) / max(total, 1.0)).max())
    return gap <= REST_WITHIN + 1.63 * math.sqrt(1.0 / n + 1.0 / max(total, 1.0))


def _scaled(profile: Profile, counts: Counts, at: int) -> Upstream | None:
    feature, exponents = profile.features[at], counts.exponents[at]
    reference = np.zeros(EXPONENT_CELLS)
    for cell, rows in feature.numeric.exponents if feature.numeric else ():
        reference[cell] = rows
    n, total = float(exponents.sum()), float(reference.sum())
    if n < LEAST_ROWS or not total:
        return None
    live, before = _magnitudes(exponents / n), _magnitudes(reference / total)
    if float(np.abs(live - before).max()) < SCALE_GAIN:
        return None
    within = REST_WITHIN + 1.63 * math.sqrt(1.0 / n + 1.0 / total)
    shifts = (*range(SCALE_CELLS, EXPONENT_LIMIT), *range(-SCALE_CELLS - 1, -EXPONENT_LIMIT, -1))
    misses = [_outside(live, before, shift) for shift in shifts]
    best = int(np.argmin(misses))
    if misses[best] > within:
        return None
    factor = 2.0 ** ((shifts[best] + 0.5) / 2.0)
    text = f"{feature.name} has the reference's distribution times about {factor:.2g}: another unit"
    return Upstream(kind=Kind.SCALED, features=(feature.name,), text=text)


def _shortened(profile: Profile, counts: Counts, at: int) -> Upstream | None:
    feature = profile.features[at]
    length = shortened.cut_to(feature, counts.bins[profile.layout.block(at)])
    if length is None:
        return None
    text = f"{feature.name} holds the reference's values cut after {length} character{'s' * (length > 1)}"
    return Upstream(kind=Kind.SHORTENED, features=(feature.name,), text=text)


def _magnitudes(shares: Floats) -> Floats:
    """(2, cells) running shares of negative and of positive values, from the smallest magnitude up; zero is first."""
    zero = 2 * EXPONENT_LIMIT
    sides = np.stack([shares[zero::-1], shares[zero:]])
    running: Floats = np.cumsum(sides, axis=1)
    return running


def _outside(live: Floats, before: Floats, shift: int) -> float:
    """How far ``live`` leaves the band that a factor of ``shift`` to ``shift + 1`` cells allows."""
    slower, faster = _moved(before, shift), _moved(before, shift + 1)
    return float(np.maximum(live - slower, faster - live).max())


def _moved(running: Floats, by: int) -> Floats:
    """Running shares after every value but zero went ``by`` cells up; the last cell takes what goes beyond."""
    cells = np.clip(np.arange(running.shape[1]) - by, 0, running.shape[1] - 1)
    moved = running[:, cells]
    moved[:, 0], moved[:, -1] = running[:, 0], running[:, -1]
    return moved


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Columns:
    """
    The columns with second moments, M of them.

    Attributes:
        names: (M,).
        live, reference: (M, EXPONENT_CELLS) shares of their exponent cells.
        live_r, reference_r: (M, M) correlations.
        known: (M, M) whether the live correlation is known: a column far outside its range is clipped to a constant.
        noise: mean distance of two equal histograms of so many rows.
    """

    names: tuple[str, ...]
    live: Floats
    reference: Floats
    live_r: Floats
    reference_r: Floats
    known: npt.NDArray[np.bool_]
    noise: float

    @classmethod
    def of(cls, profile: Profile, counts: Counts) -> "_Columns | None":
        if profile.moments is None or len(profile.moments.features) < 2:
            return None
        names = profile.moments.features
        at = [profile.layout.names.index(name) for name in names]
        reference = np.zeros((len(at), EXPONENT_CELLS))
        for row, index in enumerate(at):
            numeric = profile.features[index].numeric
            for cell, rows in numeric.exponents if numeric else ():
                reference[row, cell] = rows
        live = counts.exponents[at].astype(np.float64)
        means = counts.clipped[at, 0] / SUM_SCALE / max(counts.rows, 1)
        products = counts.products / SUM_SCALE / max(counts.rows, 1)
        varies = (np.diag(products) - means**2 > _LEAST_VARIANCE) & (np.abs(means) < CLIP_SD / 2)
        cells = float(np.count_nonzero(reference, axis=1).mean())
        return cls(
            names=names,
            live=_shares(live),
            reference=_shares(reference),
            live_r=_correlations(means, products),
            reference_r=_correlations(np.array(profile.moments.means), np.array(profile.moments.products)),
            known=np.outer(varies, varies),
            noise=0.4 * math.sqrt(cells / max(counts.rows, 1)),
        )

    def distance(self, order: Ints, columns: Sequence[int]) -> float:
        """Mean distance of ``columns`` from the reference if column i carries column ``order[i]``."""
        rows = list(columns)
        marginal = 0.5 * np.abs(self.live[rows] - self.reference[order[rows]]).sum(axis=1)
        apart = np.abs(self.live_r[rows] - self.reference_r[np.ix_(order[rows], order)]) * self.known[rows]
        joint = apart.sum(axis=1) / np.maximum(self.known[rows].sum(axis=1), 1)
        return float((marginal + joint).mean())


def _shares(rows: Floats) -> Floats:
    shares: Floats = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1.0)
    return shares


def _correlations(means: Floats, products: Floats) -> Floats:
    covariance = products - np.outer(means, means)
    sd = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    clipped: Floats = np.clip(covariance / np.outer(sd, sd), -1.0, 1.0)
    return clipped


def _exchange(columns: _Columns | None, taken: set[str]) -> Upstream | None:
    if columns is None:
        return None
    straight = np.arange(len(columns.names))
    best: tuple[float, tuple[int, ...]] | None = None
    for order, moved in _exchanges(len(columns.names)):
        if any(columns.names[i] in taken for i in moved):
            continue
        after = columns.distance(order, moved)
        if after > columns.noise + 2 * _SLACK or columns.distance(straight, moved) - after < EXCHANGE_GAIN:
            continue
        gain = (columns.distance(straight, moved) - after) * len(moved)
        if best is None or gain > best[0]:
            best = (gain, moved)
    if best is None:
        return None
    names = tuple(columns.names[i] for i in best[1])
    how = "each other's values" if len(names) == 2 else "their neighbours' values"
    return Upstream(kind=Kind.EXCHANGED, features=names, text=f"{', '.join(names)} carry {how}")


def _exchanges(size: int) -> Iterator[tuple[Ints, tuple[int, ...]]]:
    """Every swap of two columns, and the rotations of all by one place; each with the columns that it moves."""
    for i in range(size):
        for j in range(i + 1, size):
            order = np.arange(size)
            order[[i, j]] = j, i
            yield order, (i, j)
    for by in (1, -1) if size > 2 else ():
        yield np.roll(np.arange(size), by), tuple(range(size))
