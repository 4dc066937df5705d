"""Delay from a change to the alarm, in requests, and its comparison with the best peer."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def first_crossings(paths: Floats, threshold: float, change: int) -> list[int | None]:
    """
    Steps from the change to the first alarm of each run, 1 for the very first step after it.

    Args:
        paths: (runs, steps) statistics, NaN for none.
        threshold: an alarm is a statistic beyond it.
        change: first step that has changed data.

    An alarm before the change is false: its run is measured from the change on all the same, with the statistic that
    it has then, since a monitor that alarmed falsely is looked at and goes on.

    >>> first_crossings(np.array([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0]]), 5.0, change=1)
    [2, None]
    """
    crossed = np.nan_to_num(paths[:, change:], nan=-np.inf) > threshold
    return [int(np.argmax(row)) + 1 if row.any() else None for row in crossed]


def median_delay(delays: Sequence[float | None]) -> float:
    """
    Median with undetected runs as infinite: infinity when half or more of the runs found nothing.

    >>> median_delay([1, 2, None]), median_delay([1, None])
    (2.0, inf)
    """
    if not delays:
        raise ValueError("expected at least one run")
    ordered = sorted(math.inf if d is None else float(d) for d in delays)
    return ordered[len(ordered) // 2] if len(ordered) % 2 else _middle(ordered)


def _middle(ordered: list[float]) -> float:
    low, high = ordered[len(ordered) // 2 - 1 : len(ordered) // 2 + 1]
    return math.inf if math.isinf(high) else (low + high) / 2.0


def geometric_mean(ratios: Sequence[float]) -> float:
    """
    Geometric mean of positive ratios; infinite if one is.

    >>> round(geometric_mean([0.5, 2.0]), 6)
    1.0
    """
    if not ratios or min(ratios) <= 0:
        raise ValueError(f"expected positive ratios, got {ratios}")
    return math.exp(math.fsum(math.log(r) for r in ratios) / len(ratios))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """
    One change and how long each detector takes to see it.

    Attributes:
        name: what changed.
        shift: largest change of the distribution function (or of a probability).
        ours: median delay in steps.
        peers: median delay in steps, by configuration.
    """

    name: str
    shift: float
    ours: float
    peers: Mapping[str, float]

    @property
    def best_peer(self) -> str:
        """Configuration with the least delay."""
        return min(self.peers, key=lambda name: self.peers[name])

    @property
    def best(self) -> float:
        """Its delay."""
        return self.peers[self.best_peer]

    def compared(self, *, longest: float) -> float | None:
        """
        Delay over the best peer's, None outside the range in which the comparison means something.

        Args:
            longest: steps that a run had after the change; counted as the delay where ours found nothing.
        """
        if not 3.0 <= self.best <= 100.0:
            return None
        return min(self.ours, longest) / self.best


def summarise(cells: Sequence[Cell], *, longest: float, small: float) -> tuple[float, float]:
    """
    Geometric means over the cells that compare: all of them, and those with a shift of at most ``small``.

    Returns:
        (overall, small shifts); NaN where no cell compares.
    """
    ratios = [(cell.shift, cell.compared(longest=longest)) for cell in cells]
    overall = [r for _, r in ratios if r is not None]
    slight = [r for shift, r in ratios if r is not None and shift <= small]
    return tuple(geometric_mean(some) if some else math.nan for some in (overall, slight))  # type: ignore[return-value]
