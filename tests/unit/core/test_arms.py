"""New against old: Theorem 2 for whole outcomes and for shares, strata, joining, verdicts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from onguard.arms import (
    ODDS,
    STRATUM_EPOCHS,
    ArmsState,
    Cell,
    Rules,
    compare,
    joined,
    log_fisher,
    log_shares,
    rules_of,
    steps,
)
from onguard.cause import Arms
from onguard.contract import UNIT
from onguard.counts import Epoch
from onguard.spec import Release
from onguard.states import StateError

RULES = Rules(alpha=0.01)


def cell(new: int, new_bad: float, old: int, old_bad: float) -> Cell:
    return Cell(new, round(new_bad * UNIT), old, round(old_bad * UNIT))


@pytest.mark.parametrize(("new", "old", "bad"), [(10, 10, 4), (3, 50, 7), (40, 2, 20), (5, 5, 10), (5, 5, 0)])
def test_fisher_has_mean_one_under_the_hypergeometric_law(new: int, old: int, bad: int) -> None:
    support = range(max(0, bad - old), min(new, bad) + 1)
    law = stats.hypergeom(new + old, bad, new)
    means = np.zeros(len(ODDS))
    for k in support:
        means += law.pmf(k) * np.exp(log_fisher(cell(new, k, old, bad - k)))
    np.testing.assert_allclose(means, 1.0)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.data())
def test_shares_have_mean_one_at_most_over_all_assignments(outcomes: list[float], data: st.DataObject) -> None:
    """Every way to choose the new arm's units is equally likely: enumerate them all."""
    size = data.draw(st.integers(1, len(outcomes) - 1))
    total, count = np.zeros(len(ODDS)), 0
    for chosen in itertools.combinations(range(len(outcomes)), size):
        new = sum(outcomes[i] for i in chosen)
        total += np.exp(log_shares(cell(size, new, len(outcomes) - size, sum(outcomes) - new)))
        count += 1
    assert np.all(total / count <= 1 + 1e-5)


def test_a_share_costs_little_against_knowing_every_unit() -> None:
    """5 % bad, twice as many on the new arm: both forms need much the same traffic."""
    rng = np.random.default_rng(1)
    gain = {"whole": 0.0, "shares": 0.0}
    for _ in range(400):
        one = cell(20, int(rng.binomial(20, 0.1)), 20, int(rng.binomial(20, 0.05)))
        gain["whole"] += log_fisher(one)[3]
        gain["shares"] += log_shares(one)[3]
    assert 0.8 * gain["whole"] < gain["shares"] <= gain["whole"] + 1e-9


def test_strata_close_by_totals_or_time_and_by_nothing_else() -> None:
    state = steps(ArmsState(), [(0, cell(10, 0, 9, 0)), (1, cell(0, 0, 5, 0))], RULES)
    assert (state.strata, state.open) == (0, cell(10, 0, 14, 0))
    assert steps(state, [(2, cell(1, 1, 0, 0))], RULES).strata == 1
    assert steps(state, [(2, cell(0, 0, 1, 1))], RULES).strata == 1
    assert steps(state, [(STRATUM_EPOCHS, cell(0, 0, 0, 0))], RULES).strata == 1


def test_a_stratum_with_one_arm_only_says_nothing() -> None:
    state = steps(ArmsState(), [(i, cell(30, 20, 0, 0)) for i in range(10)], RULES)
    np.testing.assert_allclose(state.log_m, 0.0, atol=1e-9)
    assert compare(state, RULES).verdict is Arms.NOT_COMPARABLE


@pytest.mark.parametrize(
    ("epochs", "verdict"),
    [
        ([cell(10, 5, 10, 0)] * 10, Arms.WORSE),
        ([cell(10, 0, 10, 5)] * 10, Arms.ALIKE),
        ([cell(100, 1, 100, 1)] * 10, Arms.ALIKE),
        ([cell(10, 1, 10, 0)] * 4, Arms.UNDECIDED),
        ([cell(7, 7, 100, 0)] * 4, Arms.NOT_COMPARABLE),
        ([], Arms.NOT_COMPARABLE),
        ([cell(10_000, 40, 10_000, 8)] * 20, Arms.ALIKE),  # surely worse, by less than half a point
        ([cell(10_000, 1700, 10_000, 1450)] * 20, Arms.ALIKE),  # surely worse, by an odds ratio under 1.25
    ],
)
def test_verdicts_of_arms(epochs: list[Cell], verdict: Arms) -> None:
    assert compare(steps(ArmsState(), enumerate(epochs), RULES), RULES).verdict is verdict


def test_odds_ratio_and_difference_are_those_within_strata() -> None:
    """A rate and a weight that move together fool the pooled table, not this one."""
    series = [cell(90, 9, 10, 1), cell(10, 5, 90, 45)] * 5
    found = compare(steps(ArmsState(), enumerate(series), RULES), RULES)
    assert found.odds_ratio == pytest.approx(1.0)
    assert found.difference == pytest.approx(0.0)
    assert found.verdict is not Arms.WORSE


def test_whole_outcomes_are_refused_as_shares() -> None:
    with pytest.raises(ValueError, match="whole outcomes"):
        log_fisher(cell(10, 0.5, 10, 1))


@pytest.mark.parametrize("wrong", [Cell(1, 2 * UNIT, 1, 0), Cell(1, 0, 1, -1)])
def test_cells_that_can_not_be_are_refused(wrong: Cell) -> None:
    with pytest.raises(ValueError, match="in epoch 7"):
        steps(ArmsState(), [(7, wrong)], RULES)


def test_an_epoch_that_one_pod_lacks_is_left_out_on_all() -> None:
    def pod(*ids: int) -> dict[int, Epoch]:
        return {i: Epoch(i, 10, 1, (2,), connections=2, connection_bad=UNIT // 2, connection_slow=(UNIT,)) for i in ids}

    new, old = [pod(1, 2, 3), pod(2, 3, 4)], [pod(3, 2, 5)]
    assert joined(new, old) == [(2, Cell(4, UNIT, 2, UNIT // 2)), (3, Cell(4, UNIT, 2, UNIT // 2))]
    assert joined(new, old, slot=0)[0] == (2, Cell(4, 2 * UNIT, 2, UNIT))
    assert joined([], old) == []


def test_a_saved_state_is_the_same_state() -> None:
    state = steps(ArmsState(), enumerate([cell(10, 3.25, 10, 1)] * 7), RULES)
    assert ArmsState.decode(state.encode()) == state
    with pytest.raises(StateError):
        ArmsState.decode(b"\x81\xa5log_m\x91\xcb" + bytes(8))


def test_the_error_is_split_over_the_metrics() -> None:
    assert rules_of(Release(), metrics=3).alpha == pytest.approx(0.01 / 3)
    assert -math.log(rules_of(Release(), metrics=0).alpha) == pytest.approx(math.log(100))
