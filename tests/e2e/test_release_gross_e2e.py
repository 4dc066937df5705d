"""Without an arm, only a failure so gross that chance and season are out of the question acts by itself."""

import time

from tests.stage.shop import QUICK_RELEASE, Shop

KEPT_S = 660
"""Ten minutes within the objective are asked for, and what a roll-out hides of them does not count."""


def test_a_gross_failure_after_ten_minutes_within_the_objective_is_rolled_back_without_an_arm(shop: Shop) -> None:
    shop.stand(release=QUICK_RELEASE | {"watch": "30m"}, objectives={"errors": {"below": "1%"}})
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
