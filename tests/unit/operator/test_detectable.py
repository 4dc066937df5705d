"""``status.detectable`` says what an hour of the present traffic could show, and does not flicker."""

from onguard.budget import Objective
from onguard.profile import Profile
from onguard.quantities import Duration
from onguard.spec import DataQuality, Drift, Errors, Latency, Objectives, Spec, TargetRef
from onguard_operator.detect import detectable, rounded
from onguard_operator.evidence import Evidence, Past
from onguard_operator.judges import judges_of
from tests.unit.core.detector_cases import flat_profile

SPEC = Spec(
    target_ref=TargetRef(name="churn"),
    objectives=Objectives(
        drift=Drift(),
        data_quality=DataQuality(),
        errors=Errors(),
        latency=(Latency(quantile=0.99, below=Duration(0.25)),),
    ),
)


def effects(requests_per_epoch: int, profile: Profile | None = None) -> dict[str, float]:
    past = tuple(Past(id=i, revision="a", requests=requests_per_epoch, errors=0) for i in range(60))
    evidence = Evidence(past=past if requests_per_epoch else ())
    judges = judges_of(SPEC, profile if profile is not None else flat_profile(3), ordinal=1)
    return {row["objective"]: row["effect"] for row in detectable(evidence, judges)}


def test_each_detector_has_a_row() -> None:
    names = {Objective.DRIFT, Objective.DATA_QUALITY, Objective.ERRORS, Objective.LATENCY}
    assert set(effects(100)) == {name.value for name in names}


def test_more_traffic_shows_smaller_shifts() -> None:
    few, many = effects(10), effects(1000)
    assert few["drift"] > many["drift"] > 0.01
    assert few["errors"] == many["errors"]


def test_without_traffic_nothing_is_detectable() -> None:
    assert set(effects(0).values()) == {1.0}


def test_a_few_requests_more_or_less_change_nothing() -> None:
    assert effects(100) == effects(103)
    assert rounded(float("nan")) == 0.0
