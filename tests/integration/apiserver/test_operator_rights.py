"""The operator as a process, with the rights that the chart gives it and no others."""

import contextlib
import json
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
                "containers": [{"name": "model", "image": "m:1", "ports": [{"name": "http", "containerPort": 80}]}],
                "volumes": [{"name": "settings", "configMap": {"name": "churn-settings"}}],
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
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"scale": "1"}}
    api.apply({**settings, "metadata": {"name": "churn-settings", "namespace": namespace}})
    target = api.apply({**DEPLOYMENT, "metadata": {"name": "churn", "namespace": namespace}})
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
    copy = wait_for("the copy of a good template's ConfigMap", lambda: _copy(api, namespace), operator)
    assert [owner["kind"] for owner in copy["metadata"]["ownerReferences"]] == ["ControllerRevision"]
    _hold_by_replica_set(api, target, copy)
    wait_for(
        "a second owner of the copy",
        lambda: len(_copy(api, namespace)["metadata"]["ownerReferences"]) == 2,
        operator,
    )
    text = operator.read_text()
    assert "403" not in text
    assert "orbidden" not in text
    assert "Traceback" not in text


def _copy(api, namespace):
    found = api.must("GET", f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    return next((item for item in found if "onguard.dev/copy-of" in item["metadata"].get("annotations", {})), None)


def _hold_by_replica_set(api, target, copy):
    """What the Deployment controller makes of a template that a rollback wrote."""
    name, namespace = copy["metadata"]["name"], copy["metadata"]["namespace"]
    template = target["spec"]["template"]
    note = {"onguard.dev/config-map-copies": json.dumps({name: "churn-settings"})}
    pointed = {**template["spec"], "volumes": [{"name": "settings", "configMap": {"name": name}}]}
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "churn", "uid": target["metadata"]["uid"]}
    replica_set = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": "churn-1",
            "namespace": namespace,
            "labels": LABELS,
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS, "annotations": note}, "spec": pointed},
        },
    }
    api.must("POST", f"/apis/apps/v1/namespaces/{namespace}/replicasets", replica_set)
    path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
    status, _ = api.call("PATCH", path, {"data": {"scale": "2"}}, content_type="application/merge-patch+json")
    assert status == 422, "a copy can not be changed"


def _conditions(api, mdeps):
    status = api.must("GET", f"{mdeps}/churn").get("status") or {}
    return {condition["type"]: condition for condition in status.get("conditions", ())}
