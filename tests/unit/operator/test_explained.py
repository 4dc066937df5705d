"""What was counted since drift alarmed, and the fault of the data's way that it may show."""

import dataclasses

import numpy as np
import pytest

from onguard import building, columns, upstream
from onguard.budget import Objective
from onguard.cause import Cause, Signal, attribute
from onguard.counts import Counts, from_wire, to_wire
from onguard.detectors import start
from onguard.profile import Profile
from onguard.spec import Spec, parse_spec
from onguard.upstream import Kind, Upstream
from onguard_operator import assess, gather
from onguard_operator.assess import Surroundings
from onguard_operator.evaluate import explained
from onguard_operator.evidence import Evidence
from onguard_operator.gather import Intake, Setting
from onguard_operator.judges import Judges, judges_of


@pytest.fixture(scope="module")
def spec() -> Spec:
    return parse_spec(
        {
            "targetRef": {"name": "m"},
            "reference": {"configMap": {"name": "m"}},
            "objectives": {"drift": {}, "dataQuality": {}},
        }
    )


@pytest.fixture(scope="module")
def profile() -> Profile:
    return building.build([columns.of_numbers("age", np.random.default_rng(1).normal(40, 9, 5000))], building.Plan())


@pytest.fixture(scope="module")
def judges(spec: Spec, profile: Profile) -> Judges:
    return judges_of(spec, profile, ordinal=1)


def stuck(profile: Profile, rows: int) -> Counts:
    counts = Counts.zero(profile)
    counts.bins[5] = rows
    counts.repeats[0] = rows - 1
    return dataclasses.replace(counts, rows=rows)


def since(judges: Judges, profile: Profile, evidence: Evidence, counts: Counts | None, *, alarmed: bool):  # type: ignore[no-untyped-def]
    drift = next(j for j in judges.data if j.name == Objective.DRIFT)
    state = dataclasses.replace(start(drift.detector), steps=3, since=3 if alarmed else None)
    setting = Setting(judges=judges, profile=profile, objectives_hash="")
    return gather.since_drift(evidence, {drift.name: state}, Intake(counts=counts), setting)


def test_counts_add_up_from_the_alarm_on_and_are_forgotten_with_it(judges: Judges, profile: Profile) -> None:
    one = stuck(profile, 300)
    assert since(judges, profile, Evidence(), one, alarmed=False) is None
    first = since(judges, profile, Evidence(), one, alarmed=True)
    both = since(judges, profile, Evidence(since_drift=first), one, alarmed=True)
    assert from_wire(both, profile).rows == 600
    assert since(judges, profile, Evidence(since_drift=both), None, alarmed=True) == both
    assert since(judges, profile, Evidence(since_drift=both), one, alarmed=False) is None


def test_counts_of_another_reference_start_anew(judges: Judges, profile: Profile) -> None:
    other = dataclasses.replace(stuck(profile, 300), profile_hash="other")
    found = since(judges, profile, Evidence(since_drift=to_wire(other)), stuck(profile, 100), alarmed=True)
    assert from_wire(found, profile).rows == 100
    assert explained(Evidence(since_drift=to_wire(other)), profile) == ()


def test_they_survive_a_restart(profile: Profile) -> None:
    evidence = Evidence(since_drift=to_wire(stuck(profile, 500)))
    assert explained(Evidence.decode(evidence.encode()), profile) == explained(evidence, profile) != ()


def test_few_rows_do_not_tell_yet_and_none_need_no_explanation(profile: Profile) -> None:
    few = Evidence(since_drift=to_wire(stuck(profile, upstream.LEAST_ROWS - 1)))
    assert explained(few, profile) is None
    assert explained(Evidence(), profile) == ()
    assert explained(few, None) == ()


def test_a_named_fault_is_upstream_data_and_is_in_the_record(spec: Spec) -> None:
    fault = Upstream(kind=Kind.STUCK, features=("age",), text="age equals the row before")
    around = Surroundings(upstream=(fault,))
    findings = assess.table_input(Evidence(), {}, spec, around)
    assert findings.quality is Signal.ALARM
    assert attribute(findings).cause is Cause.UPSTREAM_DATA
    assert [(m.name, m.detail) for m in assess.figures_of({}, around)] == [("upstream: stuck", fault.text)]
