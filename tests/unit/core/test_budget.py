"""The false-alarm budget is split without a rest."""

import math

import pytest

from onguard.budget import Objective, reference_alpha, thresholds
from onguard.quantities import Duration, Ratio
from onguard.spec import DataQuality, Drift, Errors, FalseAlarms, Latency, Memory, Objectives

LATENCY = (Latency(quantile=0.99, below=Duration(0.25)), Latency(quantile=0.5, below=Duration(0.1)))
CASES = [
    Objectives(errors=Errors()),
    Objectives(drift=Drift(), data_quality=DataQuality()),
    Objectives(errors=Errors(), latency=LATENCY, drift=Drift(), data_quality=DataQuality()),
    Objectives(latency=LATENCY),
]


@pytest.mark.parametrize("objectives", CASES)
@pytest.mark.parametrize("has_outputs", [True, False])
def test_shares_sum_to_one_and_expected_alarms_to_the_budget(objectives: Objectives, has_outputs: bool) -> None:
    budget = FalseAlarms(at_most=2, per=Duration(30 * 86_400))
    parts = thresholds(objectives, budget, has_outputs=has_outputs)
    steps = {True: 30 * 86_400 / 5, False: 30 * 86_400 / 15}
    alarms = [steps[p.objective in (Objective.ERRORS, Objective.LATENCY)] / math.exp(p.log_alarm) for p in parts]
    assert sum(p.share for p in parts) == pytest.approx(1.0)
    assert sum(alarms) == pytest.approx(2.0)


def test_the_memory_threshold_keeps_its_share_without_a_detector() -> None:
    parts = thresholds(Objectives(errors=Errors(), memory=Memory()), FalseAlarms(), has_outputs=False)
    assert [(p.objective, round(p.share, 3)) for p in parts] == [(Objective.ERRORS, 0.667)]


def test_each_latency_objective_has_a_slot_of_its_own() -> None:
    parts = thresholds(Objectives(latency=LATENCY), FalseAlarms(), has_outputs=False)
    assert [(p.objective, p.slot, p.share) for p in parts] == [(Objective.LATENCY, 0, 0.5), (Objective.LATENCY, 1, 0.5)]


def test_outputs_take_half_of_the_share_of_drift() -> None:
    drift = Objectives(drift=Drift(tolerance=Ratio(0.02)))
    assert [p.share for p in thresholds(drift, FalseAlarms(), has_outputs=True)] == [0.5, 0.5]


def test_a_careless_budget_never_asks_for_negative_evidence() -> None:
    careless = FalseAlarms(at_most=1e9, per=Duration(60))
    assert all(p.log_alarm >= 0 for p in thresholds(CASES[2], careless, has_outputs=True))


def test_all_references_of_a_model_spend_the_error_once() -> None:
    assert sum(map(reference_alpha, range(1, 200_000))) <= 0.05
