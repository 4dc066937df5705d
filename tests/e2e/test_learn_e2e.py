"""Without any file, a reference is frozen out of live traffic; nothing is judged until then, and by it afterwards."""

import json
from pathlib import Path

from onguard import contract
from onguard.profile import decode_profile
from tests.models.load import Background
from tests.models.traffic import Mix
from tests.stage.kube import stays, wait_for
from tests.stage.shop import QUICK_RELEASE, Shop

SHIFT = Mix(shift={"monthly_charge": 15.0})
REQUESTS = 1500
LEARNT = "churn-onguard-learned"


def reference(shop: Shop) -> dict:
    return shop.model_deployment().get("status", {}).get("reference") or {}


def wait_state(shop: Shop, state: str, *, timeout_s: float) -> dict:
    """Wait for this state of the reference; nothing has been decided until then, and no drift is judged."""

    def look() -> dict | None:
        assert shop.decisions() == []
        return reference(shop) if reference(shop).get("state") == state else None

    return wait_for(f"a reference that is {state}; it is {reference(shop)}", look, timeout_s=timeout_s)


def alarms(shop: Shop) -> list[str]:
    return shop.model_deployment()["status"].get("alarms") or []


def test_a_reference_is_learnt_from_live_traffic_and_then_judges_it(shop: Shop, tmp_path: Path) -> None:
    shop.kube.kubectl("delete", "configmap", "churn-profile", "-n", shop.space)
    shop.stand(
        reference={"learn": {"requests": REQUESTS, "for": "1m"}},
        release=QUICK_RELEASE,
        objectives={"errors": {"below": "1%"}, "drift": {"tolerance": "5%", "retrainAt": "10%"}},
        actions=None,
    )
    with shop.load(rate=60) as load:
        wait_state(shop, "Counting", timeout_s=240)
        learning = shop.condition(contract.CONDITION_REFERENCE_VALID)
        assert (learning["status"], learning["reason"]) == ("Unknown", "Learning")
        frozen = wait_state(shop, "Frozen", timeout_s=300)
        is_said_and_whole(shop, frozen, tmp_path)
        judges(shop, load)
    assert load.tally.failed == 0


def is_said_and_whole(shop: Shop, frozen: dict, folder: Path) -> None:
    """The ConfigMap holds what the status says, as the command line reads it."""
    assert frozen["requests"] >= REQUESTS
    assert frozen["from"] < frozen["until"]
    text = shop.kube.get("configmap", LEARNT, shop.space)["data"]["profile.json"]
    learnt = decode_profile(text.encode())
    assert (learnt.hash, learnt.learned, learnt.rows) == (frozen["hash"], True, frozen["rows"])
    assert {f.name for f in learnt.inputs} >= {"monthly_charge", "data_gb"}
    valid = shop.wait_condition(contract.CONDITION_REFERENCE_VALID, "True", reason="Learned")
    assert "what was wrong then is normal" in valid["message"]


def judges(shop: Shop, load: Background) -> None:
    """The same traffic stays quiet; traffic that moved raises drift, and the record names what moved."""
    wait_for("drift to be judged", lambda: state_of(shop, "drift") == "Quiet", timeout_s=150)
    stays("no alarm", lambda: not alarms(shop) and not shop.decisions(), seconds=20)
    load.change(SHIFT)
    wait_for("the alarm of drift", lambda: "drift" in alarms(shop), timeout_s=120)
    decision = shop.wait_decision(cause="population", timeout_s=60)
    assert not shop.jobs(), "no retraining is configured"
    assert "monthly_charge" in json.dumps(decision["spec"]["evidence"])


def state_of(shop: Shop, objective: str) -> str:
    evidence = shop.model_deployment()["status"].get("evidence", ())
    return next((entry.get("state", "") for entry in evidence if entry["objective"] == objective), "")
