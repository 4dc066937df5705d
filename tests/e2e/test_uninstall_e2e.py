"""Taking OnGuard away hangs on nothing and leaves the models serving. Runs last."""

import time

import pytest

from tests.stage import chart, objects
from tests.stage.kube import ROOT, wait_for
from tests.stage.shop import Shop

CRDS = ("modeldeployments.onguard.dev", "decisions.onguard.dev")


@pytest.mark.alone
def test_helm_uninstall_and_deleting_the_crds_leave_the_models_serving(shop: Shop, installed: chart.Release) -> None:
    kube = shop.kube
    shop.stand()
    with shop.load(rate=30) as load:
        time.sleep(5)
        kube.run("helm", "uninstall", chart.RELEASE, "-n", chart.NAMESPACE, "--wait", "--timeout", "90s", timeout_s=100)
        assert kube.get("crd", CRDS[0]), "the CRDs, and with them the records, must survive an uninstall"
        assert shop.model_deployment()
        kube.kubectl("delete", "crd", *CRDS, "--wait=true", "--timeout=60s", timeout_s=70)
        kube.kubectl("rollout", "restart", "-n", shop.space, "deployment/churn")
        kube.kubectl("rollout", "status", "-n", shop.space, "deployment/churn", "--timeout=120s", timeout_s=130)
        time.sleep(5)
    assert load.tally.failed == 0, load.tally
    assert load.tally.sent > 0
    wait_for("no sidecar", lambda: not any(map(objects.is_injected, shop.pods())), timeout_s=90)
    kube.kubectl("delete", "namespace", shop.space, "--wait=true", "--timeout=90s", timeout_s=100)
    wait_for("the namespace to go", lambda: kube.get("namespace", shop.space) is None, timeout_s=30)
    assert (ROOT / chart.CHART).is_dir()
