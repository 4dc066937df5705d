"""The operator dies after any of its writes and another one goes on: the same end, and nothing is done twice."""

import pytest

from onguard_operator.cluster import ClusterError
from tests.integration.operator.stage import NAME, SPACE, Stage, Traffic

SPEC = {
    "release": {"watch": "10m", "bake": {"for": "30s", "requests": 200}, "baseline": {"mode": "Serve"}},
    "reference": {"configMap": {"name": "churn-profile"}},
    "objectives": {
        "availability": {},
        "errors": {"below": "1%"},
        "drift": {"tolerance": "1%", "retrainAt": "10%"},
    },
    "actions": {"retrain": {"mode": "Automatic", "from": {"name": "churn-train"}}},
}


async def prepare(stage: Stage) -> None:
    """A model that serves well and has baked."""
    stage.put_reference()
    stage.guard(**SPEC)
    stage.release("1")
    await visits(stage, 120)


async def play(stage: Stage, scene: str, crash_after: int | None) -> None:
    """Run one scene; after so many writes the API server goes silent, and a new operator comes two visits later."""
    stage.api.writes_until_outage = crash_after
    if scene == "rollback":
        stage.traffic["2"] = Traffic(bad=0.3)
        stage.release("2")
    elif scene == "crash":
        stage.broken.add("2")
        stage.release("2")
    else:
        stage.traffic["1"] = Traffic(shift=3)
    await visits(stage, 300)


async def visits(stage: Stage, seconds: float) -> None:
    """As Stage.run, with an operator that is replaced two visits after it fell silent."""
    end = stage.now + seconds
    silent = 0
    while stage.now < end:
        stage.settle()
        try:
            await stage.visit()
        except ClusterError:
            silent += 1
        if silent == 2:
            stage.api.writes_until_outage = None
            await stage.restart()
            silent = 0
        stage.now += 15
    assert stage.api.writes_until_outage is None or stage.api.writes_until_outage > 0
    stage.settle()


def end_of(stage: Stage) -> dict[str, object]:
    """What must be the same, whatever crashed."""
    return {
        "version": stage.version,
        "decisions": sorted((d["spec"]["cause"], d["spec"]["action"], d["status"]["phase"]) for d in stage.decisions()),
        "jobs": len(stage.api.all("jobs", SPACE)),
        "kept": sorted(
            r["data"]["template"]["spec"]["containers"][0]["env"][0]["value"]
            for r in stage.api.all("controllerrevisions")
        ),
        "arms": [r["metadata"]["name"] for r in stage.api.all("replicasets") if "baseline" in r["metadata"]["name"]],
        "standing": [r["state"] for r in stage.status["revisions"]],
        "rollbacks": stage.api.find("deployments", SPACE, NAME)["spec"]["template"]["metadata"]
        .get("annotations", {})
        .keys(),
    }


@pytest.mark.parametrize("scene", ["rollback", "crash", "retrain"])
async def test_a_crash_after_any_write_around_the_decision_changes_nothing_in_the_end(tmp_path, scene: str) -> None:
    stage = Stage(tmp_path)
    await stage.open()
    try:
        await prepare(stage)
        prepared, written = stage.snapshot(), len(stage.api.writes)
        await play(stage, scene, None)
        reference = end_of(stage)
        assert reference["decisions"], "the scene leads to a decision"
        decided = stage.api.writes[written:].index(("create", "decisions"))
        for writes in range(max(decided - 1, 0), decided + 7):
            await stage.load(prepared)
            await play(stage, scene, writes)
            assert (writes, end_of(stage)) == (writes, reference)
    finally:
        await stage.close()
