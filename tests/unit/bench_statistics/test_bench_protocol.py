"""The benchmark's own arithmetic: exact limits, equal false alarms, delays, figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.bench.statistics import delays, exact, figures, optimum, tuning
from tests.bench.statistics.delays import Cell
from tests.bench.statistics.null_tests import NullResult


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_exact_limits_have_the_binomial_tails_that_they_promise(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = exact.clopper_pearson(successes, trials)
    assert low <= successes / trials <= high
    assert stats.binom.sf(successes - 1, trials, low) == pytest.approx(0.025 if successes else 1.0, rel=1e-6)
    assert stats.binom.cdf(successes, trials, high) == pytest.approx(0.025 if successes < trials else 1.0, rel=1e-6)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
        exact.upper_limit(successes, trials)


def test_fifty_nine_quiet_runs_are_what_a_promise_of_five_percent_needs() -> None:
    assert exact.upper_limit(0, 59) <= 0.05 < exact.upper_limit(0, 58)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0.01, 0.5))
def test_a_tuned_threshold_alarms_in_at_most_alpha_of_its_runs_and_no_smaller_one_does(
    maxima: list[float], alpha: float
) -> None:
    values = np.array(maxima)
    threshold = tuning.threshold_at(values, alpha)
    allowed = math.floor(alpha * values.size + 1e-9)
    assert np.count_nonzero(values > threshold) <= allowed
    below = np.nextafter(threshold, -np.inf)
    assert np.count_nonzero(values > below) > allowed


def test_steps_without_a_statistic_do_not_alarm() -> None:
    assert tuning.run_maxima(np.full((2, 3), np.nan)).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    ("rates", "picked"),
    [
        ({3.0: 0.4, 4.0: 0.05, 5.0: 0.0}, 4.0),
        ({3.0: 0.4, 4.0: 0.2}, 4.0),
        ({0.002: 0.05, 0.001: 0.05}, 0.002),
    ],
)
def test_the_most_alert_fair_setting_is_picked_or_else_the_quietest(rates: dict[float, float], picked: float) -> None:
    assert tuning.pick_setting(rates, 0.05) == picked


@pytest.mark.parametrize(
    ("path", "delay"),
    [
        ([0, 0, 0, 9, 9], 2),
        ([0, 9, 9, 9, 9], 1),  # alarmed falsely before: measured from the change on
        ([0, 9, 0, 0, 0], None),
        ([0, 0, math.nan, math.nan, 9], 3),
    ],
)
def test_a_delay_counts_steps_from_the_change(path: list[float], delay: int | None) -> None:
    assert delays.first_crossings(np.array([path], np.float64), 5.0, change=2) == [delay]


def test_a_change_that_half_of_the_runs_miss_is_never_found() -> None:
    assert delays.median_delay([3, None, 5]) == 5.0
    assert delays.median_delay([3, None]) == math.inf
    assert delays.median_delay([3, 4, None, None]) == math.inf
    assert delays.median_delay([3, 4, 5, None]) == 4.5


def test_no_runs_have_no_delay() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        delays.median_delay([])


@pytest.mark.parametrize(
    ("ours", "peers", "ratio"),
    [
        (5.0, {"a": 10.0, "b": 20.0}, 0.5),
        (5.0, {"a": 2.0}, None),  # too easy
        (5.0, {"a": 150.0}, None),  # too hard
        (5.0, {"a": math.inf}, None),
        (math.inf, {"a": 50.0}, 4.0),  # a miss counts as the whole run
    ],
)
def test_delays_are_compared_where_the_best_peer_is_neither_instant_nor_blind(
    ours: float, peers: dict[str, float], ratio: float | None
) -> None:
    assert Cell(name="c", shift=0.1, ours=ours, peers=peers).compared(longest=200.0) == ratio


def test_small_shifts_have_a_mean_of_their_own() -> None:
    cells = [
        Cell(name="small", shift=0.04, ours=5.0, peers={"a": 20.0}),
        Cell(name="large", shift=0.20, ours=16.0, peers={"a": 4.0}),
    ]
    overall, small = delays.summarise(cells, longest=200.0, small=0.05)
    assert overall == pytest.approx(1.0)
    assert small == pytest.approx(0.25)


def test_nothing_to_compare_is_no_figure() -> None:
    assert all(math.isnan(v) for v in delays.summarise([], longest=200.0, small=0.05))


@pytest.mark.parametrize(
    ("alarms", "runs", "budget", "ratio"),
    [(0, 100, 0.05, 0.59), (0, 1, 0.0, 0.0), (1, 1, 0.0, math.inf), (5, 5, 0.05, 20.0)],
)
def test_false_alarms_are_judged_by_their_upper_limit(alarms: int, runs: int, budget: float, ratio: float) -> None:
    result = NullResult(key="a", title="", alarms=alarms, runs=runs, budget=budget)
    assert result.ratio == pytest.approx(ratio, rel=0.01)


def test_figures_take_the_worst_null_test_and_the_worst_table() -> None:
    tools = ("whylogs", "evidently", "nannyml")
    rows = [
        {"table": "t", "rows": size, "us_per_row": {"onguard": cost, **dict.fromkeys(tools, 20.0)}}
        for size, cost in ((100, 1.0), (100, 2.0), (1000, 40.0))
    ]
    found = figures.figures_of(
        {
            "nulls": [{"ratio": 0.2}, {"ratio": 0.7}],
            "cost": {"rows": rows, "primitives_ms": {"evaluate drift, 50 x 20": 0.2}},
        }
    )
    assert found["false_alarm_ratio_to_budget"] == 0.7
    assert [found[f"speed_vs_{tool}"] for tool in tools] == [10.0] * 3
    assert found["evaluate_ms_50x20"] == 0.2
    assert math.isnan(found["delay_ratio_geomean"])


def test_a_figure_that_is_not_known_is_not_met() -> None:
    assert not any(figures.is_met(name, math.nan) for name in figures.NAMES)
    assert figures.is_met("cause_top1", 0.9)
    assert not figures.is_met("wrong_action_rate", 0.9)


@pytest.mark.parametrize("shift", [0.1, 0.2, 0.4])
def test_the_least_delay_is_about_that_of_cusum_with_both_laws_known(shift: float) -> None:
    """Page's rule with the threshold ln(gamma), which keeps gamma with room to spare, is near the first order."""
    least = optimum.least_steps(shift**2 / 2)
    gamma = -optimum.STEPS / math.log1p(-optimum.ALARMED)
    rng, delays_of = np.random.default_rng(5), []
    for _ in range(200):
        gains = shift * rng.normal(shift, 1.0, 10_000) - shift**2 / 2
        walk = np.cumsum(gains)
        above = walk - np.minimum.accumulate(np.minimum(walk, 0.0)) >= math.log(gamma)
        delays_of.append((int(np.argmax(above)) + 1) / 100 if above.any() else math.inf)
    assert 0.85 * least < np.mean(delays_of) < 1.1 * least + 1.0


def test_laws_without_a_formula_have_no_bound() -> None:
    assert optimum.nats_of("distance: x1.02") is None
    assert optimum.nats_of("normal: 5% outliers") == pytest.approx(0.0985, rel=0.2)
