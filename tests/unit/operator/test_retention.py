"""Which Decisions go, and that the chain of those that stay can be followed."""

from datetime import UTC, datetime, timedelta

import pytest

from onguard.decide import Memory
from onguard_operator import deciding, plan, records, retention
from onguard_operator.objects import Object, stamp
from onguard_operator.release import History
from tests.unit.operator.worlds import world

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
MEANS = plan.Means(sidecar_image="sidecar:1", token_sha256="t")


def chain(count: int) -> list[Object]:
    made: list[Object] = []
    for number in range(count):
        previous = records.hash_of(made[-1]) if made else ""
        spec = {"cause": "unknown", "action": "Hold", "mode": "Off", "previousHash": previous}
        spec["decidedAt"] = stamp(NOW - timedelta(hours=count - number))
        meta = {"name": f"churn-{number}", "namespace": "shop", "uid": f"uid-{number}"}
        made.append({"metadata": meta, "spec": spec, "status": {"phase": "Held"}})
    return made


def with_(decision: Object, *, status: Object | None = None, **spec: str) -> Object:
    return {
        **decision,
        "spec": {**decision["spec"], **spec},
        "status": decision["status"] if status is None else status,
    }


@pytest.mark.parametrize(("count", "gone"), [(0, 0), (49, 0), (50, 0), (51, 1), (80, 30)])
def test_the_newest_fifty_stay_and_their_chain_is_whole(count: int, gone: int) -> None:
    decisions = chain(count)
    old = retention.superfluous(decisions, NOW)
    assert old == decisions[:gone]
    assert retention.breaks(decisions[gone:]) == []
    steps = plan.plan(world(decisions=decisions), History(), means=MEANS, now=NOW)
    assert [step.decision for step in steps if isinstance(step, plan.DropDecision)] == old


@pytest.mark.parametrize(
    ("status", "spec", "goes"),
    [
        ({"phase": "Held"}, {}, True),
        ({"phase": "AwaitingApproval"}, {}, False),
        ({"phase": "Acting"}, {}, False),
        ({}, {}, False),
        ({"phase": "Succeeded", "outcome": "RolledBack"}, {}, False),
        ({"phase": "Succeeded", "outcome": "Recovered"}, {}, True),
        ({"phase": "Held"}, {"cause": "alert"}, False),
        ({"phase": "Held"}, {"cause": "alert", "decidedAt": stamp(NOW - timedelta(days=31))}, True),
    ],
)
def test_an_old_record_goes_once_it_is_finished_and_no_alert_can_repeat_it(
    status: Object, spec: dict[str, str], goes: bool
) -> None:
    first, *rest = chain(51)
    assert bool(retention.superfluous([with_(first, status=status, **spec), *rest], NOW)) is goes


def test_a_record_that_was_changed_or_removed_breaks_the_chain_where_it_stood() -> None:
    decisions = chain(5)
    assert retention.breaks([*decisions[:2], *decisions[3:]]) == ["churn-3"]
    assert retention.breaks([*decisions[:2], with_(decisions[2], action="Rollback"), *decisions[3:]]) == ["churn-3"]
    alert = with_(decisions[1], cause="alert", previousHash="")
    assert retention.breaks([decisions[0], alert, *decisions[1:]]) == []


def test_after_a_lost_memory_no_name_of_a_pruned_episode_is_used_again() -> None:
    decisions = chain(70)
    memory = deciding.recovered(decisions[20:])
    assert memory.episode > 70
    assert memory.last_hash == records.hash_of(decisions[-1])
    assert deciding.recovered([]) == Memory()
