"""Shadow pairs: Theorem 3."""

import numpy as np
import pytest

from onguard.cause import Arms
from onguard.pairs import GRID, Pairs, compare, log_m


def test_each_bet_is_fair_at_one_half_and_loses_below() -> None:
    for q in GRID:
        assert 0.5 * 2 * q + 0.5 * 2 * (1 - q) == pytest.approx(1.0)
        assert 0.4 * 2 * q + 0.6 * 2 * (1 - q) < 1


def test_false_verdicts_are_as_rare_as_promised() -> None:
    """alpha = .05; 400 runs of 2000 discordant pairs: at most .05 and sampling error."""
    rng = np.random.default_rng(1)
    wrong = np.cumsum(rng.random((400, 2000)) < 0.5, axis=1)
    right = np.arange(1, 2001) - wrong
    grid = np.array(GRID)
    logs = np.logaddexp.reduce(
        wrong[..., None] * np.log(2 * grid) + right[..., None] * np.log(2 * (1 - grid)), axis=-1
    ) - np.log(len(GRID))
    assert np.mean(logs.max(axis=1) >= np.log(20)) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert logs[7, 99] == pytest.approx(
        log_m(Pairs(pairs=100, new_wrong=int(wrong[7, 99]), old_wrong=int(right[7, 99])))
    )


@pytest.mark.parametrize(
    ("pairs", "is_judged", "verdict"),
    [
        (Pairs(), True, Arms.NOT_COMPARABLE),
        (Pairs(pairs=400, new_wrong=20), True, Arms.WORSE),
        (Pairs(pairs=400, old_wrong=20), True, Arms.UNDECIDED),
        (Pairs(pairs=100_000, new_wrong=60), True, Arms.UNDECIDED),
        (Pairs(pairs=400, unclear=20), False, Arms.DIFFERENT),
        (Pairs(pairs=400, unclear=1), False, Arms.UNDECIDED),
    ],
)
def test_verdicts_of_pairs(pairs: Pairs, is_judged: bool, verdict: Arms) -> None:
    assert compare(pairs, alpha=0.01, min_difference=0.005, is_judged=is_judged) is verdict


def test_pairs_add_in_any_order() -> None:
    one, two = Pairs(pairs=9, new_wrong=1, unclear=3), Pairs(pairs=5, old_wrong=2)
    assert one.plus(two) == two.plus(one) == Pairs(pairs=14, new_wrong=1, old_wrong=2, unclear=3)


def test_counts_that_can_not_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 2 pairs"):
        Pairs(pairs=2, new_wrong=3)
