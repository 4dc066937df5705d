"""
Scores of an ordered feature: where its values lie as a whole, in evidence that carries the reference's own error.

An event sees one edge; a shift that all bins share, or a wider law, shows in a mean over all of them. A score is a
fixed function x of the bin, in [0, 1], whose mean under the reference's law, m0, is not known but estimated from N
counted rows. Let tol be the widest change of that mean that does not matter.

Theorem 5. Over the reference, ``W(m) = w_0 + sum_j w_j prod_rows (1 - b_j (x - m))`` with fixed b_j, w summing to 1,
has mean 1 at m0, and grows with m. Over the traffic, for any u with E[x | past] <= u, ``R <- (R + 1) e`` with the mean
of e over bets, ``e = prod_requests (1 + lambda (x - u))``, has E[R_t] <= t. For levels m_1 < ... < m_G of whatever
choice, let u_i = m_i + tol. Then

    D_t = min(w_0 R_t(u_1), W(m_1) R_t(u_2), ..., W(m_{G-1}) R_t(u_G), W(m_G))

has E[D_t] <= t over both: if m0 lies in (m_{i-1}, m_i], the i-th term is at most W(m0) R_t(u_i), whose factors are
independent; above m_G the last is at most W(m0). So the error of the reference costs no limit that has to be right
for ever: what counts is the evidence that a reference off by z standard errors would leave, at the price of such an
error. A request of many rows gives each bin its share; the logarithm is concave, so the product stays below its mean.
With resets, E[alarms in T steps] <= T/A, as for events. Bets: Waudby-Smith and Ramdas, "Estimating means of bounded
random variables by betting", J. R. Statist. Soc. B 86, 2024.

Of a season each cell has levels of its own at the same z, and W is the least of the cells' over their number.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard.contract import UNIT

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LEVELS: Final = np.array([0.5, 1.7, 2.9, 4.2, 6.0, 9.0])
"""Distances of the levels from the reference's mean, in its standard errors."""
BETS: Final = np.array([0.06, 0.2, 0.6])
"""Bets on the traffic: distance of the alternative in standard deviations of a row's score."""
BACK: Final = np.geomspace(0.05, 0.6, 6)
"""Bets on its return; as many as an event has alternatives."""
NAMES: Final = ("place up", "place down", "spread up", "spread down", "tails up")
MOST_R: Final = 1e250
"""Evidence beyond it changes nothing, and sums and products stay finite."""
BOLDEST: Final = 0.9
"""Share of what there is that a bet may lose."""
_RETURNED: Final = 3
"""Level from which on the score counts as back, in LEVELS."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """
    Scores of the ordered features of one objective: F features, H scores each, W bins at most.

    Attributes:
        feature: (F,) index of the feature in the limits.
        places: (F, W) bins in the profile's layout; what pads a row has no ``present``.
        present: (F, W) whether there is such a bin.
        x: (F, H, W) scores in [0, 1].
        sd: (F, H) standard deviation of x over equally frequent bins; 0 where there is no such score.
        upper: (F, G, H) largest mean of each level, tolerance included.
        w: (F, G + 1, H) w_0, and W at each level.
        by_hour: ``upper`` of each cell of the season.
    """

    feature: Ints
    places: Ints
    present: npt.NDArray[np.bool_]
    x: Floats
    sd: Floats
    upper: Floats
    w: Floats
    by_hour: Mapping[int, Floats] = dataclasses.field(default_factory=dict)

    def tally(self, bins: Ints) -> Floats:
        """(F, W) requests in each bin, of fixed-point weights (B,)."""
        found: Floats = np.where(self.present, bins[self.places], 0) / UNIT
        return found

    def at(self, hours: Collection[int]) -> Floats:
        """(F, G, H) what holds of requests that came in these cells: the largest; of an unknown cell all is."""
        if not self.by_hour:
            return self.upper
        chosen = hours or self.by_hour
        largest: Floats = np.max([self.by_hour.get(cell, np.ones_like(self.upper)) for cell in chosen], axis=0)
        return largest

    def bets(self, upper: Floats, *, lost: float = 0.0) -> Floats:
        """(F, J * G * H, W) ln of what one request in a bin multiplies each component by."""
        u = np.minimum(upper / (1.0 - min(max(lost, 0.0), 0.999)), 1.0)[:, None]
        sd = np.where(self.sd > 0, self.sd, np.inf)[:, None, None, :]
        size = np.where(u < 1.0, np.minimum(BETS[:, None, None] / sd, BOLDEST / np.maximum(u, 1e-9)), 0.0)
        gains = np.log1p(size[..., None] * (self.x[:, None, None] - u[..., None]))
        return gains.reshape(len(self.feature), BETS.size * LEVELS.size * len(NAMES), self.x.shape[-1])

    def start(self) -> Floats:
        """(F * J * G * H,) R of no traffic."""
        return np.zeros(self.upper.size * BETS.size)

    def step(self, r: Floats, bets: Floats, counts: Floats) -> Floats:
        """R after the requests of one more scrape, (F, W) of them a bin."""
        with np.errstate(over="ignore"):
            grown = np.minimum((r + 1.0) * np.exp(np.matmul(bets, counts[..., None]).ravel()), MOST_R)
        seen = counts.any(axis=1)
        return grown if seen.all() else np.where(np.repeat(seen, r.size // seen.size), grown, r)

    def d(self, r: Floats) -> Floats:
        """(F, H) D of each score; 0 of one that there is not."""
        level = r.reshape(len(self.feature), BETS.size, LEVELS.size, len(NAMES)).sum(axis=1) / BETS.size
        least: Floats = np.minimum((level * self.w[:, :-1]).min(axis=1), self.w[:, -1])
        return np.where(self.sd > 0, least, 0.0)

    def returned(self, feature: int, score: int, counts: Floats, hours: Collection[int]) -> Floats:
        """(6,) ln of what the requests multiply the evidence by that a score is back, of null mean >= its level."""
        u = self.at(hours)[feature, _RETURNED, score]
        if u >= 1.0:
            return np.zeros(BACK.size)
        size = np.minimum(BACK / self.sd[feature, score], BOLDEST / (1.0 - u))
        gain: Floats = np.log1p(size[:, None] * (u - self.x[feature, score])) @ counts[feature]
        return gain


def none() -> Scores:
    """Of an objective without ordered features."""
    return Scores(
        feature=np.zeros(0, np.int64),
        places=np.zeros((0, 1), np.int64),
        present=np.zeros((0, 1), np.bool_),
        x=np.zeros((0, len(NAMES), 1)),
        sd=np.zeros((0, len(NAMES))),
        upper=np.ones((0, LEVELS.size, len(NAMES))),
        w=np.ones((0, LEVELS.size + 1, len(NAMES))),
    )
