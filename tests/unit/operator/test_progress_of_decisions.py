from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard import contract
from onguard.decide import Blocker, Phase
from onguard.spec import Mode
from onguard_operator import records, release, retrain, rollback
from onguard_operator.progress import (
    ApplyTemplate,
    Begin,
    Circumstances,
    Move,
    NoteApplied,
    StartJob,
    Wait,
    next_step,
)
from onguard_operator.release import History, Revision, Standing
from tests.unit.operator import worlds

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
GOOD, BAD = worlds.template("1"), worlds.template("2")
GOOD_ID, BAD_ID = release.identity(GOOD, {}), release.identity(BAD, {})
KEPT = {**rollback.keep(worlds.mdep(), GOOD_ID, GOOD, ordinal=1)}
APPLIED = records.applied(NOW)
CRON = {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "train", "image": "t"}]}}}}}}


def history(current: str = BAD_ID) -> History:
    known = (Revision(id=GOOD_ID, standing=Standing.GOOD), Revision(id=BAD_ID))
    return History(current=current, previous=GOOD_ID, revisions=known)


def around(**changes: object) -> Circumstances:
    usual = {"blockers": (), "mode": Mode.AUTOMATIC, "is_alarmed": True, "now": NOW}
    return Circumstances(**{**usual, **changes})


def decision(phase: str, action: str = "Rollback", annotations: dict | None = None, **status: object) -> dict:
    spec = {
        "modelDeployment": {"name": "churn", "uid": "uid-mdep"},
        "cause": "release",
        "action": action,
        "mode": "Automatic",
        "revision": BAD_ID,
        "targetRevision": GOOD_ID,
    }
    meta = {"name": "churn-0123456789", "namespace": "shop", "uid": "uid-d", "annotations": annotations or {}}
    return {
        "apiVersion": contract.API_VERSION,
        "kind": "Decision",
        "metadata": meta,
        "spec": spec,
        "status": {"phase": phase, **status},
    }


def seen(template: dict = BAD, **fields: object) -> object:
    target = fields.pop("target", worlds.deployment(template, settled=bool(fields.pop("settled", True))))
    return worlds.world(target=target, good_templates=[KEPT], **fields)


def ours(template: dict) -> dict:
    return {
        **template,
        "metadata": {**template["metadata"], "annotations": {contract.ANNOTATION_DECISION: "churn-0123456789"}},
    }


def step_of(*args: object, **kwargs: object) -> tuple:
    step = next_step(*args, **kwargs)
    return (type(step), getattr(step, "phase", None), getattr(step, "outcome", None))


@pytest.mark.parametrize(
    ("phase", "status", "world", "current", "expected"),
    [
        ("Acting", {}, {}, BAD_ID, (ApplyTemplate, None, None)),
        ("Acting", {"conditions": APPLIED}, {}, BAD_ID, (Move, Phase.FAILED, "FieldFight")),
        ("Acting", {}, {"template": ours(GOOD)}, GOOD_ID, (NoteApplied, None, None)),
        ("Acting", {}, {"template": GOOD}, GOOD_ID, (Move, Phase.SUPERSEDED, "NewerChange")),
        ("Acting", {"conditions": APPLIED}, {"template": ours(GOOD)}, GOOD_ID, (Move, Phase.SUCCEEDED, "RolledBack")),
        ("Acting", {"conditions": APPLIED}, {"template": ours(GOOD), "settled": False}, GOOD_ID, (Wait, None, None)),
        ("Acting", {}, {"template": worlds.template("3")}, "other", (Move, Phase.SUPERSEDED, "NewerChange")),
        ("Acting", {}, {"target": None}, BAD_ID, (Move, Phase.FAILED, "TargetGone")),
        ("Held", {}, {}, BAD_ID, (Wait, None, None)),
        ("DryRun", {}, {}, BAD_ID, (Wait, None, None)),
        ("AwaitingApproval", {}, {}, BAD_ID, (Wait, None, None)),
        ("AwaitingApproval", {}, {}, "other", (Move, Phase.SUPERSEDED, "NewerChange")),
        ("Requested", {}, {}, BAD_ID, (Begin, None, None)),
    ],
)
def test_the_next_step_of_a_rollback(phase: str, status: dict, world: dict, current: str, expected: tuple) -> None:
    assert step_of(decision(phase, **status), seen(**world), history(current), around()) == expected


