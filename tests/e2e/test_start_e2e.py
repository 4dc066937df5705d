"""Injection never stops a model from starting; where a pod runs unguarded, a condition says why."""

import time
from collections.abc import Iterator

import pytest

from onguard import contract
from tests.stage import chart, objects
from tests.stage.kube import wait_for
from tests.stage.shop import Shop


@pytest.fixture
def unpullable_image(installed: chart.Release) -> Iterator[None]:
    installed.set(image__sidecar__tag="does-not-exist")
    yield
    installed.set(image__sidecar__tag="dev")


@pytest.mark.alone
def test_an_unpullable_sidecar_image_suspends_injection_and_the_pods_start(shop: Shop, unpullable_image: None) -> None:
    shop.guard()
    shop.release()
    shop.wait_condition(contract.CONDITION_INJECTED, "False", reason="InjectionSuspended", timeout_s=150)
    shop.wait_served("1", timeout_s=120)
    assert not any(objects.is_injected(pod) for pod in shop.pods())
    shop.wait_condition(contract.CONDITION_TRAFFIC_GUARDED, "False", reason="UnguardedPods")


def test_a_deleted_configmap_does_not_keep_a_pod_from_starting(shop: Shop) -> None:
    shop.stand(replicas=1)
    with shop.load(rate=20, connections=4) as load:
        shop.kube.kubectl("delete", "configmap", "-n", shop.space, "churn-profile", "churn-onguard")
        shop.kube.kubectl("rollout", "restart", "-n", shop.space, "deployment/churn")
        shop.kube.kubectl("rollout", "status", "-n", shop.space, "deployment/churn", "--timeout=120s", timeout_s=130)
        reference = shop.wait_condition(contract.CONDITION_REFERENCE_VALID, "False", timeout_s=90)
        assert "churn-profile" in reference["message"]
        wait_for(
            "the sidecar's ConfigMap again",
            lambda: shop.kube.get("configmap", "churn-onguard", shop.space),
            timeout_s=60,
        )
    assert load.tally.failed == 0, load.tally


def test_a_quota_that_the_sidecars_do_not_fit_in_leaves_the_pods_unguarded(shop: Shop) -> None:
    hard = {"requests.memory": "140Mi", "pods": "10"}
    metadata = {"name": "tight", "namespace": shop.space}
    shop.kube.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    shop.guard()
    shop.release()
    shop.wait_served("1", timeout_s=150)
    assert not any(objects.is_injected(pod) for pod in shop.pods())
    told = shop.wait_condition(contract.CONDITION_INJECTED, "False", timeout_s=60)
    assert "quota" in told["message"].lower()
    time.sleep(1)
    assert shop.kube.list("events", shop.space)
