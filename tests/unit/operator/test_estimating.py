"""Live scores become an expected error, by merged counters alone, and only where the reference knows what they mean."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from prometheus_client import CollectorRegistry

from onguard import building, columns, contract
from onguard.counts import Counts
from onguard.profile import Profile
from onguard_operator import estimating, present
from onguard_operator.assess import Comparison
from onguard_operator.evidence import Evidence
from onguard_operator.present import Picture, Pods
from onguard_operator.telemetry import Telemetry


def drawn(seed: int, rows: int, a: float = 2.0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    score = rng.beta(a, 5, rows)
    return score, (rng.random(rows) < score).astype(np.float64)


def made(*, label: str | None = "truth") -> Profile:
    score, truth = drawn(1, 20_000)
    named = {"x": score, "score": score} | ({"truth": truth} if label else {})
    plan = building.Plan(outputs=("score",), label=label)
    return building.build([columns.of_numbers(name, values) for name, values in named.items()], plan)


PROFILE = made()


def unit_bins(scores: npt.NDArray[np.float64], profile: Profile = PROFILE) -> npt.NDArray[np.int64]:
    bins = np.zeros_like(Counts.zero(profile).bins)
    at = profile.layout.names.index("score")
    found = np.searchsorted(profile.features[at].edges, scores, side="left")
    bins[profile.layout.block(at)][: profile.features[at].value_bins] = np.bincount(
        found, minlength=profile.features[at].value_bins
    )
    return bins * contract.UNIT


def test_scores_of_many_visits_let_expect_the_error_that_labels_show() -> None:
    score, truth = drawn(2, 8000, a=4.0)
    evidence = Evidence()
    for part in np.split(score, 40):
        evidence = estimating.noted(evidence, unit_bins(part), PROFILE)
    found = estimating.estimate(evidence, PROFILE)
    assert found is not None
    assert found.rows == pytest.approx(8000)
    wrong = float(np.mean((score >= 0.5) != (truth > 0)))
    assert found.error.low < wrong < found.error.high
    assert found.before.value + 0.05 < found.error.low


def test_old_scores_give_way_to_new_ones() -> None:
    evidence = Evidence()
    for seed in range(40):
        evidence = estimating.noted(evidence, unit_bins(drawn(seed, 1000, a=2.0 if seed < 20 else 4.0)[0]), PROFILE)
    found = estimating.estimate(evidence, PROFILE)
    fresh = estimating.estimate(estimating.noted(Evidence(), unit_bins(drawn(9, 9000, a=4.0)[0]), PROFILE), PROFILE)
    assert found is not None
    assert fresh is not None
    assert estimating.RECENT <= found.rows <= 2 * estimating.RECENT
    assert found.error.value == pytest.approx(fresh.error.value, abs=0.01)


def test_a_visit_without_counts_changes_nothing_and_few_requests_say_nothing() -> None:
    evidence = estimating.noted(Evidence(), unit_bins(drawn(3, 150)[0]), PROFILE)
    assert estimating.noted(evidence, None, PROFILE).scored == evidence.scored
    assert estimating.estimate(evidence, PROFILE) is None


def test_without_labels_in_the_reference_nothing_is_expected() -> None:
    bare = made(label=None)
    evidence = estimating.noted(Evidence(), unit_bins(drawn(3, 5000)[0], bare), bare)
    assert evidence.scored is None
    assert estimating.estimate(evidence, bare) is None
    assert estimating.estimate(Evidence(), None) is None


def test_scores_counted_by_another_reference_are_forgotten() -> None:
    evidence = estimating.noted(Evidence(), unit_bins(drawn(3, 5000)[0]), PROFILE)
    assert evidence.scored is not None
    other = dataclasses.replace(evidence, scored=None)
    foreign = dataclasses.replace(evidence, scored=type(evidence.scored)(bins="other", rows=(1e4,), outside=0.0))
    assert estimating.estimate(foreign, PROFILE) is None
    assert estimating.noted(foreign, None, PROFILE).scored is None
    assert estimating.noted(foreign, unit_bins(drawn(3, 5000)[0]), PROFILE).scored == evidence.scored
    assert estimating.estimate(other, PROFILE) is None


def test_they_are_saved_with_the_evidence() -> None:
    evidence = estimating.noted(Evidence(), unit_bins(drawn(3, 5000)[0]), PROFILE)
    assert Evidence.decode(evidence.encode()).scored == evidence.scored


def test_the_metric_shows_the_limits_and_what_to_compare_them_with() -> None:
    evidence = estimating.noted(Evidence(), unit_bins(drawn(3, 5000)[0]), PROFILE)
    estimate = estimating.estimate(evidence, PROFILE)
    picture = Picture(
        evidence=evidence, findings={}, alarms=(), comparison=Comparison(), pods=Pods(), estimate=estimate
    )
    registry = CollectorRegistry()
    telemetry = Telemetry(registry)
    telemetry.show(("shop", "churn"), present.gauges(picture, guarded=True, now=1.0))
    shown = {
        bound: registry.get_sample_value(
            contract.METRIC_ESTIMATED_ERROR, {"namespace": "shop", "model": "churn", "bound": bound}
        )
        for bound in ("low", "value", "high", "reference")
    }
    assert estimate is not None
    assert shown == {**estimate.error._asdict(), "reference": estimate.before.value}
    telemetry.show(
        ("shop", "churn"), present.gauges(dataclasses.replace(picture, estimate=None), guarded=True, now=1.0)
    )
    assert "onguard_estimated_error{" not in str(list(registry.collect()))
