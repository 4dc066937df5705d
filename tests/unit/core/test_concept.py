"""The test of the error at equal scores keeps its error, whatever the mix does, and finds what is there."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from onguard import concept
from onguard.cause import Labels
from onguard.concept import ConceptDetector, judge, region_of
from onguard.performance import Baseline, Errors

Floats = npt.NDArray[np.float64]
RATES = np.array([0.02, 0.1, 0.3, 0.45, 0.3, 0.15, 0.05, 0.01])
MIX = np.array([0.2, 0.15, 0.1, 0.05, 0.1, 0.1, 0.1, 0.2])
HARD = np.array([0.02, 0.08, 0.25, 0.2, 0.25, 0.1, 0.08, 0.02])


def draw(rng: np.random.Generator, size: int, mix: Floats = MIX, rates: Floats = RATES) -> Errors:
    rows = rng.multinomial(size, mix)
    return Errors(rows.astype(np.float64), rng.binomial(rows, rates).astype(np.float64))


def baseline(rng: np.random.Generator, rows: int = 18_000) -> Baseline:
    return Baseline(np.arange(7.0), draw(rng, rows), threshold=0.5, effect=1.0)


def detector(known: Baseline, tolerance: float = 0.01) -> ConceptDetector:
    return ConceptDetector(known, log_alarm=float(np.log(20_000)), alpha=0.01, tolerance=tolerance)


@given(st.lists(st.floats(0.0, 1.0), min_size=8, max_size=8).filter(lambda v: sum(v) > 0.01), st.integers(0, 99))
def test_the_slack_is_the_solution_of_its_linear_programme(weights: list[float], seed: int) -> None:
    region = region_of(draw(np.random.default_rng(seed), 5000), alpha=0.05)
    mix = np.array(weights) / sum(weights)
    bounds = list(zip(-region.below, region.above, strict=True))
    found = linprog(-mix, A_ub=region.mix[None], b_ub=[region.mean_above], bounds=bounds)
    assert region.slack(mix) == pytest.approx(-found.fun, abs=1e-7)


def test_the_region_misses_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(1)
    misses = 0
    for _ in range(200):
        old = draw(rng, 4000)
        region = region_of(old, alpha=0.1)
        misses += any(float(mix @ (RATES - old.rates)) > region.slack(mix) for mix in (MIX, HARD, *np.eye(8)))
    assert misses / 200 < 0.1


def test_a_batch_of_another_mix_is_not_worse_at_equal_scores() -> None:
    rng = np.random.default_rng(2)
    found = [
        judge(baseline(rng), draw(rng, 3000, HARD), coverage=1.0, alpha=0.1, tolerance=0.0).is_worse_at_equal_scores
        for _ in range(100)
    ]
    assert np.mean(found) < 0.1


def test_a_batch_of_the_same_kind_is_not_worse() -> None:
    rng = np.random.default_rng(3)
    found = [judge(baseline(rng), draw(rng, 3000), coverage=1.0, alpha=0.1, tolerance=0.0) for _ in range(100)]
    assert np.mean([f.is_worse or f.is_worse_at_equal_scores for f in found]) < 0.1


@pytest.mark.parametrize(
    ("mix", "rates", "labels"),
    [
        (MIX, RATES, Labels.QUIET),
        (HARD, RATES, Labels.WORSE),
        (MIX, RATES + 0.08, Labels.CONCEPT),
        (HARD, RATES + 0.03, Labels.WORSE),
        (MIX, RATES * 0.5, Labels.QUIET),
    ],
)
def test_the_cause_of_a_worse_error_is_told_from_its_terms(mix: Floats, rates: Floats, labels: Labels) -> None:
    rng = np.random.default_rng(4)
    known = baseline(rng)
    assert judge(known, draw(rng, 6000, mix, rates), coverage=1.0, alpha=0.01, tolerance=0.01).labels is labels
    watch = detector(known)
    state = concept.start(watch)
    for _ in range(40):
        state = concept.step(watch, state, draw(rng, 200, mix, rates))
    assert concept.labels(watch, state) is labels


def test_labels_for_too_few_rows_are_not_judged() -> None:
    rng = np.random.default_rng(5)
    found = judge(baseline(rng), draw(rng, 6000, MIX, RATES + 0.2), coverage=0.9, alpha=0.01, tolerance=0.01)
    assert found.is_pending
    assert not found.is_worse
    assert found.labels is Labels.UNKNOWN


def test_false_alarms_stay_within_the_budget_however_the_mix_moves() -> None:
    """A threshold of 2 T / 0.1 for each of the two, a mix that swings, errors at the edge of the tolerance."""
    rng = np.random.default_rng(6)
    steps, alarms = 200, 0
    for _ in range(50):
        watch = dataclasses.replace(detector(baseline(rng)), log_alarm=float(np.log(steps / 0.1)))
        state = concept.start(watch)
        for i in range(steps):
            mix = MIX + 0.5 * (1 + np.sin(i / 9)) * (HARD - MIX)
            state = concept.step(watch, state, draw(rng, 100, mix, RATES + 0.01))
        alarms += state.since[1] is not None
    assert alarms <= 5


def test_a_change_of_concept_is_found_in_a_few_thousand_rows() -> None:
    rng = np.random.default_rng(7)
    delays = []
    for _ in range(20):
        watch = detector(baseline(rng))
        state = concept.start(watch)
        for i in range(200):
            state = concept.step(watch, state, draw(rng, 200, MIX, RATES if i < 20 else RATES + 0.1))
            if state.since[1] is not None:
                break
        delays.append(200 * (i - 19))
    assert 0 < np.median(delays) < 3000, sorted(delays)


def test_replicas_merge_and_silence_changes_nothing() -> None:
    rng = np.random.default_rng(8)
    watch = detector(baseline(rng))
    parts = [draw(rng, 100) for _ in range(5)]
    whole = parts[0] + parts[1] + parts[2] + parts[3] + parts[4]
    shuffled = parts[3] + parts[0] + parts[4] + parts[1] + parts[2]
    first, second = (concept.step(watch, concept.start(watch), errors) for errors in (whole, shuffled))
    np.testing.assert_array_equal(first.log_r, second.log_r)
    nothing = Errors(np.zeros(8), np.zeros(8))
    assert concept.step(watch, first, nothing) is first


def test_evidence_of_another_reference_is_refused() -> None:
    rng = np.random.default_rng(9)
    state = concept.start(detector(baseline(rng)))
    with pytest.raises(ValueError, match="of this reference"):
        concept.step(detector(baseline(rng)), state, draw(rng, 10))
