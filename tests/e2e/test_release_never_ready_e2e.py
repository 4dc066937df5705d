"""A release whose pods run but never become Ready."""

import time

from tests.stage.shop import QUICK_RELEASE, Shop


def test_a_release_that_never_becomes_ready_is_rolled_back(shop: Shop) -> None:
    shop.stand(release=QUICK_RELEASE)
    with shop.load(rate=20) as load:
        time.sleep(20)
        shop.release(VERSION="2", BUG="never-ready")
        decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=180)
        assert decision["spec"]["control"] == "availability"
        shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=120)
        shop.wait_served("1")
        assert load.tally.failed == 0
