"""The operator as a process, with the rights that the chart gives it and no others."""

import contextlib
import os
import socket
import subprocess
import sys
import time

import pytest

from tests.chart_rendering import NAMESPACE
from tests.integration.apiserver import control_plane
from tests.integration.apiserver.test_crds_apiserver import MDEP

LABELS = {"app": "churn"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "spec": {
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {
                "containers": [{"name": "model", "image": "m:1", "ports": [{"name": "http", "containerPort": 80}]}]
            },
        },
    },
}


@pytest.fixture
def operator(api, tmp_path):
    """A running operator; yields its log."""
    (tmp_path / "key").write_text("k" * 32)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{key: value for key, value in os.environ.items() if "proxy" not in key.lower()},
        "KUBECONFIG": str(control_plane.kubeconfig(api.acting_as("token-of-the-operator"))),
        "ONGUARD_OPERATOR_NAMESPACE": NAMESPACE,
        "ONGUARD_POD_NAME": "operator-0",
        "ONGUARD_SIDECAR_IMAGE": "onguard/sidecar:1",
        "ONGUARD_COUNTS_KEY_FILE": str(tmp_path / "key"),
        "ONGUARD_METRICS_PORT": str(port),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "onguard_operator"], env=environment, stdout=output, stderr=output
        )
        try:
            yield log
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(25)
            process.kill()
            process.wait()


def wait_for(what, read, log):
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        found = read()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not seen: {what}\n{log.read_text()[-4000:]}")


def test_the_operator_works_with_the_rights_that_it_is_given(api, namespace, operator):
    api.apply({**DEPLOYMENT, "metadata": {"name": "churn", "namespace": namespace}})
    mdeps = f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/modeldeployments"
    api.must("POST", mdeps, MDEP)
    conditions = wait_for("conditions", lambda: _conditions(api, mdeps), operator)
    assert conditions["TargetFound"]["status"] == "True"
    assert conditions["ActionsAllowed"]["status"] == "False"
    config = f"/api/v1/namespaces/{namespace}/configmaps/churn-onguard"
    made = wait_for("the sidecars' configuration", lambda: api.call("GET", config)[1].get("data"), operator)
    assert set(made) == {"sidecar.json", "wire.conf"}

    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "onguard-actor", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "onguard-actor"},
        "subjects": [{"kind": "ServiceAccount", "name": "onguard-operator", "namespace": NAMESPACE}],
    }
    api.apply(binding)
    # Changes that reach no watched object are seen at the next visit; an edit makes it come now.
    touch = {"metadata": {"labels": {"touched": "yes"}}}
    api.must("PATCH", f"{mdeps}/churn", touch, content_type="application/merge-patch+json")
    wait_for(
        "the right to act", lambda: _conditions(api, mdeps).get("ActionsAllowed", {}).get("status") == "True", operator
    )
    text = operator.read_text()
    assert "403" not in text
    assert "orbidden" not in text
    assert "Traceback" not in text


def _conditions(api, mdeps):
    status = api.must("GET", f"{mdeps}/churn").get("status") or {}
    return {condition["type"]: condition for condition in status.get("conditions", ())}
