"""A revision is its ConfigMaps too: what a bad edit of one does, how it is undone, and how a person comes back."""

import contextlib

import pytest

from onguard import contract
from onguard_operator import config_maps
from onguard_operator.cluster import ClusterError
from tests.integration.operator.stage import NAME, SETTINGS, SPACE, Object, Stage, Traffic

QUICK = {"watch": "10m", "bake": {"for": "30s", "requests": 200}}
LONG_ENOUGH_S = 780
"""The old revision has kept its objective for ten minutes, so that a gross failure acts by itself."""


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


async def serve_well(stage: Stage) -> str:
    """A good release with settings, long in service; its revision."""
    stage.guard(release=QUICK)
    stage.put_settings("good")
    stage.traffic["1/bad"] = stage.traffic["2/bad"] = Traffic(bad=0.9)
    stage.release("1", settings=SETTINGS)
    await stage.run(LONG_ENOUGH_S)
    return str(stage.status["revision"])


def template(stage: Stage) -> Object:
    found: Object = stage.api.find("deployments", SPACE, NAME)["spec"]["template"]
    return found


def copies(stage: Stage) -> dict[str, Object]:
    return {m["metadata"]["name"]: m for m in stage.api.all("configmaps", SPACE) if config_maps.is_copy(m)}


def mounted(stage: Stage) -> str:
    (volume,) = template(stage)["spec"]["volumes"]
    return str(volume["configMap"]["name"])


async def test_a_bad_edit_of_a_config_map_is_rolled_back_to_a_copy_and_the_users_own_is_not_written(
    stage: Stage,
) -> None:
    good = await serve_well(stage)
    (copy,) = copies(stage)
    stage.put_settings("bad")
    own = stage.api.find("configmaps", SPACE, SETTINGS)
    await stage.run(600)
    (decision,) = stage.decisions("Rollback")
    assert (decision["status"]["phase"], decision["status"]["outcome"]) == ("Succeeded", "Recovered"), decision
    assert decision["spec"]["targetRevision"] == good == stage.status["revision"]
    assert stage.version == "1"
    assert mounted(stage) == copy
    assert f"ConfigMap {SETTINGS} as its copy {copy}" in decision["status"]["message"]
    assert copy in stage.condition(contract.CONDITION_TARGET_FOUND)["message"]
    assert stage.api.find("configmaps", SPACE, SETTINGS) == own
    states = {r["revision"]: r["state"] for r in stage.status["revisions"]}
    assert (states[good], states[decision["spec"]["revision"]]) == ("Good", "Bad")


async def test_a_release_that_came_with_an_edit_goes_back_with_it(stage: Stage) -> None:
    good = await serve_well(stage)
    stage.put_settings("bad")
    stage.release("2", settings=SETTINGS)
    await stage.run(600)
    (decision,) = stage.decisions("Rollback")
    assert decision["status"]["outcome"] == "Recovered", decision
    assert (stage.version, stage.status["revision"]) == ("1", good)
    assert copies(stage)[mounted(stage)]["data"] == {"scale": "good"}


async def test_a_config_map_that_did_not_change_stays_the_users_own(stage: Stage) -> None:
    await serve_well(stage)
    stage.traffic["2/good"] = Traffic(bad=0.9)
    stage.release("2", settings=SETTINGS)
    await stage.run(300)
    assert (stage.version, mounted(stage)) == ("1", SETTINGS)
    assert contract.ANNOTATION_COPIES not in template(stage)["metadata"]["annotations"]
    assert SETTINGS not in stage.decisions("Rollback")[0]["status"]["message"]


async def test_a_config_map_that_was_pruned_with_the_release_is_there_as_a_copy(stage: Stage) -> None:
    """Generators name a ConfigMap by its content and delete the old one."""
    good = await serve_well(stage)
    stage.put_settings("bad", name="churn-settings-2")
    stage.api.delete(next(p for p in stage.api.objects if p.name == SETTINGS), {})
    stage.release("2", settings="churn-settings-2")
    await stage.run(300)
    assert (stage.version, stage.status["revision"]) == ("1", good)
    assert copies(stage)[mounted(stage)]["data"] == {"scale": "good"}


async def test_applying_the_own_manifest_again_is_a_new_judgement_and_bad_content_stays_bad(stage: Stage) -> None:
    await serve_well(stage)
    stage.put_settings("bad")
    await stage.run(600)
    (first,) = stage.decisions("Rollback")
    stage.release("1", settings=SETTINGS)
    await stage.run(300)
    second = next(d for d in stage.decisions("Rollback") if d["metadata"]["name"] != first["metadata"]["name"])
    assert second["spec"]["revision"] == first["spec"]["revision"]
    assert (second["spec"]["mode"], mounted(stage)) == ("Approve", SETTINGS)
    stage.put_settings("mended")
    await stage.run(600)
    states = {r["revision"]: r["state"] for r in stage.status["revisions"]}
    assert states[stage.status["revision"]] == "Good"
    assert states[first["spec"]["revision"]] == "Bad"
    assert stage.condition(contract.CONDITION_TARGET_FOUND)["message"] == f"Deployment {NAME}"


async def test_copies_are_few_and_go_with_what_needs_them_but_never_from_under_a_replica_set(stage: Stage) -> None:
    await serve_well(stage)
    for number in range(6):
        stage.put_settings(f"good-{number}")
        await stage.run(300)
    await stage.run(LONG_ENOUGH_S - 120)
    assert 1 < len(copies(stage)) <= 4
    stage.put_settings("bad")
    await stage.run(600)
    used = mounted(stage)
    assert copies(stage)[used]["data"] == {"scale": "good-5"}
    stage.api.delete(next(p for p in stage.api.objects if p.resource == "modeldeployments"), {})
    assert set(copies(stage)) == {used}, "the model's pods still start when OnGuard is gone"


async def test_without_the_right_to_act_nothing_is_copied(stage: Stage) -> None:
    stage.api.forbidden |= {("patch", "deployments")}
    stage.guard(release=QUICK)
    stage.put_settings("good")
    stage.release("1", settings=SETTINGS)
    await stage.run(120)
    assert copies(stage) == {}


async def test_content_that_was_not_kept_holds_and_says_so(stage: Stage) -> None:
    await serve_well(stage)
    for place in [p for p in stage.api.objects if p.name in copies(stage)]:
        stage.api.delete(place, {})
    stage.put_settings("bad")
    await stage.run(600)
    (decision,) = stage.decisions()
    (blocker,) = decision["spec"]["blockers"]
    assert blocker["reason"] == "NoRollbackTarget"
    assert SETTINGS in blocker["message"]
    assert mounted(stage) == SETTINGS


async def test_a_crash_after_any_write_comes_to_the_same_end(stage: Stage) -> None:
    good = await serve_well(stage)
    stage.put_settings("bad")
    await stage.run(195)
    kept = stage.snapshot()
    for writes in range(1, 9):
        await stage.load(kept)
        stage.api.writes_until_outage = writes
        with contextlib.suppress(ClusterError):
            await stage.run(60)
        stage.api.writes_until_outage = None
        await stage.restart()
        await stage.run(120)
        assert stage.status["revision"] == good, writes
        assert len(stage.decisions("Rollback")) == 1
        assert copies(stage)[mounted(stage)]["data"] == {"scale": "good"}
