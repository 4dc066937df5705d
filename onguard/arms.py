"""
The new revision against the old one, side by side: evidence that survives any shared change in time.

Theorem 2. A stratum holds nc new-arm and ns old-arm units with f bad ones in all, fc of them on the new arm. H0: given
the units, their outcomes and the arms' sizes, every assignment of units to arms is equally likely (random routing, no
effect of the revision), whatever the rates do from stratum to stratum. With h the hypergeometric law of fc,

    e(psi) = psi^fc / sum_k h(k) psi^k,        M = mean over psi of the product of e(psi) over the strata

is a test martingale: P(M >= 1/alpha, ever) <= alpha. Strata are closed by the totals n and f alone, never by an arm's
share.

*Unit and outcome.* The unit is the client connection, since a ClusterIP balances connections; its outcome is the share
x in [0, 1] of its first requests that were bad. Shares can't be rounded to whole outcomes afterwards without knowing
each one, and need not be: for psi > 1 and rho = nc/(nc + ns), assignments are negatively associated and, by Jensen,
1 + rho (psi^x - 1) <= (1 + rho (psi - 1))^x, so

    E[psi^fc] <= (1 + rho (psi - 1))^f      and      e(psi) = psi^fc / (1 + rho (psi - 1))^f

has mean at most 1 for any shares, from their sums fc and f alone. It is a little below Fisher's e-value where bad
outcomes are not rare; ``whole=True`` takes Fisher's where each unit is known to be bad or good.

Lindon, Malek, NeurIPS 2022 (arXiv 2011.03567), for counts; Joag-Dev, Proschan, Ann. Stat. 11 (1983), for the
association of a random assignment.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np

from onguard.cause import Arms
from onguard.contract import EPOCH_S, UNIT
from onguard.counts import Epoch
from onguard.spec import Release
from onguard.states import StateError

ODDS: Final = (1.1, 1.25, 1.5, 2.0, 3.0, 10.0, 100.0)
MIN_UNITS: Final = 30
"""Connections an arm needs to be compared at all."""
STRATUM_UNITS: Final = 20
STRATUM_EPOCHS: Final = 600 // EPOCH_S
"""A stratum without enough units or any bad one is closed after 10 minutes."""
ALIKE_WITHIN: Final = 0.05
"""Arms are called alike once the new one is worse by less than this at 95 %; it only ever supports holding."""
_Z95: Final = 1.6448536269514722


class Cell(NamedTuple):
    """Units of both arms; bad ones in fixed point (UNIT = one unit wholly bad)."""

    new: int = 0
    new_bad: int = 0
    old: int = 0
    old_bad: int = 0

    def plus(self, other: "Cell") -> "Cell":
        """Sums, exact in any order."""
        return Cell(*(a + b for a, b in zip(self, other, strict=True)))


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What `worse` takes. ``alpha`` is the probability of a false one, ever, for this metric."""

    alpha: float
    min_odds_ratio: float = 1.25
    min_difference: float = 0.005
    whole: bool = False
    """Outcomes are known to be 0 or UNIT: Fisher's e-value."""


def rules_of(release: Release, *, metrics: int, whole: bool = False) -> Rules:
    """Split a release's false-rollback rate over its directional metrics."""
    return Rules(
        alpha=release.false_rollback / max(metrics, 1),
        min_odds_ratio=release.min_odds_ratio,
        min_difference=release.min_difference,
        whole=whole,
    )


class ArmsState(msgspec.Struct, frozen=True, kw_only=True):
    """
    Evidence so far.

    Attributes:
        log_m: ln of the product for each of ODDS.
        open: the stratum that is not closed yet, since epoch ``opened``.
        total: all units of closed strata.
        strata: closed strata.
        odds: Mantel-Haenszel sums of the common odds ratio: numerator and denominator.
        gap: Mantel-Haenszel sums of the common difference: numerator and weight.
    """

    log_m: tuple[float, ...] = (0.0,) * len(ODDS)
    open: Cell = Cell()
    opened: int | None = None
    total: Cell = Cell()
    strata: int = 0
    odds: tuple[float, float] = (0.0, 0.0)
    gap: tuple[float, float] = (0.0, 0.0)

    def encode(self) -> bytes:
        """Msgpack, about 150 bytes."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Read what :meth:`encode` wrote.

        Raises:
            StateError: if it is damaged or of another grid.
        """
        try:
            state = msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(str(error).replace("`$", "`state")) from None
        if len(state.log_m) != len(ODDS):
            raise StateError(f"expected {len(ODDS)} products, got {len(state.log_m)} - at `state.log_m`")
        return state


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """
    New against old on one metric.

    Attributes:
        verdict: worse, alike, undecided or not comparable.
        log_m: ln M; worse needs ``log_threshold``.
        odds_ratio: Mantel-Haenszel; infinite if the old arm has no bad unit, None without any bad one.
        difference: of the bad shares, new less old, over the strata; None without two arms.
        units: units of closed and open strata.
    """

    verdict: Arms
    log_m: float
    log_threshold: float
    odds_ratio: float | None
    difference: float | None
    units: Cell


def joined(
    new: Sequence[Mapping[int, Epoch]], old: Sequence[Mapping[int, Epoch]], *, slot: int | None = None
) -> list[tuple[int, Cell]]:
    """
    Epochs that are closed on all pods of both arms, in order; an epoch that one pod lacks is left out on all.

    Args:
        new: closed epochs by id, one mapping a pod of the new revision.
        old: the same for the old revision.
        slot: latency objective, None for errors.
    """
    pods = (*new, *old)
    if not new or not old:
        return []
    shared = sorted(set.intersection(*(set(pod) for pod in pods)))
    sums = ((epoch, _sum(new, epoch, slot), _sum(old, epoch, slot)) for epoch in shared)
    return [(epoch, Cell(*new_sum, *old_sum)) for epoch, new_sum, old_sum in sums]


