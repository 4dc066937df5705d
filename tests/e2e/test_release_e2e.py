"""A bad release is found, told from bad data, and rolled back; a doubtful one waits for a person."""

import time

import pytest

from onguard import contract
from tests.stage.kube import StageError, stays, wait_for
from tests.stage.shop import Shop, wait_tally

QUICK = {"watch": "10m", "bake": {"for": "30s", "requests": 200}}
KEPT_S = 660
"""Ten minutes within the objective are asked for, and what a roll-out hides of them does not count."""
HISTORY_S = 45
"""Traffic on the good release before the bad one comes."""


def revision_states(shop: Shop) -> dict[str, str]:
    status = shop.model_deployment().get("status", {})
    return {entry["revision"]: entry.get("state", "") for entry in status.get("revisions", ())}


def test_a_bad_release_beside_a_baseline_arm_is_rolled_back_within_a_minute(shop: Shop) -> None:
    shop.stand(release=QUICK | {"baseline": {"mode": "Serve"}})
    with shop.load(rate=60, connections=12) as load:
        time.sleep(HISTORY_S)
        assert load.tally.failed == 0
        shop.release(VERSION="2", BUG="scaling")
        seen = wait_tally(load, "500", 200, timeout_s=180)
        decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=60 - (time.monotonic() - seen))
        assert decision["spec"]["mode"] == "Automatic"
        assert decision["spec"]["control"] == "arm"
        assert decision["spec"]["evidence"]
        shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=180)
        shop.wait_served("1")
        assert shop.versions() == {("1", "")}
        stays("one breach has one Decision", lambda: len(shop.decisions()) == 1, seconds=40)
    assert load.tally.not_by_model == 0
    assert not shop.jobs()
    assert revision_states(shop)[decision["spec"]["revision"]] == "Bad"


def test_a_doubtful_release_without_an_arm_waits_for_a_persons_approval(shop: Shop) -> None:
    shop.stand(release=QUICK)
    with shop.load(rate=50) as load:
        time.sleep(HISTORY_S)
        shop.release(VERSION="2", BUG="scaling")
        wait_tally(load, "500", 200, timeout_s=120)
        decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=90)
        name = decision["metadata"]["name"]
        assert decision["spec"]["mode"] == "Approve"
        shop.wait_phase(name, "AwaitingApproval", timeout_s=30)
        stays("the release still serves", lambda: ("2", "scaling") in shop.versions(), seconds=20)
        with pytest.raises(StageError, match="to be the approver"):
            shop.kube.kubectl("annotate", "decision", name, "-n", shop.space, f"{contract.ANNOTATION_APPROVE}=somebody")
        me = shop.approve(name)
        approved = shop.wait_phase(name, "Succeeded", timeout_s=180)
        assert approved["status"]["approver"] == me
        shop.wait_served("1")
    assert load.tally.not_by_model == 0


@pytest.mark.parametrize("bug", ["never-ready", "crash"])
def test_a_release_that_does_not_come_up_is_rolled_back_and_never_becomes_a_target(shop: Shop, bug: str) -> None:
    shop.stand(release=QUICK)
    with shop.load(rate=20) as load:
        time.sleep(20)
        shop.release(VERSION="2", BUG=bug)
        decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=180)
        assert decision["spec"]["control"] == "availability"
        shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=120)
        shop.wait_served("1")
        assert load.tally.failed == 0
        if bug == "crash":
            insist_on_the_bad_release(shop, bug)


def insist_on_the_bad_release(shop: Shop, bug: str) -> None:
    """A person who applies the bad template again is obeyed: from then on a rollback of it asks first."""
    bad = shop.decisions(action="Rollback")[0]["spec"]
    shop.release(VERSION="2", BUG=bug)
    again = wait_for("a second Decision", lambda: shop.decisions(action="Rollback")[1:], timeout_s=180)[0]
    assert again["spec"]["revision"] == bad["revision"]
    assert again["spec"]["mode"] == "Approve"
    assert again["spec"]["targetRevision"] == bad["targetRevision"]
    assert revision_states(shop)[bad["revision"]] == "Bad"


def test_a_gross_failure_after_ten_minutes_within_the_objective_is_rolled_back_without_an_arm(shop: Shop) -> None:
    shop.stand(release=QUICK | {"watch": "30m"}, objectives={"errors": {"below": "1%"}})
    with shop.load(rate=10, connections=4) as load:
        time.sleep(KEPT_S)
        assert load.tally.failed == 0
        assert shop.decisions() == []
        shop.release(VERSION="2", BUG="gross")
        decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=150)
        assert decision["spec"]["control"] == "gross"
        assert decision["spec"]["mode"] == "Automatic"
        shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=180)
        shop.wait_served("1")
    assert load.tally.not_by_model == 0
