"""Planning figures agree with what the detectors then do."""

import math

import numpy as np
import pytest

from onguard import bounded, detectors
from onguard.bounded import BoundedDetector
from onguard.budget import Objective
from onguard.power import (
    bounded_delay_steps,
    bounded_detectable,
    delay_steps,
    detectable,
    divergence,
    smallest_odds_ratio,
)
from tests.unit.core.detector_cases import FLAT, detector, flat_profile, moved, requests, threshold

HORIZON = 518_400.0


@pytest.mark.parametrize(("shift", "n"), [(0.05, 300), (0.1, 300), (0.2, 100)])
def test_the_delay_is_about_what_was_planned(shift: float, n: int) -> None:
    watch = detector(flat_profile(), HORIZON)
    planned = delay_steps(watch, shift=shift, requests_per_step=n)
    rng, taken = np.random.default_rng(1), []
    for _ in range(20):
        state = detectors.start(watch)
        while state.since is None:
            state = detectors.step(watch, state, requests(rng, n, [moved(shift)]))
        taken.append(state.steps)
    assert planned / 2 <= np.median(taken) <= 2 * math.ceil(planned)


@pytest.mark.parametrize("bad", [0.02, 0.05, 0.2, 1.0])
def test_the_delay_of_errors_is_about_what_was_planned(bad: float) -> None:
    watch = BoundedDetector(threshold(7.8e6, Objective.ERRORS), 0.01)
    rng, taken = np.random.default_rng(2), []
    for _ in range(20):
        state = bounded.start(watch)
        while state.since is None:
            state = bounded.step(watch, state, int(rng.binomial(200, bad)), 200)
        taken.append(state.steps)
    planned = bounded_delay_steps(watch, bad=bad)
    assert planned / 2 <= np.median(taken) <= 2 * math.ceil(planned)


def test_the_smallest_detectable_shift_is_the_one_whose_delay_fits() -> None:
    watch = detector(flat_profile(3), HORIZON)
    found = detectable(watch, requests_per_step=300, steps=240)
    assert delay_steps(watch, shift=found.smallest, requests_per_step=300) == pytest.approx(240, rel=1e-3)
    assert 0.01 < found.floor < found.smallest < 0.1


@pytest.mark.parametrize(("less", "more"), [(50, 500), (500, 5000)])
def test_more_traffic_finds_less_but_nothing_below_the_floor(less: int, more: int) -> None:
    watch = detector(flat_profile(), HORIZON)
    few, many = (detectable(watch, requests_per_step=n, steps=240) for n in (less, more))
    assert many.floor == few.floor < many.smallest < few.smallest


def test_without_traffic_nothing_is_detectable() -> None:
    watch = detector(flat_profile(), HORIZON)
    assert detectable(watch, requests_per_step=0, steps=240).smallest == 1.0


def test_data_quality_is_detectable_upwards_only() -> None:
    found = detectable(detector(flat_profile(), HORIZON, Objective.DATA_QUALITY), requests_per_step=300, steps=240)
    assert 0.01 < found.floor < found.smallest < 0.03


def test_the_smallest_share_of_errors_lies_above_the_objective() -> None:
    watch = BoundedDetector(threshold(7.8e6, Objective.ERRORS), 0.01)
    found = bounded_detectable(watch, steps=60)
    assert found.floor == 0.01 < found.smallest < 0.02


def test_a_law_equal_to_its_limit_does_not_diverge() -> None:
    assert divergence(0.3, 0.3) == 0.0
    assert divergence(0.0, 0.5) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("bad", "share"), [(0, 0.5), (3, 0.5), (100, 0.0), (100, 1.0)])
def test_too_few_bad_units_or_one_arm_show_nothing(bad: int, share: float) -> None:
    assert smallest_odds_ratio(bad_units=bad, new_share=share, alpha=0.01) == math.inf


def test_a_quiet_law_is_never_found() -> None:
    assert FLAT.sum() == pytest.approx(1.0)
    assert delay_steps(detector(flat_profile(), HORIZON), shift=0.0, requests_per_step=1e6) == math.inf
