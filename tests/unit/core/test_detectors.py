"""The e-detector: Theorem 1, its latch, its state, and what it finds."""

import dataclasses
import math
import time
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from onguard import detectors
from onguard.budget import Objective
from onguard.contract import UNIT
from onguard.detectors import ETAS, Detector
from onguard.effects import finding
from onguard.findings import Verdict
from onguard.states import State, StateError
from tests.unit.core.detector_cases import FLAT, detector, flat_profile, moved, requests

HORIZON = 518_400.0


def run(watch: Detector, state: State, scrapes: list[np.ndarray]) -> State:
    for scrape in scrapes:
        state = detectors.step(watch, state, scrape)
    return state


def until(watch: Detector, state: State, draw: Callable[[], np.ndarray], *, alarmed: bool, limit: int = 500) -> State:
    for _ in range(limit):
        state = detectors.step(watch, state, draw())
        if (state.since is not None) is alarmed:
            return state
    raise AssertionError(f"expected alarmed={alarmed} within {limit} steps")


def test_one_step_is_the_formula_of_the_theorem() -> None:
    watch = detector(flat_profile(), HORIZON)
    scrape = requests(np.random.default_rng(1), 100, [FLAT])
    inside, weight = (v / UNIT for v in watch.limits.tally(scrape))
    expected = []
    for k in range(19):
        for edge, sign in ((watch.limits.upper[k], 1), (watch.limits.lower[k], -1)):
            for eta in ETAS:
                p = expit(logit(edge) + sign * eta)
                e = inside[k] * np.log(p / edge) + (weight[k] - inside[k]) * np.log((1 - p) / (1 - edge))
                expected.append(e)  # R_0 = 0: the first R is e itself
    state = detectors.step(watch, detectors.start(watch), scrape)
    np.testing.assert_allclose(state.log_r, expected, rtol=1e-9, atol=1e-12)
    second = detectors.step(watch, state, scrape)
    np.testing.assert_allclose(second.log_r, np.logaddexp(expected, 0) + expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(second.log_d, [np.logaddexp.reduce(second.log_r) - math.log(19 * 12)])


@given(st.floats(0.001, 0.999), st.floats(-1.6, 1.6).filter(lambda x: abs(x) > 1e-3), st.floats(0, 1))
def test_a_request_of_any_share_multiplies_by_one_at_most_on_average(u: float, eta: float, share: float) -> None:
    """A request of many rows has a share x of its weight in the event: convexity bounds it by the two-point law."""
    hit, miss = (float(v) for v in detectors._ratios(np.array(u), np.array(eta)))
    assert u * math.exp(hit) + (1 - u) * math.exp(miss) == pytest.approx(1.0)
    assert share * hit + (1 - share) * miss <= math.log(share * math.exp(hit) + (1 - share) * math.exp(miss)) + 1e-12


@pytest.mark.parametrize(("shift", "within"), [(0.4, 1), (0.2, 3), (0.1, 12), (0.05, 70)])
def test_a_shift_is_found_named_and_measured(shift: float, within: int) -> None:
    rng = np.random.default_rng(2)
    watch = detector(flat_profile(5), HORIZON)
    state = run(watch, detectors.start(watch), [requests(rng, 300, [FLAT] * 5) for _ in range(50)])
    assert finding(watch, state).verdict is Verdict.QUIET
    laws = [FLAT, FLAT, moved(shift), FLAT, FLAT]
    state = until(watch, state, lambda: requests(rng, 300, laws), alarmed=True)
    assert state.steps - 50 <= within
    state = run(watch, state, [requests(rng, 300, laws) for _ in range(within)])
    found = finding(watch, state)
    assert (found.verdict, [e.feature for e in found.named]) == (Verdict.ALARMED, ["f2"])
    effect = found.named[0]
    assert effect.shift == pytest.approx(-shift, abs=0.06)
    assert effect.shift_low <= abs(effect.shift)
    assert found.widest_shift == abs(effect.shift)


def test_missing_values_are_data_quality_and_not_drift() -> None:
    rng = np.random.default_rng(3)
    profile = flat_profile(3)
    quality, drift = detector(profile, HORIZON, Objective.DATA_QUALITY), detector(profile, HORIZON)
    scrapes = [requests(rng, 100, [FLAT] * 3, missing=0.2) for _ in range(20)]
    found = finding(quality, run(quality, detectors.start(quality), scrapes))
    assert found.alarmed
    assert {e.event for e in found.named} == {"f0 missing", "f1 missing", "f2 missing"}
    assert not finding(drift, run(drift, detectors.start(drift), scrapes)).alarmed


def test_an_alarm_is_latched_once_and_cleared_by_evidence_of_the_return() -> None:
    rng = np.random.default_rng(4)
    watch = detector(flat_profile(2), HORIZON)
    state = until(watch, detectors.start(watch), lambda: requests(rng, 300, [moved(0.2), FLAT]), alarmed=True)
    state = run(watch, state, [requests(rng, 300, [moved(0.2), FLAT]) for _ in range(300)])
    assert (state.episodes, state.since is not None) == (1, True)
    state = until(watch, state, lambda: requests(rng, 300, [FLAT, FLAT]), alarmed=False)
    assert (state.episodes, finding(watch, state).verdict) == (1, Verdict.QUIET)
    state = run(watch, state, [requests(rng, 300, [FLAT, FLAT]) for _ in range(100)])
    assert (state.episodes, state.since) == (1, None)


def test_no_traffic_is_no_data_and_never_a_step() -> None:
    watch = detector(flat_profile(), HORIZON)
    state = run(watch, detectors.start(watch), [np.zeros(24, np.int64)] * 50)
    assert (state.steps, finding(watch, state).verdict) == (0, Verdict.NO_DATA)


def test_a_scrape_of_missing_values_only_leaves_the_values_alone() -> None:
    watch = detector(flat_profile(), HORIZON)
    before = detectors.step(watch, detectors.start(watch), requests(np.random.default_rng(5), 50, [FLAT]))
    only_missing = np.zeros(24, np.int64)
    only_missing[20] = 10 * UNIT
    np.testing.assert_array_equal(detectors.step(watch, before, only_missing).log_r, before.log_r)


def test_lost_traffic_weakens_evidence() -> None:
    watch = detector(flat_profile(), HORIZON)
    scrape = requests(np.random.default_rng(6), 300, [moved(0.2)])
    whole = detectors.step(watch, detectors.start(watch), scrape)
    torn = detectors.step(watch, detectors.start(watch), scrape, lost=0.1)
    assert torn.log_d[0] < whole.log_d[0]
    assert np.all(detectors.step(watch, detectors.start(watch), scrape, lost=0.999).log_d <= 1e-9)


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 1 << 24), min_size=24, max_size=24), min_size=1, max_size=6), st.randoms())
def test_replicas_merge_exactly_in_any_order(pods: list[list[int]], random: Random) -> None:
    watch = detector(flat_profile(), HORIZON)
    counts = [np.array(pod, np.int64) for pod in pods]
    whole = detectors.step(watch, detectors.start(watch), np.sum(counts, axis=0))
    random.shuffle(counts)
    merged = np.zeros(24, np.int64)
    for pod in counts:
        merged = merged + pod
    again = detectors.step(watch, detectors.start(watch), merged)
    for field in dataclasses.fields(State):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(whole, field.name))


