"""
What happens next to a Decision: a pure function of the record and of the world, asked again at each visit.

Whatever crashed in between, the next visit sees where the world stands and takes the same step again or the one after;
no step is taken twice.
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from onguard import contract
from onguard.decide import Action, Blocker, Phase
from onguard.spec import Mode
from onguard_operator import config_maps, images, naming, records, retrain, rollback
from onguard_operator.objects import Object, annotations_of, is_terminating, name_of, time_of
from onguard_operator.observe import Observed
from onguard_operator.release import History

ROLLED_BACK: Final = "RolledBack"
RECOVERED: Final = "Recovered"
NOT_RECOVERED: Final = "NotRecovered"
FIELD_FIGHT: Final = "FieldFight"
SETTLE: Final = timedelta(minutes=2)
GIVE_UP: Final = timedelta(minutes=30)
_SOFT: Final = ("Coverage", "DailyLimit", "Cooldown", "ModeOff", "NotBaked")
"""Blockers that a person's approval overrules."""


@dataclasses.dataclass(frozen=True)
class Wait:
    """Nothing to do now."""


@dataclasses.dataclass(frozen=True)
class Move:
    """Write a phase; final or not. ``outcome`` is one CamelCase word."""

    phase: Phase
    outcome: str = ""
    message: str = ""
    blockers: tuple[Blocker, ...] = ()


@dataclasses.dataclass(frozen=True)
class Begin:
    """Start acting: fix what is condemned and where a rollback goes, before anything is done."""

    revision: str
    target: str
    approver: str = ""


@dataclasses.dataclass(frozen=True)
class ApplyTemplate:
    """Write the kept template into the target."""

    target: Object
    template: Object


@dataclasses.dataclass(frozen=True)
class StartJob:
    """Create the retraining Job and its evidence."""

    job: Object
    evidence: Object


@dataclasses.dataclass(frozen=True)
class NoteApplied:
    """The act was written, but a crash kept the record from saying so."""


Step: TypeAlias = Wait | Move | Begin | ApplyTemplate | StartJob | NoteApplied


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What the next step depends on besides the record: blockers and mode of now, whether an objective is broken."""

    blockers: Sequence[Blocker]
    mode: Mode
    is_alarmed: bool
    now: datetime


def next_step(decision: Object, seen: Observed, history: History, around: Circumstances) -> Step:
    """Find the one next step of a Decision."""
    match records.phase_of(decision):
        case Phase.REQUESTED:
            return _of_request(history, around)
        case Phase.AWAITING_APPROVAL:
            return _of_approval(decision, history, around)
        case Phase.ACTING:
            return _of_act(decision, seen, history)
        case Phase.SUCCEEDED:
            return _of_recovery(decision, seen, around)
        case Phase.HELD | Phase.DRY_RUN | Phase.FAILED | Phase.SUPERSEDED:
            return Wait()


def _of_request(history: History, around: Circumstances) -> Step:
    if around.blockers:
        text = "; ".join(blocker.message for blocker in around.blockers)
        return Move(Phase.HELD, "Blocked", text, tuple(around.blockers))
    if around.mode is Mode.APPROVE:
        return Move(Phase.AWAITING_APPROVAL)
    if around.mode is Mode.DRY_RUN:
        return Move(Phase.DRY_RUN, "WouldAct", f"would return to revision {history.rollback_target}")
    return Begin(history.current, history.rollback_target or "")


def _of_approval(decision: Object, history: History, around: Circumstances) -> Step:
    judged = records.revision_of(decision) or history.current
    if judged != history.current:
        return Move(Phase.SUPERSEDED, "NewerChange", f"revision {history.current} serves now")
    approver = records.approver_of(decision)
    if not approver:
        return Wait()
    hard = tuple(blocker for blocker in around.blockers if blocker.reason not in _SOFT)
    if hard:
        return Move(Phase.AWAITING_APPROVAL, "Blocked", "; ".join(b.message for b in hard), hard)
    target = records.target_of(decision) or history.rollback_target or ""
    return Begin(judged, target, approver)


def _of_act(decision: Object, seen: Observed, history: History) -> Step:
    action = Action(decision["spec"]["action"])
    if action is Action.RETRAIN:
        return _of_retrain(decision, seen)
    return _of_rollback(decision, seen, history)


def _of_rollback(decision: Object, seen: Observed, history: History) -> Step:
    target, wanted = seen.target, records.target_of(decision)
    if target is None or is_terminating(target):
        return Move(Phase.FAILED, "TargetGone", "the target was deleted")
    if history.current == wanted:
        if not _is_by(decision, target) and not records.was_applied(decision):
            return Move(Phase.SUPERSEDED, "NewerChange", "somebody returned to the good revision first")
        return _of_applied(decision, target)
    if history.current != records.revision_of(decision):
        return Move(Phase.SUPERSEDED, "NewerChange", f"revision {history.current} was set meanwhile")
    if records.was_applied(decision):
        manager = rollback.last_manager(target)
        return Move(Phase.FAILED, FIELD_FIGHT, f"{manager} set the bad revision again: change it there")
    template = rollback.template_of(seen.good_templates, wanted, seen.contents)
    if template is None:
        why = rollback.obstacle(seen.good_templates, wanted, seen.contents)
        return Move(Phase.FAILED, "TemplateLost", why)
    return ApplyTemplate(target, template)


def _is_by(decision: Object, target: Object) -> bool:
    """Whether the target's present template is what this Decision wrote."""
    return annotations_of(target["spec"]["template"]).get(contract.ANNOTATION_DECISION) == name_of(decision)


