"""
The window of displayed distances: the last hour, or the last 5,000 requests if they came in less.

Verdicts are given elsewhere, over all counts; this is for people who look at a dashboard.
"""

import collections
from typing import Final, NamedTuple

import numpy as np

from onguard import contract
from onguard.counts import Counts, Ints

SNAPSHOT_S: Final = 60.0
SPAN_S: Final = 3600.0
UNITS: Final = 5000 * contract.UNIT
_MOST: Final = int(SPAN_S / SNAPSHOT_S) + 1


class _Snapshot(NamedTuple):
    at: float
    units: int
    bins: Ints


class Window:
    """Cumulative bins at earlier moments, to take differences with."""

    def __init__(self) -> None:
        self._snapshots: collections.deque[_Snapshot] = collections.deque(maxlen=_MOST)

    def note(self, counts: Counts, *, now: float) -> None:
        """Remember these counts if the last snapshot is a minute old. ``now``: monotonic seconds."""
        if not self._snapshots:  # the first look comes a few seconds after the start: what came before is in the window
            self._snapshots.append(_Snapshot(now, 0, np.zeros_like(counts.bins)))
        elif now - self._snapshots[-1].at >= SNAPSHOT_S:
            self._snapshots.append(_Snapshot(now, counts.units, counts.bins))

    def bins(self, counts: Counts, *, now: float) -> Ints:
        """Rows per bin within the window that ends now."""
        young = [s for s in self._snapshots if now - s.at <= SPAN_S]
        if not young:
            return counts.bins
        full = [s for s in young if counts.units - s.units >= UNITS]
        return counts.bins - (full[-1] if full else young[0]).bins
