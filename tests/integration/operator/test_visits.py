import pytest

from onguard import contract
from tests.integration.operator.stage import NAME, SPACE, Stage, Traffic

QUICK = {"watch": "10m", "bake": {"for": "30s", "requests": 200}}


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


async def test_a_quiet_model_is_guarded_ready_and_left_alone(stage: Stage) -> None:
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(120)
    assert stage.condition(contract.CONDITION_READY)["status"] == "True", stage.status
    assert stage.condition(contract.CONDITION_HEALTHY)["status"] == "True", stage.status
    assert stage.decisions() == []
    assert stage.status["pods"] == {"guarded": 2, "unguarded": 0, "unreadable": 0}


async def test_a_bad_release_without_an_arm_waits_for_approval_and_is_then_rolled_back(stage: Stage) -> None:
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(120)
    stage.traffic["2"] = Traffic(bad=0.3)
    stage.release("2")
    await stage.run(120)
    (decision,) = stage.decisions()
    assert decision["spec"]["cause"] == "release", decision
    assert decision["status"]["phase"] == "AwaitingApproval", decision
    assert stage.version == "2"
    decision["metadata"].setdefault("annotations", {})[contract.ANNOTATION_APPROVE] = "kim"
    await stage.run(180)
    assert stage.version == "1"
    (decision,) = stage.decisions()
    assert (decision["status"]["phase"], decision["status"]["approver"]) == ("Succeeded", "kim")


async def test_a_bad_release_beside_a_baseline_arm_is_rolled_back_once_and_its_baseline_goes(stage: Stage) -> None:
    stage.guard(release=QUICK | {"baseline": {"mode": "Serve"}})
    stage.release("1")
    await stage.run(120)
    stage.traffic["2"] = Traffic(bad=0.3)
    stage.release("2")
    await stage.run(45)
    (arm,) = [r for r in stage.api.all("replicasets", SPACE) if contract.LABEL_ARM in r["metadata"]["labels"]]
    assert contract.LABEL_POD_TEMPLATE_HASH not in arm["spec"]["template"]["metadata"]["labels"]
    await stage.run(240)
    (decision,) = stage.decisions("Rollback")
    assert decision["spec"]["control"] == "arm"
    assert decision["spec"]["mode"] == "Automatic"
    assert decision["status"]["outcome"] == "Recovered"
    assert stage.version == "1"
    assert stage.decisions("Hold") == []
    assert not [r for r in stage.api.all("replicasets", SPACE) if contract.LABEL_ARM in r["metadata"]["labels"]]
    states = {r["revision"]: r["state"] for r in stage.status["revisions"]}
    assert states[decision["spec"]["revision"]] == "Bad"
    assert states[stage.status["revision"]] == "Good"


async def test_a_crash_looping_release_is_rolled_back_by_availability_and_insisting_on_it_asks_first(
    stage: Stage,
) -> None:
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(120)
    stage.broken.add("2")
    stage.release("2")
    await stage.run(180)
    (first,) = stage.decisions("Rollback")
    assert (first["spec"]["control"], first["status"]["phase"]) == ("availability", "Succeeded")
    assert stage.version == "1"
    stage.release("2")
    await stage.run(180)
    second = next(
        d for d in stage.decisions("Rollback") if d is not first and d["metadata"]["name"] != first["metadata"]["name"]
    )
    assert second["spec"]["mode"] == "Approve"
    assert second["spec"]["revision"] == first["spec"]["revision"]
    assert second["spec"]["targetRevision"] == first["spec"]["targetRevision"]
    assert stage.version == "2"


async def test_a_gross_failure_after_ten_good_minutes_is_rolled_back_by_itself(stage: Stage) -> None:
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(780)
    stage.traffic["2"] = Traffic(bad=0.9)
    stage.release("2")
    await stage.run(180)
    (decision,) = stage.decisions("Rollback")
    assert decision["spec"]["control"] == "gross"
    assert stage.version == "1"


async def test_errors_without_a_release_in_watch_are_held(stage: Stage) -> None:
    stage.guard(release={"watch": "1m", "bake": {"for": "30s", "requests": 200}})
    stage.release("1")
    await stage.run(150)
    stage.traffic["1"] = Traffic(bad=0.5)
    await stage.run(120)
    (decision,) = stage.decisions()
    assert (decision["spec"]["cause"], decision["spec"]["action"]) == ("unknown", "Hold")
    assert stage.condition(contract.CONDITION_HEALTHY)["status"] == "False"


async def test_pods_that_cannot_be_read_are_missing_and_nothing_is_decided(stage: Stage) -> None:
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(120)
    stage.unreadable.add("1")
    stage.traffic["1"] = Traffic(bad=1.0)
    await stage.run(120)
    assert stage.decisions() == []
    condition = stage.condition(contract.CONDITION_SCRAPABLE)
    assert (condition["status"], condition["reason"]) == ("False", "TimedOut")
    assert "NetworkPolicy" in condition["message"]


