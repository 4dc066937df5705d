"""The bounded-mean e-detector: Theorem 4, bursts, the latch and the state."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard import bounded
from onguard.bounded import FRACTIONS, BoundedDetector, BoundedState
from onguard.budget import Objective
from onguard.findings import Verdict
from onguard.states import StateError
from tests.unit.core.detector_cases import threshold

NINETY_DAYS = 90 * 86_400 / 5


def errors(at_most: float = 0.01, horizon: float = NINETY_DAYS / 0.2) -> BoundedDetector:
    return BoundedDetector(threshold(horizon, Objective.ERRORS), at_most)


def epochs(rng: np.random.Generator, count: int, bad: float, total: int = 250) -> list[tuple[int, int]]:
    return [(int(rng.binomial(total, bad)), total) for _ in range(count)]


@pytest.mark.parametrize(("bad", "within"), [(0.02, 45), (0.05, 16), (0.2, 7), (1.0, 5)])
def test_a_breach_is_found_as_soon_as_was_measured(bad: float, within: int) -> None:
    rng = np.random.default_rng(1)
    state = bounded.steps(errors(), bounded.start(errors()), epochs(rng, 200, 0.003))
    assert bounded.finding(errors(), state).verdict is Verdict.QUIET
    state = bounded.steps(errors(), state, epochs(rng, within, bad))
    found = bounded.finding(errors(), state)
    assert found.alarmed
    assert found.observed == pytest.approx(bad, rel=0.35)


@given(st.floats(1e-6, 1 - 1e-6), st.floats(0, 1))
def test_every_bet_is_fair_and_can_not_go_broke(m: float, x: float) -> None:
    factors = 1 + FRACTIONS / m * (x - m)
    assert np.all(factors > 0)
    two_point = (1 - m) * (1 + FRACTIONS / m * (0 - m)) + m * (1 + FRACTIONS / m * (1 - m))
    np.testing.assert_allclose(two_point, 1.0)


def test_one_step_is_the_formula_of_the_theorem() -> None:
    state = bounded.step(errors(), bounded.start(errors()), 3, 50)
    np.testing.assert_allclose(state.log_r, np.log(1 + FRACTIONS / 0.01 * (0.06 - 0.01)))


def test_an_empty_epoch_is_no_step() -> None:
    start = bounded.start(errors())
    assert bounded.step(errors(), start, 0, 0) is start
    assert bounded.finding(errors(), start).verdict is Verdict.NO_DATA


def test_a_steady_breach_is_one_episode_and_clears_within_three_minutes_of_health() -> None:
    rng = np.random.default_rng(2)
    state = bounded.steps(errors(), bounded.start(errors()), epochs(rng, 720, 0.2))
    assert (state.episodes, state.since is not None) == (1, True)
    state = bounded.steps(errors(), state, epochs(rng, 36, 0.003))
    assert (state.episodes, state.since) == (1, None)
    state = bounded.steps(errors(), state, epochs(rng, 500, 0.003))
    assert (state.episodes, state.since) == (1, None)


@pytest.mark.parametrize(("bad", "total"), [(-1, 5), (6, 5)])
def test_counts_that_can_not_be_are_refused(bad: int, total: int) -> None:
    with pytest.raises(ValueError, match="0 <= bad <= total"):
        bounded.step(errors(), bounded.start(errors()), bad, total)


@pytest.mark.parametrize(("at_most", "bad", "alarmed"), [(0.0, 1, True), (1.0, 100, False)])
def test_objectives_at_the_ends_are_judged(at_most: float, bad: int, alarmed: bool) -> None:
    detector = errors(at_most)
    state = bounded.steps(detector, bounded.start(detector), [(bad, 100)] * 30)
    assert bounded.finding(detector, state).alarmed is alarmed


def test_an_objective_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        errors(1.5)


def test_a_saved_state_comes_back_with_no_more_evidence() -> None:
    state = bounded.steps(errors(), bounded.start(errors()), epochs(np.random.default_rng(3), 40, 0.05))
    data = state.encode()
    back = bounded.resume(errors(), BoundedState.decode(data))
    assert len(data) < 250
    assert (back.steps, back.since, back.bad, back.total, back.q) == (
        state.steps,
        state.since,
        state.bad,
        state.total,
        state.q,
    )
    assert np.all(back.log_r <= state.log_r)
    assert back.log_d == pytest.approx(state.log_d)


@pytest.mark.parametrize("damage", [b"", b"\x80", b"junk"])
def test_a_damaged_state_is_refused(damage: bytes) -> None:
    with pytest.raises(StateError):
        BoundedState.decode(damage)


def test_evidence_against_another_objective_is_dropped() -> None:
    state = bounded.steps(errors(), bounded.start(errors()), [(1, 10)] * 3)
    assert bounded.resume(errors(0.02), state).steps == 0
    assert bounded.resume(errors(), None).steps == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: (min(p), max(p))), max_size=60))
def test_evidence_is_always_a_number(series: list[tuple[int, int]]) -> None:
    state = bounded.steps(errors(), bounded.start(errors()), series)
    assert not math.isnan(state.log_d)
    assert state.steps == sum(total > 0 for _, total in series)
