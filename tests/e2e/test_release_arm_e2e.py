"""A bad release beside pods of the last good one: the arms say that it is worse, and it goes."""

import time

from tests.stage.kube import stays
from tests.stage.shop import QUICK_RELEASE, Shop, wait_tally

HISTORY_S = 45
"""Traffic on the good release before the bad one comes."""


def test_a_bad_release_beside_a_baseline_arm_is_rolled_back_within_a_minute(shop: Shop) -> None:
    shop.stand(release=QUICK_RELEASE | {"baseline": {"mode": "Serve"}})
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
    assert shop.standings()[decision["spec"]["revision"]] == "Bad"
