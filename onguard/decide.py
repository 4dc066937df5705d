"""
From a cause to a decision: cause + policy + the world + memory + now -> Verdict, new memory.

The cause chooses the action (:data:`ACTION_OF`). Whatever speaks against acting is named as a blocker, and the
record says so; a blocked decision holds. Time is an argument in seconds since 1970.
"""

import hashlib
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from onguard.cause import Attribution, Cause, Control
from onguard.spec import Mode, Spec

DAY_S: Final = 86400.0
MIN_COVERAGE: Final = 0.8


class Action(StrEnum):
    """What a decision does."""

    ROLLBACK = "Rollback"
    RETRAIN = "Retrain"
    HOLD = "Hold"


class Phase(StrEnum):
    """Where a decision stands."""

    REQUESTED = "Requested"
    AWAITING_APPROVAL = "AwaitingApproval"
    ACTING = "Acting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    HELD = "Held"
    DRY_RUN = "DryRun"
    SUPERSEDED = "Superseded"


ACTION_OF: Final = {
    Cause.RELEASE: Action.ROLLBACK,
    Cause.CONCEPT: Action.RETRAIN,
    Cause.POPULATION: Action.RETRAIN,
    Cause.POPULATION_BENIGN: Action.HOLD,
    Cause.UPSTREAM_DATA: Action.HOLD,
    Cause.CAPACITY: Action.HOLD,
    Cause.MEASUREMENT: Action.HOLD,
    Cause.UNKNOWN: Action.HOLD,
}
"""Unknown never acts. ``NONE`` makes no decision and ``ALERT`` brings its own action."""


class Blocker(msgspec.Struct, frozen=True):
    """One reason not to act, with a sentence for people."""

    reason: str
    message: str


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of the target now, as observed; nothing in it is a judgement."""

    uid: str
    revision: str
    """The judged revision."""
    rollback_target: str | None = None
    """Newest good revision other than the judged one that is not marked bad; None: there is none."""
    rollback_obstacle: str = ""
    """Why a good revision that is known can't be returned to."""
    accepted_bad: bool = False
    """A person re-applied the judged revision after it had been marked bad."""
    bake_done: bool = False
    coverage: float | None = 0.0
    """Readable pods over those ready, guarded, not terminating and older than two scrapes; None where the evidence
    is not read from pods (availability, alerts)."""
    newer_change: bool = False
    """A person changed the target after the evidence began."""
    paused: bool = False
    deleting: bool = False
    gitops: str | None = None
    """Name of the GitOps controller that owns the target's template."""
    actions_allowed: bool = True
    acting: str | None = None
    """Name of another decision that is still acting."""
    field_fight: str | None = None
    """Name of the field manager that reverted us twice."""


class Act(msgspec.Struct, frozen=True):
    """An act that was started."""

    at: float
    action: Action


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What must survive a restart."""

    episode: int = 0
    """Number of the current episode; counts up when a breach begins."""
    open: bool = False
    decided: tuple[str, ...] = ()
    """Keys decided in this episode."""
    acts: tuple[Act, ...] = ()
    """Acts of the last days, oldest first."""
    last_decision: str = ""
    last_hash: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A decision before it is written down."""

    name_hash: str
    """10 hex digits: the same breach gives the same name, so that a repeated write is no second decision."""
    cause: Cause
    action: Action
    mode: Mode
    phase: Phase
    revision: str
    target_revision: str | None
    control: Control
    message: str
    alternatives: tuple[tuple[Cause, str], ...] = ()
    blockers: tuple[Blocker, ...] = ()


def decide(
    attribution: Attribution, *, spec: Spec, world: World, memory: Memory, now: float
) -> tuple[Verdict | None, Memory]:
    """
    Make at most one decision.

    One episode makes one decision for each (cause, revision), and a second one only when what blocked the first is
    gone. An act happens at most once for each (episode, action, revision).

    Returns:
        the verdict, or None if nothing new is to be said; and the memory to store with it.
    """
    if attribution.cause is Cause.NONE:
        return None, msgspec.structs.replace(memory, open=False, decided=())
    if not memory.open:
        memory = msgspec.structs.replace(memory, open=True, episode=memory.episode + 1, decided=())
    action = ACTION_OF[attribution.cause]
    mode = effective_mode(action, spec, confirmed=attribution.confirmed, world=world)
    blockers = tuple(find_blockers(action, spec=spec, world=world, memory=memory, now=now))
    key = f"{attribution.cause}/{world.revision}/{'blocked' if blockers else mode}"
    if key in memory.decided or _settled(memory, attribution.cause, world.revision):
        return None, memory
    phase = _first_phase(action, mode, blockers)
    verdict = Verdict(
        name_hash=short_hash(world.uid, str(memory.episode), key),
        cause=attribution.cause,
        action=action,
        mode=mode,
        phase=phase,
        revision=world.revision,
        target_revision=world.rollback_target if action is Action.ROLLBACK else None,
        control=attribution.control,
        message=_message(attribution, action, phase, blockers),
        alternatives=attribution.alternatives,
        blockers=blockers,
    )
    return verdict, _remember(memory, key, phase, action, now)


def _settled(memory: Memory, cause: Cause, revision: str) -> bool:
    """Whether an unblocked decision on this cause and revision exists in this episode."""
    prefix = f"{cause}/{revision}/"
    return any(key.startswith(prefix) and not key.endswith("/blocked") for key in memory.decided)


