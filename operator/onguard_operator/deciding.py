"""From an evaluation to a verdict, and from the cluster to the world that speaks for or against acting. Pure."""

import dataclasses
from collections.abc import Sequence
from typing import Final

import msgspec

from onguard import decide
from onguard.cause import Arms, Attribution, Cause, Control, attribute
from onguard.decide import ACTION_OF, Act, Action, Memory, Phase, Verdict, World
from onguard.spec import BaselineMode
from onguard_operator import assess, guarding, progress, records, resources, rollback
from onguard_operator.evaluate import Evaluation, expected_pods
from onguard_operator.evidence import Evidence
from onguard_operator.objects import Object, is_terminating, name_of, time_of, time_of_unix
from onguard_operator.observe import Observed
from onguard_operator.release import History, Standing, is_known_bad

PATIENCE_S: Final = 180.0
"""How long a breach waits for the baseline arm before a person is asked."""
FIGHT_S: Final = 86400.0
"""How long a lost fight with another field manager keeps us from writing the same template again."""


def world_of(seen: Observed, evidence: Evidence, action: Action, *, coverage: float | None, now: float) -> World:
    """
    What is true of the target now.

    Args:
        seen: the cluster.
        evidence: what is remembered.
        action: which right is asked for.
        coverage: share of readable pods; None where the evidence is not read from pods.
        now: Unix time.
    """
    history, target = evidence.history, seen.target
    current = history.now_serving
    return World(
        uid=seen.uid,
        revision=history.current,
        rollback_target=_kept_target(seen, history),
        rollback_obstacle=rollback.obstacle(seen.good_templates, history.rollback_target, seen.contents),
        accepted_bad=is_known_bad(history),
        bake_done=current is not None and current.standing is Standing.GOOD,
        coverage=coverage,
        paused=target is not None and bool(target["spec"].get("paused")),
        deleting=target is None or is_terminating(target) or is_terminating(seen.mdep),
        gitops=guarding.gitops_of(target) if target is not None else None,
        actions_allowed=seen.may_retrain if action is Action.RETRAIN else seen.may_restart,
        acting=_acting(seen.decisions),
        field_fight=_fight(seen.decisions, history.current, now),
    )


def _kept_target(seen: Observed, history: History) -> str | None:
    """The revision to return to, if its template and the content of its ConfigMaps are kept."""
    revision = history.rollback_target
    if not revision or rollback.template_of(seen.good_templates, revision, seen.contents) is None:
        return None
    return revision


def _acting(decisions: Sequence[Object]) -> str | None:
    return next((name_of(d) for d in decisions if records.phase_of(d) is Phase.ACTING), None)


def _fight(decisions: Sequence[Object], revision: str, now: float) -> str | None:
    """Who undid our rollback of this revision lately."""
    for decision in decisions:
        status = decision.get("status") or {}
        finished = time_of(status.get("finishedAt"))
        if status.get("outcome") != progress.FIELD_FIGHT or finished is None:
            continue
        if records.revision_of(decision) == revision and now - finished.timestamp() < FIGHT_S:
            return str(status.get("message", "another field manager")).split(" set ")[0]
    return None


def recovered(decisions: Sequence[Object]) -> Memory:
    """
    Recover from the records what a lost memory forgot: acts, and that earlier episodes have names already.

    To be used only where nothing was remembered: names of new episodes count on from the second of the newest record,
    which is past any number that episodes had, since there are fewer of them than seconds, whatever was pruned.
    """
    acts = [
        Act(began.timestamp(), Action(decision["spec"]["action"]))
        for decision in decisions
        if (began := time_of((decision.get("status") or {}).get("startedAt"))) is not None
        and decision["spec"]["action"] != Action.HOLD
    ]
    last = decisions[-1] if decisions else None
    return Memory(
        episode=int(max((_decided_at(decision) for decision in decisions), default=0.0)),
        acts=tuple(sorted(acts, key=lambda act: act.at)),
        last_decision=name_of(last) if last else "",
        last_hash=records.hash_of(last) if last else "",
    )


def _decided_at(decision: Object) -> float:
    moment = time_of(decision["spec"].get("decidedAt"))
    return moment.timestamp() if moment else 0.0


def _open_about(decisions: Sequence[Object], cause: Cause, revision: str) -> Object | None:
    """A Decision about the same breach that is not at its end, also one that a crash kept out of memory."""
    same = (d for d in decisions if d["spec"]["cause"] == cause and records.revision_of(d) == revision)
    return next((decision for decision in same if records.is_open(decision)), None)