def test_a_saved_state_comes_back_with_no_more_evidence() -> None:
    rng = np.random.default_rng(7)
    watch = detector(flat_profile(3), HORIZON)
    state = run(watch, detectors.start(watch), [requests(rng, 300, [moved(0.3), FLAT, FLAT]) for _ in range(5)])
    back = detectors.resume(watch, State.decode(state.encode()))
    assert (back.steps, back.episodes, back.since) == (state.steps, state.episodes, state.since)
    for name in ("log_r", "log_d", "log_v"):
        saved, kept = getattr(back, name), getattr(state, name)
        assert np.all(saved <= kept)
        np.testing.assert_allclose(saved, kept, rtol=1e-6)
    for name in ("inside", "weight", "latched"):
        np.testing.assert_array_equal(getattr(back, name), getattr(state, name))


@pytest.mark.parametrize("damage", [b"", b"\x00", b"nothing", b"\xc0"])
def test_a_damaged_state_is_refused(damage: bytes) -> None:
    with pytest.raises(StateError):
        State.decode(damage)


def test_evidence_does_not_move_to_another_reference_or_grid() -> None:
    watch, other = detector(flat_profile(), HORIZON), detector(flat_profile(rows=40_000), HORIZON)
    state = detectors.step(watch, detectors.start(watch), requests(np.random.default_rng(8), 300, [moved(0.3)]))
    assert detectors.resume(other, state).steps == 0
    assert detectors.resume(watch, dataclasses.replace(state, log_v=np.zeros((1, 4)))).steps == 0
    assert detectors.resume(watch, state) is state


def test_a_reference_that_judges_nothing_stays_quiet() -> None:
    profile = flat_profile(rows=20)
    watch = detector(profile, HORIZON, tolerance=1.0)
    state = detectors.step(watch, detectors.start(watch), requests(np.random.default_rng(9), 9, [FLAT]))
    found = finding(watch, state)
    assert (found.verdict, found.leading) == (Verdict.QUIET, None)


def test_counts_near_the_end_of_int64_do_not_break_the_evidence() -> None:
    watch = detector(flat_profile(), HORIZON)
    huge = np.zeros(24, np.int64)
    huge[:20] = 1 << 56
    state = run(watch, detectors.start(watch), [huge] * 20)
    assert np.all(np.isfinite(state.log_d))
    assert finding(watch, state).verdict is Verdict.QUIET


def test_fifty_features_cost_less_than_a_third_of_a_millisecond(capsys: pytest.CaptureFixture[str]) -> None:
    """The target is 0.3 ms; the bound leaves room for a busy machine."""
    rng = np.random.default_rng(10)
    watch = detector(flat_profile(50), HORIZON)
    scrapes = [requests(rng, 300, [FLAT] * 50) for _ in range(50)]
    state = run(watch, detectors.start(watch), scrapes[:5])
    best = math.inf
    for scrape in scrapes:
        begin = time.perf_counter()
        state = detectors.step(watch, state, scrape)
        best = min(best, time.perf_counter() - begin)
    with capsys.disabled():
        print(f"\nevaluate_ms_50x20={best * 1e3:.3f} components={state.log_r.size} state_bytes={len(state.encode())}")
    assert best < 1e-3