def _remember(memory: Memory, key: str, phase: Phase, action: Action, now: float) -> Memory:
    recent = tuple(act for act in memory.acts if act.at > now - 30 * DAY_S)
    acts = (*recent, Act(now, action)) if phase is Phase.ACTING else recent
    return msgspec.structs.replace(memory, decided=(*memory.decided, key), acts=acts)


def remember_act(memory: Memory, action: Action, now: float) -> Memory:
    """Note an act that began later than its decision: after an approval, or by an alert."""
    return msgspec.structs.replace(memory, acts=(*memory.acts, Act(now, action)))


def effective_mode(action: Action, spec: Spec, *, confirmed: bool, world: World) -> Mode:
    """How far the action may go now: a rollback in doubt, or of a revision that a person insists on, asks first."""
    if action is Action.RETRAIN:
        return spec.actions.retrain.mode
    if action is Action.HOLD:
        return Mode.OFF
    mode = spec.actions.rollback.mode
    in_doubt = not confirmed or world.accepted_bad
    return Mode.APPROVE if mode is Mode.AUTOMATIC and in_doubt else mode


def find_blockers(action: Action, *, spec: Spec, world: World, memory: Memory, now: float) -> Iterable[Blocker]:
    """All reasons against acting now, for a decision of ours as for an alert's request."""
    if action is Action.HOLD:
        return
    yield from _blockers_of_target(world)
    if action is Action.ROLLBACK:
        yield from _blockers_of_rollback(spec, world)
    else:
        yield from _blockers_of_retrain(spec, world, memory.acts, now)
    today = sum(1 for act in memory.acts if act.at > now - DAY_S)
    if today >= spec.actions.limits.per_day:
        yield Blocker(
            "DailyLimit", f"{today} acts in the last 24 h, actions.limits.perDay is {spec.actions.limits.per_day}"
        )


def _blockers_of_target(world: World) -> Iterable[Blocker]:
    if world.deleting:
        yield Blocker("TargetDeleting", "the target is being deleted")
    if world.paused:
        yield Blocker("TargetPaused", "the target's rollout is paused")
    if world.acting:
        yield Blocker("SingleFlight", f"decision {world.acting} is still acting")
    if world.newer_change:
        yield Blocker("NewerChange", "the target was changed after the evidence began")
    if world.field_fight:
        yield Blocker("FieldFight", f"{world.field_fight} reverted us twice")
    if world.coverage is not None and world.coverage < MIN_COVERAGE:
        yield Blocker("Coverage", f"{world.coverage:.0%} of the pods are readable, {MIN_COVERAGE:.0%} are needed")
    if not world.actions_allowed:
        yield Blocker("ActionsForbidden", "the operator has no right to act in this namespace")


def _blockers_of_rollback(spec: Spec, world: World) -> Iterable[Blocker]:
    if spec.actions.rollback.mode is Mode.OFF:
        yield Blocker("ModeOff", "actions.rollback.mode is Off")
    if world.rollback_target is None:
        yield Blocker("NoRollbackTarget", world.rollback_obstacle or "no other revision is known to be good")
    if world.gitops:
        yield Blocker("GitOps", f"{world.gitops} owns the target's template: change it there")


def _blockers_of_retrain(spec: Spec, world: World, acts: Sequence[Act], now: float) -> Iterable[Blocker]:
    retrain = spec.actions.retrain
    if retrain.mode is Mode.OFF or retrain.from_ is None:
        yield Blocker("ModeOff", "actions.retrain.mode is Off")
    if not world.bake_done:
        yield Blocker("NotBaked", "the revision is younger than release.bake")
    last = max((act.at for act in acts if act.action is Action.RETRAIN), default=None)
    if last is not None and now < last + retrain.cooldown:
        left = last + retrain.cooldown - now
        yield Blocker(
            "Cooldown", f"the last retraining began {now - last:.0f} s ago, {left:.0f} s of the cooldown are left"
        )


def _first_phase(action: Action, mode: Mode, blockers: Sequence[Blocker]) -> Phase:
    if action is Action.HOLD or blockers:
        return Phase.HELD
    return {Mode.AUTOMATIC: Phase.ACTING, Mode.APPROVE: Phase.AWAITING_APPROVAL, Mode.DRY_RUN: Phase.DRY_RUN}[mode]


def _message(attribution: Attribution, action: Action, phase: Phase, blockers: Sequence[Blocker]) -> str:
    if blockers:
        stopped = "; ".join(blocker.message for blocker in blockers)
        return f"{attribution.why}. {action} is blocked: {stopped}."
    does = {
        Phase.HELD: "Nothing is done, people are asked to look.",
        Phase.ACTING: f"{action} starts.",
        Phase.AWAITING_APPROVAL: f"{action} waits for approval.",
        Phase.DRY_RUN: f"{action} would start; the mode is DryRun.",
    }
    return f"{attribution.why}. {does[phase]}"


def short_hash(*parts: str) -> str:
    """
    Ten hex digits that name a decision by what makes it the same decision.

    >>> short_hash("uid", "1", "release/abc/Automatic") == short_hash("uid", "1", "release/abc/Automatic")
    True
    """
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
