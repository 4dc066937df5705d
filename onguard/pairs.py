"""
The new revision against the old one on the same requests: shadow pairs.

Theorem 3. Both revisions answer each request; b pairs are old right and new wrong, c the reverse. H0, the new one is
not worse: each discordant pair is of the first kind with probability at most 1/2, given the past. Then

    M = mean over q in {.55, .6, .7, .8, .9, .97} of (2q)^b (2(1-q))^c

is a test supermartingale, one-sided since every q is over 1/2: P(M >= 1/alpha, ever) <= alpha. It is a function of two
counts, so it adds over replicas and restarts. Without labels or errors to say which answer is wrong, disagreement
only says `different`.

McNemar, Psychometrika 12 (1947), for the discordant pairs.
"""

import math
from typing import Final

import msgspec
import numpy as np

from onguard.cause import Arms

GRID: Final = (0.55, 0.6, 0.7, 0.8, 0.9, 0.97)
MIN_PAIRS: Final = 30


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Cumulative counts of pairs; ``unclear`` ones differ without anybody knowing which is right."""

    pairs: int = 0
    new_wrong: int = 0
    old_wrong: int = 0
    unclear: int = 0

    def __post_init__(self) -> None:
        parts = (self.new_wrong, self.old_wrong, self.unclear)
        if min(parts) < 0 or sum(parts) > self.pairs:
            raise ValueError(f"expected counts >= 0 that sum to at most {self.pairs} pairs, got {parts}")

    def plus(self, other: "Pairs") -> "Pairs":
        """Sums, exact in any order."""
        return Pairs(
            pairs=self.pairs + other.pairs,
            new_wrong=self.new_wrong + other.new_wrong,
            old_wrong=self.old_wrong + other.old_wrong,
            unclear=self.unclear + other.unclear,
        )


def log_m(pairs: Pairs) -> float:
    """
    Ln M.

    >>> round(log_m(Pairs(pairs=100, new_wrong=20)), 2), log_m(Pairs()) == 0.0
    (11.68, True)
    """
    grid = np.array(GRID)
    logs = pairs.new_wrong * np.log(2.0 * grid) + pairs.old_wrong * np.log(2.0 * (1.0 - grid))
    return float(np.logaddexp.reduce(logs)) - math.log(len(GRID))


def compare(pairs: Pairs, *, alpha: float, min_difference: float, is_judged: bool) -> Arms:
    """
    What the pairs say.

    Args:
        pairs: counts so far.
        alpha: probability of a false `worse`, ever.
        min_difference: least difference of wrong shares, new less old, that counts as worse.
        is_judged: labels or errors tell which answer is wrong.

    >>> compare(Pairs(pairs=400, new_wrong=20), alpha=0.01, min_difference=0.005, is_judged=True)
    <Arms.WORSE: 'worse'>
    """
    if pairs.pairs < MIN_PAIRS:
        return Arms.NOT_COMPARABLE
    if not is_judged:
        return Arms.DIFFERENT if pairs.unclear / pairs.pairs >= min_difference else Arms.UNDECIDED
    difference = (pairs.new_wrong - pairs.old_wrong) / pairs.pairs
    if log_m(pairs) >= -math.log(alpha) and difference >= min_difference:
        return Arms.WORSE
    return Arms.UNDECIDED
