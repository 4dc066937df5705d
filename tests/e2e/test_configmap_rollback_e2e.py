"""A release by an edit of a ConfigMap alone: back to a copy of its old content, and to the own one by hand."""

import time

from onguard import contract
from tests.stage import objects
from tests.stage.kube import Object, wait_for
from tests.stage.shop import NAME, QUICK_RELEASE, Shop

SETTINGS = "churn-settings"


def put_settings(shop: Shop, bug: str) -> None:
    """The ConfigMap that decides which bug the model has."""
    metadata = {"name": SETTINGS, "namespace": shop.space}
    shop.kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"BUG": bug}})


def put_model(shop: Shop) -> None:
    """The model, which reads its bug from the ConfigMap."""
    item = objects.deployment(shop.space, {})
    container = item["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [entry for entry in container["env"] if entry["name"] != "BUG"]
    container["envFrom"] = [{"configMapRef": {"name": SETTINGS}}]
    shop.kube.apply(item)


def named(shop: Shop) -> str:
    """ConfigMap that the template names."""
    target = shop.kube.get("deployment", NAME, shop.space) or {}
    name: str = target["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    return name


def copies(shop: Shop) -> list[Object]:
    """Copies of the ConfigMap."""
    maps = shop.kube.list("configmaps", shop.space)
    return [m for m in maps if contract.ANNOTATION_COPY_OF in m["metadata"].get("annotations", {})]


def roll_out(shop: Shop) -> None:
    """As a person does whose ConfigMap is read at the start."""
    shop.kube.kubectl("rollout", "restart", "-n", shop.space, f"deployment/{NAME}")


def test_a_bad_edit_of_a_config_map_is_rolled_back_to_a_copy_that_outlives_onguards_objects(shop: Shop) -> None:
    put_settings(shop, "")
    put_model(shop)
    shop.guard(release=QUICK_RELEASE)
    shop.wait_condition(contract.CONDITION_TRAFFIC_GUARDED, "True")
    wait_for("a copy of the good content", lambda: copies(shop), timeout_s=60)
    good = shop.model_deployment()["status"]["revision"]
    with shop.load(rate=20) as load:
        time.sleep(20)
        put_settings(shop, "crash")
        roll_out(shop)
        decision = shop.wait_rolled_back(version="1")
        assert load.tally.failed == 0
    assert decision["spec"]["targetRevision"] == good
    (copy,) = copies(shop)
    assert named(shop) == copy["metadata"]["name"]
    assert copy["metadata"]["name"] in decision["status"]["message"]
    own = shop.kube.get("configmap", SETTINGS, shop.space) or {}
    assert own["data"] == {"BUG": "crash"}, "the user's own is never written"
    come_back(shop, decision)


def come_back(shop: Shop, decision: Object) -> None:
    """Mended and applied again, the own ConfigMap is named again; deleting the ModelDeployment hurts nobody."""
    wait_for("a ReplicaSet among the copy's owners", lambda: "ReplicaSet" in owners(shop), timeout_s=60)
    shop.kube.kubectl("delete", "modeldeployment", NAME, "-n", shop.space, "--wait=true")
    wait_for("the kept template to be collected", lambda: "ControllerRevision" not in owners(shop), timeout_s=60)
    roll_out(shop)
    shop.kube.kubectl("rollout", "status", "-n", shop.space, f"deployment/{NAME}", "--timeout=120s", timeout_s=130)
    assert named(shop) == copies(shop)[0]["metadata"]["name"], "pods still start from the copy"
    put_settings(shop, "")
    put_model(shop)
    shop.guard(release=QUICK_RELEASE)
    assert named(shop) == SETTINGS
    shop.wait_served("1")
    assert decision["spec"]["revision"] != shop.model_deployment().get("status", {}).get("revision")


def owners(shop: Shop) -> list[str]:
    """Kinds of what holds the copy."""
    return [owner["kind"] for copy in copies(shop) for owner in copy["metadata"].get("ownerReferences", ())]
