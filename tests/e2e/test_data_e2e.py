"""Data that moved is answered by what it means: a retraining, a hold, or a word to whoever feeds the model."""

import json
import time
from collections.abc import Callable

from tests.models.traffic import Mix
from tests.stage.kube import stays, wait_for
from tests.stage.shop import Shop

SHIFT = Mix(shift={"monthly_charge": 15.0})
"""Prices rose by 15: the distribution function moves by 32 points, and hardly a value leaves the reference's range."""
HOLES = Mix(missing={"data_gb": 0.4})
QUICK = {"watch": "2m", "bake": {"for": "30s", "requests": 200}}
RETRAIN = {"mode": "Automatic", "from": {"apiVersion": "batch/v1", "kind": "CronJob", "name": "churn-train"}}
SETTLE_S = 60
"""Longer than the bake: a retraining is not started for a revision that is younger."""


# With a tolerance of 1 % the data's return is as hard to see as a shift of 1 %: the alarm would take minutes to clear.
def drift(retrain_at: str) -> dict[str, object]:
    return {
        "errors": {"below": "1%"},
        "drift": {"tolerance": "5%", "retrainAt": retrain_at},
        "dataQuality": {"tolerance": "1%"},
    }


def test_a_shift_past_retrain_at_starts_one_job_with_its_evidence_and_then_the_cooldown_holds(shop: Shop) -> None:
    shop.stand(release=QUICK, objectives=drift("10%"), actions={"retrain": RETRAIN | {"cooldown": "24h"}})
    with shop.load(rate=60) as load:
        time.sleep(SETTLE_S)
        assert shop.decisions() == []
        load.change(SHIFT)
        decision = shop.wait_decision(cause="population", action="Retrain", timeout_s=120)
        job = wait_for("a Job", shop.jobs, timeout_s=60)[0]
        logs = wait_for("the Job's log", lambda: log_of(shop, job), timeout_s=90)
        printed = json.loads(logs.splitlines()[0])
        assert printed["environment"]["ONGUARD_CAUSE"] == "population"
        assert printed["environment"]["ONGUARD_DECISION"] == decision["metadata"]["name"]
        assert "monthly_charge" in json.dumps(printed["evidence"])
        cooldown_holds(shop, load)
    assert load.tally.failed == 0
    assert len(shop.jobs()) == 1
    assert {d["spec"]["cause"] for d in shop.decisions()} == {"population"}
    assert shop.versions() == {("1", "")}


def cooldown_holds(shop: Shop, load: object) -> None:
    """The data come back, the alarm clears, the data move again: the record says that the cooldown blocks."""
    load.change(Mix())
    wait_for("the alarm to clear", lambda: not shop.model_deployment()["status"].get("alarms"), timeout_s=180)
    load.change(SHIFT)
    blocked = wait_for("a blocked Decision", lambda: with_blocker(shop, "Cooldown"), timeout_s=150)[0]
    assert blocked["spec"]["cause"] == "population"
    shop.wait_phase(blocked["metadata"]["name"], "Held", timeout_s=30)


def with_blocker(shop: Shop, reason: str) -> list[dict]:
    return [d for d in shop.decisions() if any(b["reason"] == reason for b in d["spec"].get("blockers", ()))]


def log_of(shop: Shop, job: dict) -> str:
    done = shop.kube.get("job", job["metadata"]["name"], shop.space) or {}
    if not done.get("status", {}).get("succeeded"):
        return ""
    return shop.kube.kubectl("logs", "-n", shop.space, f"job/{job['metadata']['name']}", "-c", "train")


def test_a_shift_below_retrain_at_is_benign_and_missing_values_upstream_hold(
    make_shop: Callable[[str], Shop],
) -> None:
    """Two models at once: each needs minutes of traffic and little of the machine."""
    benign, broken = make_shop("benign"), make_shop("holes")
    for shop in (benign, broken):
        shop.stand(release=QUICK, objectives=drift("60%"), actions={"retrain": RETRAIN}, replicas=1)
    with benign.load(rate=30) as shifted, broken.load(rate=30) as holed:
        time.sleep(SETTLE_S)
        shifted.change(SHIFT)
        holed.change(HOLES)
        kind = benign.wait_decision(cause="population-benign", action="Hold", timeout_s=150)
        upstream = broken.wait_decision(cause="upstream-data", action="Hold", timeout_s=150)
        assert "monthly_charge" in json.dumps(kind["spec"]["evidence"])
        assert "data_gb" in json.dumps(upstream["spec"]["evidence"])
        stays("nothing is done", lambda: not did_anything(benign) and not did_anything(broken), seconds=30)
    assert shifted.tally.failed == holed.tally.failed == 0
    for shop in (benign, broken):
        shop.kube.kubectl("delete", "namespace", shop.space, "--wait=false")


def did_anything(shop: Shop) -> bool:
    acts = [d for d in shop.decisions() if d["spec"]["action"] != "Hold"]
    return bool(acts or shop.jobs() or shop.versions() != {("1", "")})
