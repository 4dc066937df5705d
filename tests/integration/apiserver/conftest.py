import itertools
import time

import pytest

from tests.chart_rendering import NAMESPACE, render
from tests.integration.apiserver import control_plane, served_gate

USERS = {
    "token-of-the-gate": f"system:serviceaccount:{NAMESPACE}:onguard-gate",
    "token-of-the-operator": f"system:serviceaccount:{NAMESPACE}:onguard-operator",
    "token-of-ann": "ann",
    "token-of-bob": "bob",
}
WANTED = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def api():
    """A real API server with the chart's CRDs, rights and policies."""
    with control_plane.running(USERS) as server:
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for document in render():
            if document["kind"] in WANTED:
                server.apply(document)
        _wait_for_kinds(server)
        _wait_for_policies(server)
        yield server


@pytest.fixture(scope="session")
def gate(api, tmp_path_factory):
    """The gate's ports, with the webhook configuration in force."""
    with served_gate.running_gate(api, tmp_path_factory.mktemp("gate")) as ports:
        yield ports


@pytest.fixture
def namespace(api):
    """A namespace of its own for each test, guarded, under Pod Security ``restricted``."""
    name = f"shop-{next(_numbers)}"
    labels = {"onguard.dev/inject": "enabled", "pod-security.kubernetes.io/enforce": "restricted"}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    # No controller makes it here, and without it no pod is admitted.
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}})
    return name


def _wait_for_kinds(server):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answers = [
            server.call("GET", f"/apis/onguard.dev/v1alpha1/{kind}")[0] for kind in ("modeldeployments", "decisions")
        ]
        if answers == [200, 200]:
            return
        time.sleep(0.1)
    raise AssertionError("the CRDs are not served")


def _wait_for_policies(server):
    """Policies come into force a moment after they are written: try what each forbids until it is forbidden."""
    name = {"name": "probe", "annotations": {"onguard.dev/approved-by": "nobody"}}
    spec = {
        "modelDeployment": {"name": "a", "uid": "b"},
        "cause": "unknown",
        "action": "Hold",
        "mode": "Off",
        "decidedAt": "2026-11-25T02:00:00Z",
    }
    decision = {"apiVersion": "onguard.dev/v1alpha1", "kind": "Decision", "metadata": name, "spec": spec}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}}
    operator = server.acting_as("token-of-the-operator")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answers = (
            server.call("POST", "/apis/onguard.dev/v1alpha1/namespaces/default/decisions?dryRun=All", decision)[0],
            operator.call("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", config)[0],
        )
        if answers == (403, 403):
            return
        time.sleep(0.1)
    raise AssertionError(f"the admission policies are not in force: {answers}")
