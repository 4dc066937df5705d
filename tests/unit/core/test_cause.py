"""The table is total, its rows exclude each other, and the rules that must never bend hold in every combination."""

import itertools
from typing import Any

import msgspec
import pytest

from onguard.cause import TABLE, Arms, Attribution, Cause, Control, Findings, Labels, Signal, Strength, attribute

COLUMNS: dict[str, list[Any]] = {
    "measurement": [False, True],
    "availability": list(Signal),
    "arms": list(Arms),
    "quality": list(Signal),
    "service": list(Signal),
    "inputs": list(Signal),
    "outputs": list(Signal),
    "labels": list(Labels),
    "fresh": [False, True],
    "saturated": [False, True],
    "beyond_retrain": [False, True],
}


@pytest.fixture(scope="module")
def every() -> list[Findings]:
    return [Findings(**dict(zip(COLUMNS, values, strict=True))) for values in itertools.product(*COLUMNS.values())]


def test_the_columns_are_all_fields_of_findings() -> None:
    assert tuple(COLUMNS) == Findings.__struct_fields__


def test_each_combination_has_exactly_one_row(every: list[Findings]) -> None:
    for findings in every:
        rows = [row.why for row in TABLE if row.matches(findings)]
        assert len(rows) == 1, (findings, rows)


def test_without_any_alarm_there_is_no_cause(every: list[Findings]) -> None:
    for findings in every:
        signals = {findings.availability, findings.quality, findings.service, findings.inputs, findings.outputs}
        if Signal.ALARM in signals or findings.labels in (Labels.WORSE, Labels.CONCEPT) or findings.measurement:
            continue
        if findings.arms in (Arms.WORSE, Arms.DIFFERENT):
            continue
        assert attribute(findings).cause is Cause.NONE


def test_drift_of_inputs_alone_is_never_a_release(every: list[Findings]) -> None:
    for findings in every:
        others = (findings.availability, findings.service, findings.outputs)
        if findings.inputs is Signal.ALARM and Signal.ALARM not in others and findings.arms is not Arms.WORSE:
            assert attribute(findings).cause is not Cause.RELEASE


def test_missing_knowledge_never_makes_an_acting_cause(every: list[Findings]) -> None:
    """Turning one alarm into `unknown` never turns a holding cause into an acting one."""
    acting = (Cause.RELEASE, Cause.CONCEPT, Cause.POPULATION)
    for findings in every[::7]:
        if findings.quality is Signal.ALARM:
            continue
        less = msgspec.structs.replace(findings, inputs=Signal.UNKNOWN, labels=Labels.UNKNOWN)
        if attribute(findings).cause not in acting and findings.service is not Signal.ALARM:
            assert attribute(less).cause not in acting


def test_a_release_in_doubt_is_not_confirmed(every: list[Findings]) -> None:
    for findings in every:
        found = attribute(findings)
        if found.confirmed:
            assert found.cause is Cause.RELEASE
            assert findings.arms is Arms.WORSE or findings.availability is Signal.ALARM


@pytest.mark.parametrize(
    ("findings", "strength", "cause", "control", "confirmed"),
    [
        (Findings(arms=Arms.WORSE), Strength(), Cause.RELEASE, Control.ARM, True),
        (Findings(arms=Arms.WORSE, quality=Signal.ALARM), Strength(), Cause.RELEASE, Control.ARM, True),
        (Findings(service=Signal.ALARM, fresh=True), Strength(), Cause.RELEASE, Control.NONE, False),
        (Findings(service=Signal.ALARM, fresh=True), Strength(gross=True), Cause.RELEASE, Control.GROSS, True),
        (
            Findings(service=Signal.ALARM, fresh=True),
            Strength(beyond_history=True),
            Cause.RELEASE,
            Control.HISTORY,
            True,
        ),
        (
            Findings(service=Signal.ALARM, inputs=Signal.ALARM, fresh=True),
            Strength(beyond_history=True),
            Cause.RELEASE,
            Control.NONE,
            False,
        ),
        (
            Findings(service=Signal.ALARM, fresh=True, arms=Arms.ALIKE),
            Strength(gross=True),
            Cause.UNKNOWN,
            Control.NONE,
            False,
        ),
        (Findings(service=Signal.ALARM, saturated=True), Strength(), Cause.CAPACITY, Control.NONE, False),
        (Findings(availability=Signal.ALARM, fresh=True), Strength(), Cause.RELEASE, Control.AVAILABILITY, True),
        (Findings(availability=Signal.ALARM), Strength(), Cause.UNKNOWN, Control.NONE, False),
        (
            Findings(outputs=Signal.ALARM, inputs=Signal.QUIET, fresh=True),
            Strength(gross=True),
            Cause.RELEASE,
            Control.NONE,
            False,
        ),
        (Findings(outputs=Signal.ALARM, inputs=Signal.QUIET), Strength(), Cause.UNKNOWN, Control.NONE, False),
        (Findings(inputs=Signal.ALARM, beyond_retrain=True), Strength(), Cause.POPULATION, Control.NONE, False),
        (Findings(labels=Labels.CONCEPT, inputs=Signal.QUIET), Strength(), Cause.CONCEPT, Control.NONE, False),
        (Findings(labels=Labels.CONCEPT, inputs=Signal.ALARM), Strength(), Cause.CONCEPT, Control.NONE, False),
        (Findings(labels=Labels.CONCEPT), Strength(), Cause.UNKNOWN, Control.NONE, False),
        (Findings(labels=Labels.WORSE, inputs=Signal.ALARM), Strength(), Cause.POPULATION, Control.NONE, False),
        (Findings(labels=Labels.WORSE, inputs=Signal.QUIET), Strength(), Cause.UNKNOWN, Control.NONE, False),
        (
            Findings(labels=Labels.CONCEPT, quality=Signal.ALARM, inputs=Signal.ALARM),
            Strength(),
            Cause.UPSTREAM_DATA,
            Control.NONE,
            False,
        ),
        (
            Findings(quality=Signal.ALARM, service=Signal.ALARM, fresh=True),
            Strength(),
            Cause.UPSTREAM_DATA,
            Control.NONE,
            False,
        ),
        (Findings(measurement=True, arms=Arms.WORSE), Strength(), Cause.MEASUREMENT, Control.NONE, False),
    ],
)
def test_the_cases_that_people_ask_about(
    findings: Findings, strength: Strength, cause: Cause, control: Control, confirmed: bool
) -> None:
    found = attribute(findings, strength)
    assert (found.cause, found.control, found.confirmed) == (cause, control, confirmed)


def test_an_attribution_names_what_else_it_might_be() -> None:
    found: Attribution = attribute(Findings(quality=Signal.ALARM, inputs=Signal.ALARM, beyond_retrain=True))
    assert [cause for cause, _ in found.alternatives] == [Cause.POPULATION]
    found = attribute(Findings(labels=Labels.CONCEPT, inputs=Signal.ALARM))
    assert [cause for cause, _ in found.alternatives] == [Cause.POPULATION_BENIGN]