def _of_applied(decision: Object, target: Object) -> Step:
    if not records.was_applied(decision):
        return NoteApplied()
    if rollback.is_rolled_out(target):
        text = f"all pods run revision {records.target_of(decision)}{_by_tag(target)}{_by_copy(target)}"
        return Move(Phase.SUCCEEDED, ROLLED_BACK, text)
    if rollback.is_stuck(target):
        return Move(Phase.FAILED, "RolloutStuck", "the rollback makes no progress; nothing more is done by itself")
    return Wait()


def _by_tag(target: Object) -> str:
    """Images that were returned to by name alone: their content is whatever the registry says by now."""
    tags = images.by_tag_only(target["spec"]["template"])
    return f"; by tag, since no registry digest is known: {', '.join(tags)}" if tags else ""


def _by_copy(target: Object) -> str:
    """Copies of ConfigMaps that pods get until the template names the user's own again."""
    text = config_maps.shown(target["spec"]["template"])
    return f"; with {text}, until your manifest is applied again" if text else ""


def _of_retrain(decision: Object, seen: Observed) -> Step:
    name = naming.retrain_job(name_of(decision))
    job = next((job for job in seen.jobs if name_of(job) == name), None)
    if job is not None:
        if not records.was_applied(decision):
            return NoteApplied()
        outcome = retrain.outcome_of(job)
        if outcome is None:
            return Wait()
        succeeded, text = outcome
        if succeeded:
            return Move(Phase.SUCCEEDED, "JobComplete", f"Job {name} has completed")
        return Move(Phase.FAILED, "JobFailed", f"Job {name} has failed: {text}")
    if records.was_applied(decision):
        return Move(Phase.FAILED, "JobGone", f"Job {name} was deleted before its end was seen")
    if seen.cron_job is None:
        source = seen.spec.actions.retrain.from_
        return Move(Phase.FAILED, "CronJobNotFound", f"CronJob {source.name if source else ''} can't be read")
    return StartJob(retrain.job_of(decision, seen.cron_job), retrain.evidence_of(decision))


def _of_recovery(decision: Object, seen: Observed, around: Circumstances) -> Step:
    status = decision.get("status") or {}
    finished = time_of(status.get("finishedAt"))
    if status.get("outcome") != ROLLED_BACK or finished is None or around.now - finished < SETTLE:
        return Wait()
    if not around.is_alarmed:
        copies = _by_copy(seen.target) if seen.target is not None and _is_by(decision, seen.target) else ""
        return Move(Phase.SUCCEEDED, RECOVERED, f"no objective is broken after the rollback{copies}")
    if around.now - finished > GIVE_UP:
        return Move(Phase.SUCCEEDED, NOT_RECOVERED, "the objective is still broken: the release was not all of it")
    return Wait()