def test_a_rollback_to_content_that_is_not_kept_fails_with_the_names_and_writes_nothing() -> None:
    """RB-11: only a ConfigMap differs; the template alone would restore nothing."""
    named = worlds.template("1")
    named["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}]
    good, bad = ({"settings": digest} for digest in ("was", "is"))
    kept = rollback.keep(worlds.mdep(), release.identity(named, good), named, ordinal=1)
    act = decision("Acting")
    act["spec"] |= {"targetRevision": release.identity(named, good)}
    world = worlds.world(target=worlds.deployment(named), good_templates=[kept], contents=bad)
    step = next_step(act, world, history(BAD_ID), around())
    assert (step.phase, step.outcome) == (Phase.FAILED, "TemplateLost")
    assert "settings" in step.message


def test_an_approval_acts_in_the_approvers_name_and_overrules_soft_blockers() -> None:
    approved = decision("AwaitingApproval", annotations={contract.ANNOTATION_APPROVE: "kim"})
    soft = around(blockers=(Blocker("Coverage", "few pods"),))
    assert next_step(approved, seen(), history(), soft) == Begin(BAD_ID, GOOD_ID, "kim")
    hard = around(blockers=(Blocker("ActionsForbidden", "no right"),))
    assert next_step(approved, seen(), history(), hard).phase is Phase.AWAITING_APPROVAL


@pytest.mark.parametrize(
    ("mode", "blockers", "expected"),
    [
        (Mode.AUTOMATIC, (), (Begin, None, None)),
        (Mode.APPROVE, (), (Move, Phase.AWAITING_APPROVAL, "")),
        (Mode.DRY_RUN, (), (Move, Phase.DRY_RUN, "WouldAct")),
        (Mode.AUTOMATIC, (Blocker("DailyLimit", "3 acts"),), (Move, Phase.HELD, "Blocked")),
    ],
)
def test_an_alerts_request_acts_once_or_says_what_blocks_it(mode: Mode, blockers: tuple, expected: tuple) -> None:
    assert step_of(decision("Requested"), seen(), history(), around(mode=mode, blockers=blockers)) == expected


def job(**status: object) -> dict:
    made = retrain.job_of(decision("Acting", "Retrain"), CRON)
    return {**made, "status": status}


@pytest.mark.parametrize(
    ("jobs", "status", "cron_job", "expected"),
    [
        ([], {}, CRON, (StartJob, None, None)),
        ([], {}, None, (Move, Phase.FAILED, "CronJobNotFound")),
        ([], {"conditions": APPLIED}, CRON, (Move, Phase.FAILED, "JobGone")),
        ([job()], {}, CRON, (NoteApplied, None, None)),
        ([job()], {"conditions": APPLIED}, CRON, (Wait, None, None)),
        (
            [job(conditions=[{"type": "Complete", "status": "True"}])],
            {"conditions": APPLIED},
            CRON,
            (Move, Phase.SUCCEEDED, "JobComplete"),
        ),
        (
            [job(conditions=[{"type": "Failed", "status": "True"}])],
            {"conditions": APPLIED},
            CRON,
            (Move, Phase.FAILED, "JobFailed"),
        ),
    ],
)
def test_the_next_step_of_a_retraining(jobs: list, status: dict, cron_job: dict | None, expected: tuple) -> None:
    world = seen(jobs=jobs, cron_job=cron_job)
    assert step_of(decision("Acting", "Retrain", **status), world, history(), around()) == expected


@pytest.mark.parametrize(
    ("finished", "is_alarmed", "outcome"),
    [
        ("2026-11-25T01:59:30Z", False, None),
        ("2026-11-25T01:57:00Z", False, "Recovered"),
        ("2026-11-25T01:57:00Z", True, None),
        ("2026-11-25T01:20:00Z", True, "NotRecovered"),
    ],
)
def test_a_rollback_is_verified_by_the_objective(finished: str, is_alarmed: bool, outcome: str | None) -> None:
    done = decision("Succeeded", outcome="RolledBack", finishedAt=finished)
    step = next_step(done, seen(GOOD), history(GOOD_ID), around(is_alarmed=is_alarmed))
    assert getattr(step, "outcome", None) == outcome


@given(st.lists(st.sampled_from(["visit", "crash before the record", "person sets bad", "settled"]), max_size=12))
def test_a_rollback_is_written_at_most_once_whatever_happens(events: list[str]) -> None:
    item, template, current, written = decision("Acting"), BAD, BAD_ID, 0
    for event in events:
        if event == "person sets bad":
            template, current = BAD, BAD_ID
            continue
        step = next_step(item, seen(template), history(current), around())
        if isinstance(step, ApplyTemplate):
            (operation,) = rollback.edit(step.template, "churn-0123456789", restarted={})
            template, current, written = operation["value"], GOOD_ID, written + 1
            if event == "crash before the record":
                template, current = ours(GOOD), GOOD_ID
                continue
            item = decision("Acting", conditions=APPLIED)
        elif isinstance(step, NoteApplied):
            item = decision("Acting", conditions=APPLIED)
        elif isinstance(step, Move):
            item = decision(step.phase.value, outcome=step.outcome, conditions=APPLIED)
    assert written <= 1 + events.count("person sets bad")


def test_a_rollback_touches_the_template_only_and_carries_restarts_over() -> None:
    operations = rollback.edit(GOOD, "churn-1", restarted={"kubectl.kubernetes.io/restartedAt": "x"})
    assert [o["path"] for o in operations] == ["/spec/template"]
    annotations = operations[0]["value"]["metadata"]["annotations"]
    assert annotations == {"kubectl.kubernetes.io/restartedAt": "x", contract.ANNOTATION_DECISION: "churn-1"}
    assert release.identity(operations[0]["value"], {}) == GOOD_ID


def test_what_keeps_a_template_is_ours_and_carries_none_of_the_pods_labels() -> None:
    assert "app" not in KEPT["metadata"]["labels"]
    assert KEPT["metadata"]["ownerReferences"][0]["uid"] == "uid-mdep"
    assert rollback.template_of([KEPT], GOOD_ID, {}) == release.without_marks(GOOD)


def test_our_ownership_of_fields_ends_and_that_of_others_stays() -> None:
    managed = [{"manager": "kubectl"}, {"manager": contract.FIELD_MANAGER}]
    target = worlds.deployment(GOOD, managedFields=managed)
    assert rollback.without_our_ownership(target)[0]["value"] == [{"manager": "kubectl"}]
    assert rollback.without_our_ownership(worlds.deployment(GOOD, managedFields=managed[:1])) == []


def test_a_job_keeps_its_cron_jobs_limits_and_gets_ours_where_there_are_none() -> None:
    made = job()
    assert (made["spec"]["backoffLimit"], made["spec"]["activeDeadlineSeconds"]) == (2, 21600)
    own = {"spec": {"jobTemplate": {"spec": {**CRON["spec"]["jobTemplate"]["spec"], "backoffLimit": 0}}}}
    assert retrain.job_of(decision("Acting", "Retrain"), own)["spec"]["backoffLimit"] == 0
    pod = made["spec"]["template"]
    assert pod["metadata"]["annotations"][contract.ANNOTATION_INJECT] == "disabled"
    assert pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == contract.DIR_EVIDENCE
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-d"
    assert made["metadata"]["name"] == retrain.evidence_of(decision("Acting", "Retrain"))["metadata"]["name"]


def test_a_measured_infinity_is_left_out_of_the_record() -> None:
    assert records.Measured(name="odds", value=float("inf"), low=1.0).encode() == {"name": "odds", "low": 1.0}


def test_the_memory_of_decisions_can_be_saved() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(history()), type=History) == history()
