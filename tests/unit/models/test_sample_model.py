import json
from pathlib import Path

import numpy as np
import pytest

from tests.models import train
from tests.models.customers import FEATURES, MISSING_DATA_GB, as_rows, draw
from tests.models.scoring import Bug, ScoringError, chance
from tests.models.traffic import Mix, bodies, customers

SHIPPED = train.load(Path(train.__file__).with_name("model.json"))


def share_failed(bug: Bug) -> float:
    rows, failed = as_rows(draw(np.random.default_rng(5), 2000)), 0
    for row in rows:
        try:
            chance(row, SHIPPED, bug)
        except ScoringError:
            failed += 1
    return failed / len(rows)


def test_the_shipped_model_is_what_the_seed_gives() -> None:
    again = train.trained()
    assert again.weights == pytest.approx(SHIPPED.weights, abs=2e-6)
    assert again.intercept == pytest.approx(SHIPPED.intercept, abs=2e-6)


def test_the_model_has_learned_who_leaves() -> None:
    table = draw(np.random.default_rng(99), 4000)
    scores = np.array([chance(row, SHIPPED) for row in as_rows(table)])
    left, stayed = scores[table["churned"]], scores[~table["churned"]]
    area = np.mean(left[:, None] > stayed[None, :])
    assert area > 0.75
    assert scores.mean() == pytest.approx(table["churned"].mean(), abs=0.03)


@pytest.mark.parametrize(
    ("bug", "low", "high"),
    [(Bug.NONE, 0.0, 0.0), (Bug.SLOW, 0.0, 0.0), (Bug.SCALING, 0.2, 0.45), (Bug.GROSS, 0.9, 1.0)],
)
def test_each_bug_fails_the_share_of_requests_that_it_says(bug: Bug, low: float, high: float) -> None:
    assert low <= share_failed(bug) <= high


def test_the_scaling_bug_changes_the_answers_that_it_still_gives() -> None:
    row = as_rows(draw(np.random.default_rng(1), 1))[0] | {"tenure_months": 20.0, "monthly_charge": 66.0}
    assert abs(chance(row, SHIPPED, Bug.SCALING) - chance(row, SHIPPED)) > 0.1


@pytest.mark.parametrize("fault", [{"contract": "weekly"}, {"data_gb": "9"}, {"support_calls": True}])
def test_a_malformed_row_is_the_clients_fault(fault: dict[str, object]) -> None:
    row = as_rows(draw(np.random.default_rng(1), 1))[0]
    with pytest.raises(ValueError, match="expected"):
        chance(row | fault, SHIPPED)


def test_the_reference_holds_the_models_answers_and_its_holes(tmp_path: Path) -> None:
    train.write_reference(tmp_path / "reference.csv", SHIPPED)
    lines = (tmp_path / "reference.csv").read_text().splitlines()
    assert lines[0].split(",") == [*FEATURES, "prediction"]
    assert len(lines) == 1 + train.REFERENCE_ROWS
    holes = sum(",," in line for line in lines)
    assert holes / train.REFERENCE_ROWS == pytest.approx(MISSING_DATA_GB, abs=0.005)


def test_traffic_can_shift_a_feature_and_leave_holes() -> None:
    plain = customers(np.random.default_rng(3), Mix())
    shifted = customers(np.random.default_rng(3), Mix(shift={"monthly_charge": 25.0}))
    assert [round(b["monthly_charge"] - a["monthly_charge"], 2) for a, b in zip(plain, shifted, strict=True)] == (
        [25.0] * len(plain)
    )
    holes = customers(np.random.default_rng(3), Mix(missing={"tenure_months": 0.3}))
    assert 0.2 < np.mean([row["tenure_months"] is None for row in holes]) < 0.4


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_both_protocols_carry_the_same_customers(protocol: str) -> None:
    body = json.loads(next(bodies(np.random.default_rng(3), Mix(rows=4, protocol=protocol))))
    charges = [row["monthly_charge"] for row in customers(np.random.default_rng(3), Mix())[:4]]
    if protocol == "v1":
        assert [row["monthly_charge"] for row in body["instances"]] == charges
    else:
        assert {t["name"]: t["data"] for t in body["inputs"]}["monthly_charge"] == charges
