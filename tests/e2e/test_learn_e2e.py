"""Without any file, a reference is frozen out of live traffic; nothing is judged until then, and by it afterwards."""

import contextlib
import json
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from onguard import contract
from onguard.profile import decode_profile
from tests.models.load import Background
from tests.models.traffic import Mix, customers, encode, path
from tests.stage import chart
from tests.stage.kube import stays, wait_for
from tests.stage.shop import QUICK_RELEASE, Shop

SHIFT = Mix(shift={"monthly_charge": 15.0})
REQUESTS = 1500
SECRET = "Alice-4111-1111"
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


def test_a_reference_is_learnt_from_live_traffic_judges_it_and_no_secret_is_left_anywhere(
    shop: Shop, tmp_path: Path
) -> None:
    shop.kube.kubectl("delete", "configmap", "churn-profile", "-n", shop.space)
    shop.stand(
        reference={"learn": {"requests": REQUESTS, "for": "1m"}},
        release=QUICK_RELEASE,
        objectives={"errors": {"below": "1%"}, "drift": {"tolerance": "5%", "retrainAt": "10%"}},
        actions=None,
    )
    with shop.load(rate=60) as load:
        plant(shop)
        wait_state(shop, "Counting", timeout_s=240)
        plant(shop)
        learning = shop.condition(contract.CONDITION_REFERENCE_VALID)
        assert (learning["status"], learning["reason"]) == ("Unknown", "Learning")
        frozen = wait_state(shop, "Frozen", timeout_s=300)
        is_said_and_whole(shop, frozen, tmp_path)
        plant(shop)
        judges(shop, load)
        assert mentions(shop) == []
    assert load.tally.failed == 0


def plant(shop: Shop) -> None:
    """A secret in each place of a request: one that is answered, one that is refused."""
    (row,) = customers(np.random.default_rng(7), Mix())[:1]
    for body in (encode([row | {"note": SECRET}], "v1"), f'{{"instances": [{SECRET}'.encode()):
        ask = urllib.request.Request(f"{shop.url()}{path('churn', 'v1')}?token={SECRET}", body)
        ask.add_header("Authorization", f"Bearer {SECRET}")
        ask.add_header(f"X-{SECRET}", SECRET)
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(ask, timeout=10):
            pass


def mentions(shop: Shop) -> list[str]:
    """Where the secret stands: objects of the namespace, pages of metrics, logs of OnGuard's own containers."""
    kinds = "events,decisions,modeldeployments,configmaps,jobs,pods,replicasets,controllerrevisions,leases"
    texts = {"objects": shop.kube.kubectl("get", kinds, "-n", shop.space, "-o", "json")}
    assert "churn-onguard-learned" in texts["objects"]
    for pod in shop.pods():
        name = pod["metadata"]["name"]
        page = f"/api/v1/namespaces/{shop.space}/pods/{name}:{contract.PORT_ADMIN}/proxy/metrics"
        texts[f"metrics of {name}"] = shop.kube.kubectl("get", "--raw", page)
        for container in (contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST):
            texts[f"{container} of {name}"] = shop.kube.kubectl("logs", "-n", shop.space, name, "-c", container)
    for pod in shop.kube.list("pods", chart.NAMESPACE):
        name = pod["metadata"]["name"]
        texts[name] = shop.kube.kubectl("logs", "-n", chart.NAMESPACE, name, "--since=10m")
    assert all(texts[place] for place in texts if place.startswith(("objects", "metrics")))
    return [place for place, text in texts.items() if SECRET.lower() in text.lower()]


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
