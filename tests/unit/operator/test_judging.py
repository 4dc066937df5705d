"""From evidence and pods to findings: availability, strength of a release, onset, what was left behind."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from onguard import contract
from onguard.budget import Objective
from onguard.cause import Arms, Signal, attribute
from onguard.findings import Effect, Finding, Verdict
from onguard.spec import parse_spec
from onguard_operator import assess, availability, compare, epochs, strength
from onguard_operator.assess import Comparison, Surroundings
from onguard_operator.epochs import Joined
from onguard_operator.evidence import Evidence, Past
from onguard_operator.fleet import Fleet
from onguard_operator.judges import judges_of
from onguard_operator.release import History, Revision, Standing
from tests.unit.operator.worlds import pod, world

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
SPEC = parse_spec(
    {
        "targetRef": {"name": "churn"},
        "objectives": {
            "availability": {},
            "errors": {"below": "1%"},
            "latency": [{"quantile": 0.99, "below": "250ms"}],
            "drift": {"retrainAt": "10%"},
        },
        "release": {"watch": "10m"},
    }
)
JUDGES = judges_of(SPEC, None, ordinal=1)
CHANGED = 1000.0
HISTORY = History(
    current="new",
    previous="old",
    changed_at=CHANGED,
    revisions=(Revision(id="old", standing=Standing.GOOD), Revision(id="new", since=CHANGED)),
)


def crashing(name: str = "n", *, container: str = "model", created: str = "2026-11-25T01:58:00Z") -> dict:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    statuses = [{"name": container, "state": state, "restartCount": 3}]
    return pod(name, ready=False, metadata={"creationTimestamp": created}, status={"containerStatuses": statuses})


def waiting(created: str) -> dict:
    return pod("n", ready=False, metadata={"creationTimestamp": created})


OLD = pod("old")
SLOW_OLD = pod("old", metadata={"creationTimestamp": "2026-11-25T01:49:05Z"})
"""Took a minute to become ready."""
STUCK = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}


@pytest.mark.parametrize(
    ("pods", "more", "expected"),
    [
        ([OLD, crashing()], {}, Signal.ALARM),
        ([OLD, crashing(created="2026-11-25T01:59:30Z")], {}, Signal.UNKNOWN),
        ([OLD, waiting("2026-11-25T01:58:30Z")], {}, Signal.ALARM),
        ([OLD, waiting("2026-11-25T01:59:10Z")], {}, Signal.UNKNOWN),
        ([SLOW_OLD, waiting("2026-11-25T01:58:30Z")], {}, Signal.UNKNOWN),
        ([SLOW_OLD, waiting("2026-11-25T01:56:00Z")], {}, Signal.ALARM),
        ([waiting("2026-11-25T01:50:00Z")], {}, Signal.UNKNOWN),
        ([OLD, pod("n")], {}, Signal.QUIET),
        ([OLD], {}, Signal.UNKNOWN),
    ],
)
def test_a_release_is_unavailable_when_its_pods_crash_or_stay_unready_longer_than_the_old_ones_took(
    pods: list, more: dict, expected: Signal
) -> None:
    revisions = {"uid-n": "new", "uid-old": "old"}
    assert availability.availability(world(pods=pods, **more), revisions, "new", NOW)[0] is expected


def test_a_pod_that_hangs_on_our_sidecar_says_nothing_about_the_model() -> None:
    item = waiting("2026-11-25T01:50:00Z")
    item["status"]["initContainerStatuses"] = [{"name": contract.CONTAINER_WIRE, "started": False}]
    assert availability.availability(world(pods=[OLD, item]), {"uid-n": "new"}, "new", NOW)[0] is Signal.UNKNOWN


def past(revision: str, first: int, count: int, requests: int, errors: int) -> tuple[Past, ...]:
    return tuple(Past(first + i, revision, requests, errors) for i in range(count))


@pytest.mark.parametrize(
    ("old", "new", "gross"),
    [
        (past("old", 0, 120, 100, 0), past("new", 120, 3, 100, 60), True),
        (past("old", 0, 119, 100, 0), past("new", 120, 3, 100, 60), False),
        (past("old", 0, 120, 100, 2), past("new", 120, 3, 100, 60), False),
        (past("old", 0, 120, 100, 0), past("new", 120, 3, 100, 50), False),
        (past("old", 0, 120, 100, 0), past("new", 120, 2, 100, 90), False),
        (past("old", 0, 120, 100, 0), past("new", 120, 3, 16, 16), False),
    ],
    ids=["gross", "old one too young", "old one broke it too", "half is not over half", "two epochs", "48 requests"],
)
def test_gross_is_what_rule_a10_says(old: tuple, new: tuple, gross: bool) -> None:
    found = strength.of_release(Evidence(past=old + new, history=HISTORY), JUDGES)
    assert found.gross is gross


@pytest.mark.parametrize(("windows", "worst", "beyond"), [(100, 1, True), (99, 1, False), (100, 9, False)])
def test_beyond_history_needs_a_hundred_windows_and_none_as_bad(windows: int, worst: int, beyond: bool) -> None:
    old = list(past("old", 0, 4 * windows, 100, 1))
    old[:4] = past("old", 0, 4, 100, worst)
    evidence = Evidence(past=(*old, *past("new", 4 * windows, 4, 100, 9)), history=HISTORY)
    assert strength.of_release(evidence, JUDGES).beyond_history is beyond


def finding(
    objective: Objective, *, alarmed: bool, shift: float = 0.0, low: float = 0.0, requests: float = 1e4
) -> Finding:
    effect = Effect(
        feature="age",
        event="age <= 30",
        shift=shift,
        shift_low=low,
        expected=0.3,
        observed=0.3 + shift,
        requests=requests,
        log_e=20.0,
    )
    return Finding(
        objective=objective,
        verdict=Verdict.ALARMED if alarmed else Verdict.QUIET,
        step=9,
        episodes=1,
        log_e=20.0 if alarmed else 0.0,
        log_threshold=15.0,
        named=(effect,) if alarmed and objective is Objective.DRIFT else (),
    )


ERRORS = {"errors": finding(Objective.ERRORS, alarmed=True)}


@pytest.mark.parametrize(
    ("onset", "history", "before", "fresh"),
    [
        (CHANGED + 60, HISTORY, (), True),
        (CHANGED + 601, HISTORY, (), False),
        (CHANGED - 60, HISTORY, (), False),
        (CHANGED + 60, HISTORY, ("errors",), False),
        (CHANGED + 60, History(current="new", revisions=(Revision(id="new"),)), (), False),
    ],
    ids=["inside the watch", "after it", "before the release", "broken already", "nothing came before"],
)
def test_a_breach_is_fresh_if_it_began_inside_the_watch_of_a_release(
    onset: float, history: History, before: tuple, fresh: bool
) -> None:
    evidence = Evidence(history=history, onsets={"errors": onset}, broken_before=frozenset(before))
    table = assess.table_input(evidence, ERRORS, SPEC, Surroundings())
    assert table.fresh is fresh
    assert table.service is Signal.ALARM


def test_an_alarm_that_the_bad_revision_left_behind_is_no_breach_of_the_good_one_unless_it_lasts() -> None:
    evidence = Evidence(history=HISTORY, broken_before=frozenset({"errors"}))
    assert assess.present(evidence, ERRORS, CHANGED + 100) == {}
    assert assess.present(evidence, ERRORS, CHANGED + 301) == ERRORS


@pytest.mark.parametrize(
    ("onset", "standing", "is_left"),
    [
        (CHANGED - 20, Standing.GOOD, True),
        (CHANGED + 20, Standing.ASSUMED_GOOD, True),
        (CHANGED + 61, Standing.GOOD, False),
        (CHANGED - 20, Standing.CANDIDATE, False),
    ],
    ids=["before the rollback", "from pods on their way out", "of its own", "of a candidate"],
)
def test_an_alarm_that_comes_after_a_rollback_belongs_to_the_revision_in_whose_time_it_began(
    onset: float, standing: Standing, is_left: bool
) -> None:
    revisions = (Revision(id="bad", standing=Standing.BAD), Revision(id="good", standing=standing))
    history = History(current="good", previous="bad", changed_at=CHANGED, revisions=revisions)
    evidence = Evidence(history=history, onsets={"errors": onset})
    assert (assess.present(evidence, ERRORS, CHANGED + 100) == {}) is is_left
    assert assess.present(evidence, ERRORS, CHANGED + 301) == ERRORS


@pytest.mark.parametrize(
    ("drift", "age_s", "beyond", "unclear"),
    [
        ({"shift": 0.3, "low": 0.2}, 0.0, True, False),
        ({"shift": 0.05, "low": 0.03}, 30.0, False, True),
        ({"shift": 0.05, "low": 0.03}, 90.0, False, False),
        ({"shift": 0.12, "low": 0.08, "requests": 500.0}, 90.0, False, True),
        ({"shift": 0.12, "low": 0.08}, 90.0, False, False),
    ],
)
def test_a_shift_is_called_benign_only_when_that_is_clear(
    drift: dict, age_s: float, beyond: bool, unclear: bool
) -> None:
    found = {"drift": finding(Objective.DRIFT, alarmed=True, **drift)}
    evidence = Evidence(history=HISTORY, onsets={"drift": 5000.0})
    assert assess.table_input(evidence, found, SPEC, Surroundings()).beyond_retrain is beyond
    assert assess.is_shift_unclear(evidence, found, SPEC, 5000.0 + age_s) is unclear


def test_no_data_is_no_breach_and_no_health() -> None:
    silent = {"errors": replace(ERRORS["errors"], verdict=Verdict.NO_DATA)}
    table = assess.table_input(Evidence(history=HISTORY), silent, SPEC, Surroundings())
    assert table.service is Signal.UNKNOWN
    assert attribute(table).cause == "none"


def joined(number: int, new_bad: float, old_bad: float) -> Joined:
    def row(bad: float) -> np.ndarray:
        made = np.zeros(epochs.WIDTH, np.int64)
        made[epochs.CONNECTIONS] = 10
        made[epochs.CONNECTION_BAD] = round(10 * bad * contract.UNIT)
        return made

    return Joined(number, {("new", "candidate"): row(new_bad), ("old", "baseline"): row(old_bad)})


@pytest.mark.parametrize(
    ("new_bad", "old_bad", "verdict"), [(0.5, 0.0, Arms.WORSE), (0.5, 0.5, Arms.UNDECIDED), (0.0, 0.0, Arms.ALIKE)]
)
def test_the_arms_say_whether_the_new_revision_is_worse(new_bad: float, old_bad: float, verdict: Arms) -> None:
    paired = [joined(n, new_bad, old_bad) for n in range(30)]
    evidence = Evidence(history=HISTORY, arms_to=30)
    _, comparison = compare.compare(evidence, paired, SPEC, replace(JUDGES, service=JUDGES.service[:1]))
    assert comparison.verdict is verdict
    assert comparison.figures


def test_arms_that_were_alike_say_nothing_once_they_are_no_longer_side_by_side() -> None:
    judges = replace(JUDGES, service=JUDGES.service[:1])
    evidence, first = compare.compare(
        Evidence(history=HISTORY, arms_to=30), [joined(n, 0.0, 0.0) for n in range(30)], SPEC, judges
    )
    _, later = compare.compare(replace(evidence, arms_to=60), [], SPEC, judges)
    assert (first.verdict, later.verdict) == (Arms.ALIKE, Arms.UNDECIDED)


def test_without_a_candidate_there_is_nothing_to_compare() -> None:
    good = History(current="old", revisions=(Revision(id="old", standing=Standing.GOOD),))
    assert compare.compare(Evidence(history=good), [joined(1, 1.0, 0.0)], SPEC, JUDGES)[1] == Comparison()


def test_five_models_that_alarm_together_are_suspect_until_their_alarms_are_over() -> None:
    fleet = Fleet()
    for number in range(4):
        fleet.note(f"m{number}", ["errors"], 100.0)
    fleet.note("late", ["errors"], 500.0)
    assert not fleet.is_suspect("m0")
    for number in range(5):
        fleet.note(f"n{number}", ["errors"], 510.0)
    assert fleet.is_suspect("late")
    assert not fleet.is_suspect("m0"), "it alarmed long before"
    fleet.note("late", [], 600.0)
    assert not fleet.is_suspect("late")
