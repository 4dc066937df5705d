"""
Rows of one group of features (inputs, or outputs) -> int64 counters, many rows at a time.

Rows wait in a buffer until it is full or somebody asks for the counts. All sums are of whole numbers below 2^53,
hence exact whatever the order and the grouping of the rows.
"""

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard import contract
from onguard.binning import exponent_cells
from onguard.counts import SUM_SCALE, Counts, Ints
from onguard.profile import CLIP_SD, EXPONENT_CELLS, Profile
from onguard_sidecar.analyst.knots import Floats, Indices, Knots
from onguard_sidecar.decoding.batch import MAX_ROWS

Mask = npt.NDArray[np.bool_]

BUFFER_CELLS: Final = 1 << 15
"""Cells counted at once: enough to spread numpy's cost per call, few enough for the processor's cache."""
BUFFER_ROWS: Final = (32, 2048)
"""Fewest and most rows of it. 32 rows of 4096 features are 1 MiB."""
_Z_SCALE: Final = math.isqrt(SUM_SCALE)
"""Standardised values are rounded to 1/256, so that the product of two is whole in SUM_SCALE."""


def unit_shares(rows: int) -> Ints:
    """
    The weight of one request, split over its rows exactly.

    >>> unit_shares(3), int(unit_shares(3).sum()) == contract.UNIT
    (array([349526, 349525, 349525]), True)
    """
    share, rest = divmod(contract.UNIT, rows)
    shares = np.full(rows, share, np.int64)
    shares[:rest] += 1
    return shares


class Group:
    """
    Counts the features of one group into a profile's :class:`Counts`.

    Args:
        profile: gives the layout of the counts.
        names: features, in the order of the matrices' columns; none is allowed (all redacted).
        counts: its arrays are added to in place.
    """

    def __init__(self, profile: Profile, names: Sequence[str], counts: Counts) -> None:
        position = {feature.name: i for i, feature in enumerate(profile.features)}
        at = [position[name] for name in names]
        features = [profile.features[i] for i in at]
        self._counts = counts
        self._knots = Knots.of(features, [profile.layout.offsets[i] for i in at])
        self._features = np.array(at, np.intp)
        numeric = [i for i, feature in enumerate(features) if feature.numeric is not None]
        self._numeric = _index(numeric)
        self._moments = _Moments(profile, [at[i] for i in numeric])
        self._buffer = np.empty((_buffer_rows(len(names)), len(names)))
        self._weights = np.empty(len(self._buffer), np.int64)
        self._waiting = 0
        self._width = len(names)
        self._last = np.full((1, len(numeric)), math.nan)

    def fits(self, requests: Sequence[Sequence[Sequence[float]]]) -> bool:
        """Whether these are rows of this group, request by request."""
        sizes = set(map(len, requests))
        return (
            min(sizes) > 0 and max(sizes) <= MAX_ROWS and set(map(len, chain.from_iterable(requests))) == {self._width}
        )

    def add_requests(self, requests: Sequence[Sequence[Sequence[float]]]) -> int:
        """
        Take the rows of requests; their number.

        :meth:`add` says what a row means, :meth:`fits` whether it may be taken.
        """
        sizes = list(map(len, requests))
        rows = sum(sizes)
        # By way of struct, which takes two thirds of the time of numpy's own constructors.
        values = chain.from_iterable(chain.from_iterable(requests))
        cells = np.frombuffer(struct.pack(f"{rows * self._width}d", *values)).reshape(rows, self._width)
        alone = rows == len(requests)
        self.add(cells, np.full(rows, contract.UNIT) if alone else np.concatenate([*map(unit_shares, sizes)]))
        return rows

    def add(self, cells: Floats, weights: Ints) -> None:
        """
        Take rows.

        Args:
            cells: (rows, features); NaN missing, infinite unparseable.
            weights: (rows,) share of a request in fixed point.
        """
        start, rows = 0, len(cells)
        while start < rows:
            room = min(rows - start, len(self._buffer) - self._waiting)
            end = self._waiting + room
            self._buffer[self._waiting : end] = cells[start : start + room]
            self._weights[self._waiting : end] = weights[start : start + room]
            self._waiting, start = end, start + room
            if end == len(self._buffer):
                self.flush()

    def flush(self) -> None:
        """Count what waits."""
        rows, self._waiting = self._waiting, 0
        if rows and len(self._features):
            cells = self._buffer[:rows]
            self._count_bins(cells, self._weights[:rows])
            numbers = cells[:, self._numeric]
            finite = np.isfinite(numbers)
            self._count_numbers(numbers, finite)
            self._moments.add(numbers, finite, self._counts)

    def _count_bins(self, cells: Floats, weights: Ints) -> None:
        counts, knots = self._counts, self._knots
        entries = knots.find(cells)
        bins = knots.bins.take(entries).ravel()
        np.add(counts.bins, np.bincount(bins, minlength=len(counts.bins)), out=counts.bins)
        shares = np.repeat(weights.astype(np.float64), cells.shape[1])
        units = np.bincount(bins, shares, len(counts.bins)).astype(np.int64)
        np.add(counts.unit_bins, units, out=counts.unit_bins)
        equal = knots.values.take(entries) == cells
        hits = np.bincount(entries[equal], minlength=knots.values.size + 1)
        counts.atoms[self._features] += hits[knots.atoms]

    def _count_numbers(self, numbers: Floats, finite: Mask) -> None:
        before = np.concatenate((self._last, numbers[:-1]))
        self._last = numbers[-1:].copy()
        features = self._features[self._numeric]
        self._counts.repeats[features] += np.count_nonzero((numbers == before) & finite, axis=0)
        width = EXPONENT_CELLS + 1
        cells = exponent_cells(np.where(finite, numbers, 0.0))
        np.copyto(cells, EXPONENT_CELLS, where=~finite)
        cells += np.arange(len(features)) * width
        table = np.bincount(cells.ravel(), minlength=len(features) * width).reshape(len(features), width)
        self._counts.exponents[features] += table[:, :EXPONENT_CELLS]


