import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard import contract
from onguard_operator import config_maps, release
from onguard_operator.release import Baking, History, Present, Standing
from tests.unit.operator import worlds


def seen(history: History, revision: str, now: float, **more: object) -> History:
    return release.observe(
        history, Present(revision, revision, now), good=more.get("good", ()), bad=more.get("bad", {}), now=now
    )


@pytest.mark.parametrize(
    "annotations",
    [
        {contract.ANNOTATION_RESTARTED_AT: "x"},
        {"kubectl.kubernetes.io/restartedAt": "x"},
        {contract.ANNOTATION_DECISION: "churn-1"},
    ],
)
def test_restarts_and_our_marks_change_no_revision(annotations: dict) -> None:
    assert release.identity(worlds.template(**annotations), {}) == release.identity(worlds.template(), {})


def test_a_replica_sets_copy_of_a_template_is_the_same_revision() -> None:
    copied = copy.deepcopy(worlds.template())
    copied["metadata"]["labels"][contract.LABEL_POD_TEMPLATE_HASH] = "abc"
    copied["metadata"]["creationTimestamp"] = None
    assert release.identity(copied, {}) == release.identity(worlds.template(), {})


@pytest.mark.parametrize("annotations", [{"team": "a"}, {contract.ANNOTATION_INJECT: "disabled"}])
def test_what_a_person_writes_does_change_it(annotations: dict) -> None:
    assert release.identity(worlds.template(**annotations), {}) != release.identity(worlds.template(), {})
    assert release.identity(worlds.template("2"), {}) != release.identity(worlds.template(), {})


def test_the_content_of_a_named_config_map_is_part_of_the_revision_and_others_are_not() -> None:
    named = worlds.template()
    named["spec"]["volumes"] = [{"name": "v", "projected": {"sources": [{"configMap": {"name": "conf"}}]}}]
    named["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "env"}}]
    named["spec"]["containers"][0]["env"] = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key", "key": "k"}}}
    ]
    assert config_maps.names_of(named) == {"conf", "env", "key"}
    one, two = (config_maps.content_digest({"data": {"scale": s}}) for s in "12")
    assert release.identity(named, {"conf": one}) != release.identity(named, {"conf": two})
    assert release.identity(named, {"other": one}) == release.identity(named, {"other": two})
    assert config_maps.content_digest(None) != config_maps.content_digest({})


def test_the_first_revision_is_assumed_good_and_later_ones_bake() -> None:
    history = seen(seen(History(), "a", 0.0), "b", 10.0)
    assert history.get("a").standing is Standing.ASSUMED_GOOD
    assert history.now_serving.standing is Standing.CANDIDATE
    assert (history.previous, history.rollback_target) == ("a", "a")


@pytest.mark.parametrize(
    ("requests", "ready_at", "suspicious", "now", "standing"),
    [
        (1000, 20.0, False, 3620.0, Standing.GOOD),
        (999, 20.0, False, 9999.0, Standing.CANDIDATE),
        (1000, 20.0, False, 3619.0, Standing.CANDIDATE),
        (1000, None, False, 9999.0, Standing.CANDIDATE),
        (1000, 20.0, True, 9999.0, Standing.CANDIDATE),
    ],
)
def test_a_candidate_bakes_by_time_requests_and_health(
    requests: int, ready_at: float | None, suspicious: bool, now: float, standing: Standing
) -> None:
    history = release.served(seen(seen(History(), "a", 0.0), "b", 10.0), requests)
    baking = Baking(for_s=3600.0, requests=1000, ready_at=ready_at, is_suspicious=suspicious)
    assert release.bake(history, baking, now=now).now_serving.standing is standing


def test_a_bad_revision_that_a_person_insists_on_is_known_bad_and_stays_no_target() -> None:
    history = seen(seen(History(), "a", 0.0), "b", 10.0)
    history = seen(history, "a", 20.0, bad={"b": "churn-1"})
    assert not release.is_known_bad(history)
    history = seen(history, "b", 30.0, bad={"b": "churn-1"})
    assert release.is_known_bad(history)
    assert history.rollback_target == "a"
    assert seen(history, "c", 40.0).rollback_target == "a"


def test_what_was_kept_and_condemned_survives_a_lost_memory() -> None:
    history = seen(History(), "c", 50.0, good=("a",), bad={"b": "churn-1"})
    assert history.now_serving.standing is Standing.CANDIDATE
    assert history.rollback_target == "a"
    assert history.get("b").standing is Standing.BAD


def test_an_edited_config_map_mixes_the_counts_of_three_minutes() -> None:
    first = release.observe(History(), Present("a", "shape", 0.0), good=(), bad={}, now=0.0)
    second = release.observe(first, Present("b", "shape", 0.0), good=(), bad={}, now=100.0)
    assert second.mixed_until == 100.0 + release.MIXED_S
    assert seen(first, "c", 100.0).mixed_until == 0.0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.booleans()), max_size=60))
def test_a_condemned_revision_is_never_a_target_again(steps: list[tuple[str, bool, bool]]) -> None:
    history, bad = History(), {}
    for now, (revision, condemn, healthy) in enumerate(steps):
        history = seen(history, revision, float(now), bad=bad)
        baking = Baking(for_s=0.0, requests=0, ready_at=0.0, is_suspicious=not healthy)
        history = release.bake(history, baking, now=float(now))
        if condemn:
            bad = {**bad, history.current: f"d{now}"}
            history = release.condemn(history, history.current, f"d{now}")
        assert history.rollback_target not in bad
        assert history.rollback_target != history.current