def adopt(memory: Memory, decision: Object) -> Memory:
    """Remember an open Decision as made in this episode; changes nothing if it is remembered."""
    spec, began = decision["spec"], time_of((decision.get("status") or {}).get("startedAt"))
    if not memory.open:
        memory = msgspec.structs.replace(memory, open=True, episode=memory.episode + 1, decided=())
    key = f"{spec['cause']}/{spec['revision']}/{spec['mode']}"
    if key not in memory.decided:
        memory = msgspec.structs.replace(memory, decided=(*memory.decided, key))
    if began is None or any(abs(act.at - began.timestamp()) < 1.0 for act in memory.acts):
        return memory
    return decide.remember_act(memory, Action(spec["action"]), began.timestamp())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A verdict, if there is one, and the memory that goes with it."""

    verdict: Verdict | None
    memory: Memory
    attribution: Attribution | None


def is_too_early(seen: Observed, evaluation: Evaluation, attribution: Attribution, *, now: float) -> bool:
    """Whether a little more evidence may change the cause or confirm it."""
    if _are_pods_too_young(seen, evaluation, attribution):
        return True
    moved = (Cause.POPULATION, Cause.POPULATION_BENIGN)
    if evaluation.around.upstream is None and attribution.cause in moved:
        return True
    if attribution.cause is Cause.POPULATION_BENIGN:
        if _is_shift_decided(evaluation.evidence.memory):
            return True  # the shift grows smaller while its alarm clears: that is no news
        return assess.is_shift_unclear(evaluation.evidence, evaluation.present, seen.spec, now)
    return is_arm_awaited(seen, evaluation, attribution, now=now)


def _are_pods_too_young(seen: Observed, evaluation: Evaluation, attribution: Attribution) -> bool:
    """Whether pods serve, but none long enough to say how many of them can be read: half a minute will tell."""
    acts = ACTION_OF.get(attribution.cause, Action.HOLD) is not Action.HOLD
    by_pods = attribution.control is not Control.AVAILABILITY
    return acts and by_pods and evaluation.coverage is None and bool(expected_pods(seen))


def _is_shift_decided(memory: Memory) -> bool:
    """Whether this episode's shift has had its Decision as one that passed ``retrainAt``."""
    return memory.open and any(key.startswith(f"{Cause.POPULATION}/") for key in memory.decided)


def is_arm_awaited(seen: Observed, evaluation: Evaluation, attribution: Attribution, *, now: float) -> bool:
    """
    Whether the baseline arm may still say what no evidence says yet.

    A breach is often found before the arms have connections enough to compare; asking a person then would be early.
    """
    if attribution.cause is not Cause.RELEASE or attribution.confirmed:
        return False
    undecided = (Arms.NONE, Arms.NOT_COMPARABLE, Arms.UNDECIDED)
    is_served = seen.spec.release.baseline.mode is BaselineMode.SERVE
    comparison = evaluation.around.comparison
    if not is_served or comparison.refused or comparison.verdict not in undecided:
        return False
    onsets = evaluation.evidence.onsets.values()
    return now - min(onsets, default=now) < PATIENCE_S


def _or_memory(attribution: Attribution, evaluation: Evaluation) -> Attribution:
    """Where nothing else is broken, the memory objective is: it has no evidence, so the table does not know it."""
    if attribution.cause is not Cause.NONE or not evaluation.is_memory_broken:
        return attribution
    why = f"the model's memory has been near its limit for too long; {resources.OUTSIDE}"
    return Attribution(cause=Cause.CAPACITY, why=why)


def decide_on(seen: Observed, evaluation: Evaluation, *, now: float) -> Outcome:
    """Attribute and decide; nothing while a few more requests would change the cause."""
    evidence = evaluation.evidence
    if not evidence.history.current:
        return Outcome(verdict=None, memory=evidence.memory, attribution=None)
    findings = assess.table_input(evidence, evaluation.present, seen.spec, evaluation.around)
    attribution = _or_memory(attribute(findings, evaluation.around.strength), evaluation)
    mine = _open_about(seen.decisions, attribution.cause, evidence.history.current)
    if mine is not None:
        return Outcome(verdict=None, memory=adopt(evidence.memory, mine), attribution=attribution)
    if is_too_early(seen, evaluation, attribution, now=now):
        return Outcome(verdict=None, memory=evidence.memory, attribution=attribution)
    action = ACTION_OF.get(attribution.cause, Action.HOLD)
    by_pods = attribution.control is not Control.AVAILABILITY
    world = world_of(seen, evidence, action, coverage=evaluation.coverage or 0.0 if by_pods else None, now=now)
    verdict, memory = decide.decide(attribution, spec=seen.spec, world=world, memory=evidence.memory, now=now)
    return Outcome(verdict=verdict, memory=memory, attribution=attribution)


def circumstances(decision: Object, seen: Observed, evaluation: Evaluation, *, now: float) -> progress.Circumstances:
    """What the next step of an open Decision depends on."""
    spec, action = seen.spec, Action(decision["spec"]["action"])
    evidence = evaluation.evidence
    is_ours = decision["spec"]["cause"] != Cause.ALERT
    world = world_of(seen, evidence, action, coverage=evaluation.coverage if is_ours else None, now=now)
    if world.acting == name_of(decision):
        world = msgspec.structs.replace(world, acting=None)
    if not is_ours and _is_stale(decision, evidence):
        world = msgspec.structs.replace(world, newer_change=True)
    # An alert that the user maps to an action is the user's word: it needs no second witness.
    mode = decide.effective_mode(action, spec, confirmed=True, world=world)
    blockers = tuple(decide.find_blockers(action, spec=spec, world=world, memory=evidence.memory, now=now))
    moment = time_of_unix(now)
    return progress.Circumstances(blockers=blockers, mode=mode, is_alarmed=bool(evaluation.present_alarms), now=moment)


def _is_stale(decision: Object, evidence: Evidence) -> bool:
    """Whether the alert began before the revision that serves now."""
    started = time_of((decision["spec"].get("trigger") or {}).get("startsAt"))
    return started is not None and started.timestamp() < evidence.history.changed_at
