"""No request fails that the model did not fail: through a roll-out of sidecars, a rolling restart and a rollback."""

import time

from onguard import contract
from tests.models.load import Background
from tests.stage import objects
from tests.stage.kube import wait_for
from tests.stage.shop import Shop, wait_tally

RATE = 50.0


def test_requests_survive_the_injection_a_rolling_restart_and_a_rollback(shop: Shop) -> None:
    # Pods without a sidecar drain as well as their model does; OnGuard's own restart of them must add no failure.
    shop.serve(DRAIN_S="5")
    assert not any(objects.is_injected(pod) for pod in shop.pods())
    with shop.load(rate=RATE) as load:
        started = time.monotonic()
        time.sleep(5)
        shop.guard(release={"watch": "10m", "bake": {"for": "30s", "requests": 200}, "baseline": {"mode": "Serve"}})
        shop.wait_condition(contract.CONDITION_TRAFFIC_GUARDED, "True", timeout_s=150)
        assert all(objects.is_injected(pod) for pod in shop.pods())
        no_failure(load, "the roll-out of sidecars")

        # From here on the model closes at once on SIGTERM: the drain is the sidecar's.
        shop.serve(DRAIN_S="0")
        no_failure(load, "a release")
        shop.kube.kubectl("rollout", "restart", "-n", shop.space, "deployment/churn")
        shop.kube.kubectl("rollout", "status", "-n", shop.space, "deployment/churn", "--timeout=150s", timeout_s=160)
        wait_for("the old pods to go", lambda: all_old_pods_are_gone(shop), timeout_s=90)
        no_failure(load, "a rolling restart")

        shop.release(VERSION="2", BUG="scaling", DRAIN_S="0")
        wait_tally(load, "500", 50, timeout_s=120)
        decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=180)
        shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=180)
        shop.wait_served("1")
        time.sleep(5)
    assert load.tally.not_by_model == 0, load.tally
    assert load.tally.sent > 0.8 * RATE * (time.monotonic() - started), "the load was there all the time"


def no_failure(load: Background, through: str) -> None:
    assert load.tally.failed == 0, f"{through}: {load.tally}"


def all_old_pods_are_gone(shop: Shop) -> bool:
    pods = shop.kube.list("pods", shop.space, "app=churn")
    return not any("deletionTimestamp" in pod["metadata"] for pod in pods)
