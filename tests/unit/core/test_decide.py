"""Decisions: what acts, what holds, what is said once, what survives a restart."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard.cause import Arms, Attribution, Cause, Control, Findings, Labels, Signal, attribute
from onguard.decide import DAY_S, Act, Action, Memory, Phase, World, decide, find_blockers
from onguard.spec import Spec, parse_spec

NOW = 1_000_000.0
RELEASE = attribute(Findings(arms=Arms.WORSE))
DOUBTED = attribute(Findings(service=Signal.ALARM, fresh=True))
POPULATION = attribute(Findings(inputs=Signal.ALARM, beyond_retrain=True))
QUIET = attribute(Findings())
UNKNOWN = attribute(Findings(service=Signal.ALARM))
GOOD = World(uid="u", revision="bad1", rollback_target="good0", bake_done=True, coverage=1.0)


def spec(rollback: str = "Automatic", retrain: str = "Automatic", cooldown: str = "24h", per_day: int = 3) -> Spec:
    return parse_spec(
        {
            "targetRef": {"name": "churn"},
            "actions": {
                "rollback": {"mode": rollback},
                "retrain": {"mode": retrain, "from": {"name": "train"}, "cooldown": cooldown},
                "limits": {"perDay": per_day},
            },
        }
    )


@pytest.mark.parametrize(
    ("found", "policy", "action", "phase"),
    [
        (RELEASE, spec(), Action.ROLLBACK, Phase.ACTING),
        (RELEASE, spec(rollback="Approve"), Action.ROLLBACK, Phase.AWAITING_APPROVAL),
        (RELEASE, spec(rollback="DryRun"), Action.ROLLBACK, Phase.DRY_RUN),
        (RELEASE, spec(rollback="Off"), Action.ROLLBACK, Phase.HELD),
        (DOUBTED, spec(), Action.ROLLBACK, Phase.AWAITING_APPROVAL),
        (DOUBTED, spec(rollback="DryRun"), Action.ROLLBACK, Phase.DRY_RUN),
        (POPULATION, spec(), Action.RETRAIN, Phase.ACTING),
        (POPULATION, spec(retrain="Off"), Action.RETRAIN, Phase.HELD),
        (UNKNOWN, spec(), Action.HOLD, Phase.HELD),
    ],
)
def test_the_mode_says_how_far_an_action_goes(found: Attribution, policy: Spec, action: Action, phase: Phase) -> None:
    verdict, _ = decide(found, spec=policy, world=GOOD, memory=Memory(), now=NOW)
    assert verdict is not None
    assert (verdict.action, verdict.phase) == (action, phase)


@pytest.mark.parametrize(
    ("found", "change", "reason"),
    [
        (RELEASE, {"rollback_target": None}, "NoRollbackTarget"),
        (RELEASE, {"deleting": True}, "TargetDeleting"),
        (RELEASE, {"paused": True}, "TargetPaused"),
        (RELEASE, {"acting": "churn-1"}, "SingleFlight"),
        (RELEASE, {"newer_change": True}, "NewerChange"),
        (RELEASE, {"gitops": "argocd"}, "GitOps"),
        (RELEASE, {"field_fight": "kubectl"}, "FieldFight"),
        (RELEASE, {"actions_allowed": False}, "ActionsForbidden"),
        (RELEASE, {"coverage": 0.79}, "Coverage"),
        (POPULATION, {"coverage": 0.5}, "Coverage"),
        (POPULATION, {"bake_done": False}, "NotBaked"),
    ],
)
def test_each_blocker_holds_and_is_named(found: Attribution, change: dict[str, object], reason: str) -> None:
    world = msgspec.structs.replace(GOOD, **change)
    verdict, memory = decide(found, spec=spec(), world=world, memory=Memory(), now=NOW)
    assert verdict is not None
    assert verdict.phase is Phase.HELD
    assert [b.reason for b in verdict.blockers] == [reason]
    assert memory.acts == ()


def test_a_breach_is_said_once_and_acted_on_once() -> None:
    first, memory = decide(RELEASE, spec=spec(), world=GOOD, memory=Memory(), now=NOW)
    again, same = decide(RELEASE, spec=spec(), world=GOOD, memory=memory, now=NOW + 15)
    assert first is not None
    assert again is None
    assert same == memory


def test_a_decision_is_repeated_under_the_same_name_after_a_lost_write() -> None:
    first, _ = decide(RELEASE, spec=spec(), world=GOOD, memory=Memory(), now=NOW)
    second, _ = decide(RELEASE, spec=spec(), world=GOOD, memory=Memory(), now=NOW + 60)
    assert first is not None
    assert second is not None
    assert first.name_hash == second.name_hash


def test_an_action_follows_when_its_blocker_is_gone() -> None:
    unreadable = msgspec.structs.replace(GOOD, coverage=0.0)
    held, memory = decide(RELEASE, spec=spec(), world=unreadable, memory=Memory(), now=NOW)
    acting, memory = decide(RELEASE, spec=spec(), world=GOOD, memory=memory, now=NOW + 60)
    nothing, _ = decide(RELEASE, spec=spec(), world=unreadable, memory=memory, now=NOW + 120)
    assert held is not None
    assert acting is not None
    assert (held.phase, acting.phase, nothing) == (Phase.HELD, Phase.ACTING, None)
    assert held.name_hash != acting.name_hash


def test_the_cooldown_blocks_the_second_retraining_and_the_record_says_so() -> None:
    _, memory = decide(POPULATION, spec=spec(), world=GOOD, memory=Memory(), now=NOW)
    _, memory = decide(QUIET, spec=spec(), world=GOOD, memory=memory, now=NOW + 100)
    verdict, memory = decide(POPULATION, spec=spec(), world=GOOD, memory=memory, now=NOW + 3600)
    assert verdict is not None
    assert [b.reason for b in verdict.blockers] == ["Cooldown"]
    assert "cooldown" in verdict.message
    later, _ = decide(POPULATION, spec=spec(), world=GOOD, memory=memory, now=NOW + DAY_S + 1)
    assert later is not None
    assert later.phase is Phase.ACTING


def test_a_new_bad_release_in_the_same_episode_is_rolled_back_too() -> None:
    _, memory = decide(RELEASE, spec=spec(), world=GOOD, memory=Memory(), now=NOW)
    next_one = msgspec.structs.replace(GOOD, revision="bad2")
    verdict, _ = decide(RELEASE, spec=spec(), world=next_one, memory=memory, now=NOW + 600)
    assert verdict is not None
    assert verdict.phase is Phase.ACTING


def test_a_revision_that_a_person_insists_on_is_left_to_people() -> None:
    world = msgspec.structs.replace(GOOD, accepted_bad=True)
    verdict, _ = decide(RELEASE, spec=spec(), world=world, memory=Memory(), now=NOW)
    assert verdict is not None
    assert verdict.phase is Phase.AWAITING_APPROVAL


def test_the_daily_limit_counts_acts_of_all_kinds() -> None:
    acts = (Act(NOW - 100, Action.RETRAIN), Act(NOW - 50, Action.ROLLBACK), Act(NOW - DAY_S - 1, Action.ROLLBACK))
    blockers = find_blockers(Action.ROLLBACK, spec=spec(per_day=2), world=GOOD, memory=Memory(acts=acts), now=NOW)
    assert [b.reason for b in blockers] == ["DailyLimit"]


signals = st.sampled_from(Signal)
findings = st.builds(
    Findings,
    measurement=st.booleans(),
    availability=signals,
    arms=st.sampled_from(Arms),
    quality=signals,
    service=signals,
    inputs=signals,
    outputs=signals,
    labels=st.sampled_from(Labels),
    fresh=st.booleans(),
    saturated=st.booleans(),
    beyond_retrain=st.booleans(),
)


@given(st.lists(st.tuples(findings, st.integers(1, 100_000)), max_size=30))
def test_over_any_history_the_limits_hold_and_unknown_never_acts(history: list[tuple[Findings, int]]) -> None:
    memory, now, acted = Memory(), NOW, []
    for found, step in history:
        now += step
        verdict, memory = decide(attribute(found), spec=spec(per_day=2), world=GOOD, memory=memory, now=now)
        if verdict and verdict.phase is Phase.ACTING:
            assert verdict.cause in (Cause.RELEASE, Cause.CONCEPT, Cause.POPULATION)
            assert verdict.cause is not Cause.RELEASE or verdict.control is not Control.NONE
            acted.append((now, verdict.action))
        assert sum(1 for at, _ in acted if at > now - DAY_S) <= 2
        trained = [at for at, action in acted if action is Action.RETRAIN]
        assert all(later - earlier >= DAY_S for earlier, later in itertools.pairwise(trained))
