"""A bad release that nothing compares with waits for a person."""

import time

import pytest

from onguard import contract
from tests.stage.kube import StageError, stays
from tests.stage.shop import QUICK_RELEASE, Shop, wait_tally

HISTORY_S = 45
"""Traffic on the good release before the bad one comes."""


def test_a_doubtful_release_without_an_arm_waits_for_a_persons_approval(shop: Shop) -> None:
    shop.stand(release=QUICK_RELEASE)
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