async def test_pods_that_came_while_the_gate_was_down_are_restarted_once_it_is_back(stage: Stage) -> None:
    stage.guard()
    stage.is_gate_up = False
    gate = stage.api.find("endpointslices", "onguard", "gate")
    gate["endpoints"] = []
    stage.release("1")
    await stage.run(60)
    assert stage.condition(contract.CONDITION_INJECTED)["reason"] == "GateNotReady"
    assert stage.condition(contract.CONDITION_TRAFFIC_GUARDED)["reason"] == "UnguardedPods"
    assert stage.api.wrote("patch", "deployments") == 0
    stage.is_gate_up, gate["endpoints"] = True, [{"conditions": {"ready": True}}]
    await stage.run(60)
    assert stage.condition(contract.CONDITION_INJECTED)["status"] == "True"
    assert stage.api.wrote("patch", "deployments") == 1
    assert [r["state"] for r in stage.status["revisions"]] == ["AssumedGood"], "a restart is no new revision"


async def test_without_the_right_to_act_a_decision_is_recorded_and_nothing_is_done(stage: Stage) -> None:
    stage.guard(release=QUICK | {"baseline": {"mode": "None"}})
    stage.release("1")
    await stage.run(120)
    stage.api.forbidden |= {("patch", "deployments")}
    stage.broken.add("2")
    stage.release("2")
    await stage.run(180)
    (decision,) = stage.decisions()
    assert [b["reason"] for b in decision["spec"]["blockers"]] == ["ActionsForbidden"]
    assert stage.version == "2"
    assert stage.condition(contract.CONDITION_ACTIONS_ALLOWED)["reason"] == "ActionsForbidden"


async def test_status_is_quiet_when_nothing_happens(stage: Stage) -> None:
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(300)
    before = len(stage.api.writes)
    await stage.run(300)
    leases = stage.api.writes[before:].count(("patch", "leases"))
    assert len(stage.api.writes) - before - leases <= 12, stage.api.writes[before:]


async def test_a_deleted_model_leaves_nothing_in_memory(stage: Stage) -> None:
    stage.guard()
    stage.release("1")
    await stage.run(45)
    place = next(p for p in stage.api.objects if p.resource == "modeldeployments")
    stage.api.delete(place, {})
    from onguard_operator.scheduler import Key

    assert await stage.visitor.visit(Key(SPACE, NAME)) is False
    stage.visitor.forget(Key(SPACE, NAME))
    assert stage.visitor._evidence == {}
    assert not [s for m in stage.tools.telemetry.registry.collect() for s in m.samples if s.labels.get("model") == NAME]


async def test_arms_under_session_affinity_are_refused_with_the_reason_and_a_person_is_asked(stage: Stage) -> None:
    stage.guard(release=QUICK | {"baseline": {"mode": "Serve"}})
    (service,) = stage.api.all("services", SPACE)
    service["spec"]["sessionAffinity"] = "ClientIP"
    stage.release("1")
    await stage.run(120)
    stage.traffic["2"] = Traffic(bad=0.3)
    stage.release("2")
    await stage.run(120)
    assert stage.condition(contract.CONDITION_ARMS_EXCHANGEABLE)["reason"] == "ArmsNotExchangeable"
    (decision,) = stage.decisions()
    assert (decision["spec"]["mode"], decision["spec"]["control"]) == ("Approve", "none"), decision
    assert "session affinity" in next(e["detail"] for e in decision["spec"]["evidence"] if e["name"] == "arms")
    assert stage.condition(contract.CONDITION_READY)["status"] == "True", "the model is on guard nevertheless"


@pytest.mark.parametrize(
    ("image_id", "image", "said"),
    [
        (f"docker.io/library/model@sha256:{'ab' * 32}", f"model@sha256:{'ab' * 32}", False),
        (f"sha256:{'ab' * 32}", "model:1", True),
    ],
)
async def test_a_rollback_returns_to_the_image_that_ran_by_digest_where_a_registry_has_it(
    stage: Stage, image_id: str, image: str, said: bool
) -> None:
    stage.image_ids["1"] = image_id
    stage.guard(release=QUICK)
    stage.release("1")
    await stage.run(120)
    good = stage.status["revision"]
    stage.broken.add("2")
    stage.release("2")
    await stage.run(240)
    (decision,) = stage.decisions("Rollback")
    assert decision["status"]["phase"] == "Succeeded", decision
    (container,) = stage.api.find("deployments", SPACE, NAME)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image
    events = " ".join(e["message"] for e in stage.api.all("events", SPACE))
    assert ("by tag, since no registry digest is known: model:1" in events) is said
    assert stage.status["revision"] == good, "by digest it is the same revision"
    assert {r["revision"]: r["state"] for r in stage.status["revisions"]}[good] == "Good"


async def test_old_records_go_and_the_newest_fifty_stay(stage: Stage) -> None:
    model = stage.guard(release=QUICK)
    for number in range(53):
        spec = {
            "modelDeployment": {"name": NAME, "uid": model["metadata"]["uid"]},
            "cause": "unknown",
            "action": "Hold",
            "mode": "Off",
            "decidedAt": stage.stamp(),
        }
        meta = {"name": f"{NAME}-{number:02}", "namespace": SPACE, "labels": {contract.LABEL_MODEL_DEPLOYMENT: NAME}}
        status = {"phase": "AwaitingApproval" if number == 0 else "Held"}
        body = {"apiVersion": contract.API_VERSION, "kind": "Decision", "metadata": meta, "spec": spec}
        stage.api.put({**body, "status": status})
    stage.release("1")
    await stage.run(45)
    names = sorted(d["metadata"]["name"] for d in stage.decisions())
    assert names == [f"{NAME}-00", *(f"{NAME}-{number:02}" for number in range(3, 53))]