def _buffer_rows(width: int) -> int:
    fewest, most = BUFFER_ROWS
    return max(fewest, min(BUFFER_CELLS // max(width, 1), most))


class _Moments:
    """Sums of standardised, clipped values and of their products; a value that is not finite adds nothing."""

    def __init__(self, profile: Profile, at: Sequence[int]) -> None:
        features = [profile.features[i] for i in at]
        numbers = [feature.numeric for feature in features if feature.numeric is not None]
        self._features = np.array(at, np.intp)
        self._means = np.array([numeric.mean for numeric in numbers])
        self._scales = np.array([_Z_SCALE / numeric.sd if numeric.sd > 0 else 0.0 for numeric in numbers])
        among = profile.moments.features if profile.moments else ()
        names = [feature.name for feature in features]
        pairs = [(names.index(name), j) for j, name in enumerate(among) if name in names]
        self._paired = _index([i for i, _ in pairs])
        self._cells = np.ix_([j for _, j in pairs], [j for _, j in pairs])

    def add(self, numbers: Floats, finite: Mask, counts: Counts) -> None:
        with np.errstate(invalid="ignore", over="ignore"):  # infinities are clipped or left out below
            z = (numbers - self._means) * self._scales
        np.copyto(z, 0.0, where=~finite)
        np.clip(z, -CLIP_SD * _Z_SCALE, CLIP_SD * _Z_SCALE, out=z)
        np.rint(z, out=z)
        counts.clipped[self._features, 0] += (z.sum(axis=0) * _Z_SCALE).astype(np.int64)
        counts.clipped[self._features, 1] += np.einsum("ij,ij->j", z, z).astype(np.int64)
        paired = z[:, self._paired]
        counts.products[self._cells] += (paired.T @ paired).astype(np.int64)


def _index(columns: Sequence[int]) -> slice | Indices:
    """Columns as a slice where they are the first ones in order: a view in place of a copy."""
    return slice(len(columns)) if list(columns) == list(range(len(columns))) else np.array(columns, np.intp)