def _sum(pods: Iterable[Mapping[int, Epoch]], epoch: int, slot: int | None) -> tuple[int, int]:
    entries = [pod[epoch] for pod in pods]
    bad = (e.connection_bad if slot is None else e.connection_slow[slot] for e in entries)
    return sum(e.connections for e in entries), sum(bad)


def steps(state: ArmsState, epochs: Iterable[tuple[int, Cell]], rules: Rules) -> ArmsState:
    """
    Evidence after more joined epochs, each given once and in order.

    Raises:
        ValueError: if an arm has more bad than units.

    >>> cell = Cell(new=15, new_bad=6 * UNIT, old=15, old_bad=0)
    >>> state = steps(ArmsState(), [(epoch, cell) for epoch in range(4)], Rules(alpha=0.01))
    >>> comparison = compare(state, Rules(alpha=0.01))
    >>> comparison.verdict, round(comparison.difference, 2)
    (<Arms.WORSE: 'worse'>, 0.4)
    """
    for epoch, cell in epochs:
        if not (0 <= cell.new_bad <= cell.new * UNIT and 0 <= cell.old_bad <= cell.old * UNIT):
            raise ValueError(f"expected 0 <= bad <= units in epoch {epoch}, got {cell}")
        opened = epoch if state.opened is None else state.opened
        state = msgspec.structs.replace(state, open=state.open.plus(cell), opened=opened)
        units, bad = state.open.new + state.open.old, state.open.new_bad + state.open.old_bad
        if (units >= STRATUM_UNITS and bad >= UNIT) or epoch - opened >= STRATUM_EPOCHS:
            state = _closed(state, rules)
    return state


def _closed(state: ArmsState, rules: Rules) -> ArmsState:
    cell, n = state.open, max(state.open.new + state.open.old, 1)
    new_bad, old_bad = cell.new_bad / UNIT, cell.old_bad / UNIT
    new_good, old_good = cell.new - new_bad, cell.old - old_bad
    gain = log_fisher(cell) if rules.whole else log_shares(cell)
    return ArmsState(
        log_m=tuple(a + b for a, b in zip(state.log_m, gain, strict=True)),
        total=state.total.plus(cell),
        strata=state.strata + 1,
        odds=(state.odds[0] + new_bad * old_good / n, state.odds[1] + new_good * old_bad / n),
        gap=(state.gap[0] + (new_bad * cell.old - old_bad * cell.new) / n, state.gap[1] + cell.new * cell.old / n),
    )


def log_shares(cell: Cell) -> tuple[float, ...]:
    """Ln e for each of ODDS, for outcomes in [0, 1]."""
    bad, units = cell.new_bad + cell.old_bad, cell.new + cell.old
    rho = cell.new / units if units else 0.0
    return tuple((cell.new_bad * math.log(psi) - bad * math.log1p(rho * (psi - 1.0))) / UNIT for psi in ODDS)


def log_fisher(cell: Cell) -> tuple[float, ...]:
    """
    Ln e for each of ODDS, for outcomes that are 0 or UNIT.

    Raises:
        ValueError: if a sum is not whole.
    """
    if cell.new_bad % UNIT or cell.old_bad % UNIT:
        raise ValueError(f"expected whole outcomes, got {cell.new_bad / UNIT} and {cell.old_bad / UNIT}")
    bad, new_bad = (cell.new_bad + cell.old_bad) // UNIT, cell.new_bad // UNIT
    counts = range(max(0, bad - cell.old), min(bad, cell.new) + 1)
    logs = np.array([_log_choose(cell.new, k) + _log_choose(cell.old, bad - k) for k in counts])
    ks, whole = np.array(counts), np.logaddexp.reduce(logs)
    return tuple(
        float(new_bad * math.log(psi) - np.logaddexp.reduce(logs + ks * math.log(psi)) + whole) for psi in ODDS
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def compare(state: ArmsState, rules: Rules) -> Comparison:
    """What the arms say; `worse` needs evidence, odds ratio and difference at once."""
    log_m = float(np.logaddexp.reduce(np.array(state.log_m))) - math.log(len(ODDS))
    odds_ratio = state.odds[0] / state.odds[1] if state.odds[1] else (math.inf if state.odds[0] else None)
    difference = state.gap[0] / state.gap[1] if state.gap[1] else None
    units = state.total.plus(state.open)
    is_large = (odds_ratio or 0.0) >= rules.min_odds_ratio and (difference or 0.0) >= rules.min_difference
    if min(units.new, units.old) < MIN_UNITS:
        verdict = Arms.NOT_COMPARABLE
    elif log_m >= -math.log(rules.alpha) and is_large:
        verdict = Arms.WORSE
    else:
        verdict = Arms.ALIKE if _most(units) < ALIKE_WITHIN else Arms.UNDECIDED
    return Comparison(
        verdict=verdict,
        log_m=log_m,
        log_threshold=-math.log(rules.alpha),
        odds_ratio=odds_ratio,
        difference=difference,
        units=units,
    )


def _most(units: Cell) -> float:
    """Upper 95 % limit of the difference (Newcombe's combination of Wilson limits, Stat. Med. 17, 1998)."""
    new, old = units.new_bad / UNIT / units.new, units.old_bad / UNIT / units.old
    return new - old + math.hypot(_wilson(new, units.new, 1.0) - new, old - _wilson(old, units.old, -1.0))


def _wilson(p: float, n: int, side: float) -> float:
    half = _Z95 * math.sqrt(p * (1.0 - p) / n + _Z95**2 / (4.0 * n * n))
    return (p + _Z95**2 / (2.0 * n) + side * half) / (1.0 + _Z95**2 / n)
