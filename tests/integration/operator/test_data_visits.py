"""Data that moved: retraining, holding, cooldown, and what the alert of a person's own leads to."""

import json

import pytest

from onguard import contract
from tests.integration.operator.stage import NAME, SPACE, Stage, Traffic

RETRAIN = {"mode": "Automatic", "from": {"name": "churn-train"}, "cooldown": "24h"}
SPEC = {
    "release": {"watch": "2m", "bake": {"for": "30s", "requests": 200}},
    "reference": {"configMap": {"name": "churn-profile"}},
    "objectives": {"errors": {"below": "1%"}, "drift": {"tolerance": "1%", "retrainAt": "10%"}, "dataQuality": {}},
    "actions": {"retrain": RETRAIN},
    "triggers": [{"alert": "Drop", "action": "Rollback"}],
}


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    await stage.open()
    stage.put_reference()
    yield stage
    await stage.close()


async def test_a_shift_past_retrain_at_starts_one_job_and_the_cooldown_holds_the_next(stage: Stage) -> None:
    stage.guard(**SPEC)
    stage.release("1")
    await stage.run(150)
    assert stage.decisions() == []
    stage.traffic["1"] = Traffic(shift=3)
    await stage.run(120)
    (decision,) = stage.decisions()
    assert (decision["spec"]["cause"], decision["spec"]["action"]) == ("population", "Retrain")
    (job,) = stage.api.all("jobs", SPACE)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    env = {v["name"]: v["value"] for v in container["env"]}
    assert env[contract.ENV_JOB_CAUSE] == "population"
    assert env[contract.ENV_JOB_DECISION] == decision["metadata"]["name"]
    evidence = stage.api.find("configmaps", SPACE, job["metadata"]["name"])
    assert "age <= " in evidence["data"][contract.FILE_EVIDENCE]
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    stage.traffic["1"] = Traffic()
    await stage.run(300)
    assert stage.decisions()[0]["status"]["outcome"] == "JobComplete"
    assert stage.status["alarms"] == []
    stage.traffic["1"] = Traffic(shift=3)
    await stage.run(120)
    blocked = [d for d in stage.decisions() if d["spec"].get("blockers")]
    assert [b["reason"] for b in blocked[0]["spec"]["blockers"]] == ["Cooldown"]
    assert blocked[0]["status"]["phase"] == "Held"
    assert len(stage.api.all("jobs", SPACE)) == 1
    assert stage.decisions("Rollback") == []
    chain = sorted(stage.decisions(), key=lambda d: d["metadata"]["creationTimestamp"])
    assert chain[1]["spec"]["previousHash"]


async def test_a_shift_below_retrain_at_is_benign(stage: Stage) -> None:
    stage.guard(**SPEC | {"objectives": {"drift": {"tolerance": "1%", "retrainAt": "60%"}}})
    stage.release("1")
    await stage.run(120)
    stage.traffic["1"] = Traffic(shift=3)
    await stage.run(120)
    (decision,) = stage.decisions()
    assert (decision["spec"]["cause"], decision["spec"]["action"]) == ("population-benign", "Hold")
    assert "age" in json.dumps(decision["spec"]["evidence"])


async def test_missing_values_are_upstream_data_and_hold(stage: Stage) -> None:
    stage.guard(**SPEC)
    stage.release("1")
    await stage.run(120)
    stage.traffic["1"] = Traffic(missing=0.4)
    await stage.run(120)
    (decision,) = stage.decisions()
    assert (decision["spec"]["cause"], decision["spec"]["action"]) == ("upstream-data", "Hold")
    assert "age missing" in json.dumps(decision["spec"]["evidence"])


async def test_a_bad_reference_is_said_and_judges_nothing(stage: Stage) -> None:
    stage.guard(**SPEC)
    stage.api.find("configmaps", SPACE, "churn-profile")["data"]["profile.json"] = "{"
    stage.release("1")
    stage.traffic["1"] = Traffic(shift=3)
    await stage.run(120)
    condition = stage.condition(contract.CONDITION_REFERENCE_VALID)
    assert (condition["status"], condition["reason"]) == ("False", "ReferenceInvalid")
    assert stage.decisions() == []


async def test_an_alert_leads_to_one_rollback(stage: Stage) -> None:
    stage.guard(**SPEC)
    stage.release("1")
    await stage.run(120)
    stage.release("2")
    await stage.run(60)
    stage.alert(stage.stamp())
    await stage.run(180)
    (decision,) = stage.decisions()
    assert decision["status"]["phase"] == "Succeeded"
    assert stage.version == "1"
    states = {r["revision"]: r["state"] for r in stage.status["revisions"]}
    assert states[decision["status"]["revision"]] == "Bad"


async def test_an_alert_that_is_older_than_the_release_is_held(stage: Stage) -> None:
    stage.guard(**SPEC)
    stage.release("1")
    await stage.run(120)
    began = stage.stamp()
    stage.now += 30
    stage.release("2")
    await stage.run(60)
    stage.alert(began)
    await stage.run(60)
    (decision,) = stage.decisions()
    assert decision["status"]["phase"] == "Held"
    assert [b["reason"] for b in decision["status"]["blockers"]] == ["NewerChange"]
    assert stage.version == "2"


async def test_an_edited_config_map_makes_a_revision_whose_first_minutes_judge_nothing(stage: Stage) -> None:
    stage.guard(**SPEC)
    meta = {"name": "model-config", "namespace": SPACE}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"scale": "1"}}
    stage.api.put(config)
    stage.release("1")
    target = stage.api.find("deployments", SPACE, NAME)
    target["spec"]["template"]["spec"]["volumes"] = [{"name": "c", "configMap": {"name": "model-config"}}]
    stage.api.put(target)
    await stage.run(120)
    first = stage.status["revision"]
    stage.api.put({**config, "data": {"scale": "2"}})
    stage.traffic["1"] = Traffic(shift=3)
    await stage.run(120)
    assert stage.status["revision"] != first
    assert stage.decisions() == []
