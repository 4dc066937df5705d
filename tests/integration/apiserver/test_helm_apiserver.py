"""Install, upgrade and uninstall with Helm at an API server without controllers: what is made, kept and removed."""

import base64
import subprocess

import pytest
from cryptography import x509

from tests.chart_rendering import CHART, NAMESPACE
from tests.integration.apiserver import control_plane
from tests.toolchain import program

MERGE = "application/merge-patch+json"
SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@pytest.fixture(scope="module")
def plane():
    """A control plane of its own: Helm takes over nothing that somebody else has made."""
    with control_plane.running({}) as server:
        space = {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": space})
        yield server


def helm(server, *command):
    options = ["--kubeconfig", str(control_plane.kubeconfig(server)), "-n", NAMESPACE]
    done = subprocess.run(
        [program("helm"), *command, *options], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(server, *options):
    return helm(server, "upgrade", "--install", "onguard", str(CHART), *options)


def data(server, name):
    return server.must("GET", f"{SECRETS}/onguard-{name}")["data"]


def bundle(server):
    webhook = server.must("GET", f"{WEBHOOKS}/onguard")["webhooks"][0]
    return x509.load_pem_x509_certificates(base64.b64decode(webhook["clientConfig"]["caBundle"]))


@pytest.mark.timeout(240)
def test_install_upgrade_renew_and_uninstall(plane):
    notes = install(plane)
    assert "kubectl get mdep,dec -A" in notes
    first = {name: data(plane, name) for name in ("webhook-tls", "counts-key", "alerts-token")}
    assert len(base64.b64decode(first["counts-key"]["key"])) == 64

    _pods_are_admitted_under_restricted(plane)

    install(plane, "--set=gate.replicas=3")
    assert {name: data(plane, name) for name in first} == first, "an upgrade must keep keys, tokens and certificate"
    assert plane.must("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/onguard-gate")["spec"]["replicas"] == 3
    old = bundle(plane)
    assert len(old) == 1

    past = {"metadata": {"annotations": {"onguard.dev/renew-from": "2020-01-01"}}}
    plane.must("PATCH", f"{SECRETS}/onguard-webhook-tls", past, content_type=MERGE)
    install(plane)
    renewed = data(plane, "webhook-tls")
    assert renewed["tls.crt"] != first["webhook-tls"]["tls.crt"]
    assert data(plane, "alerts-token") == first["alerts-token"]
    # Gates serve the old certificate until the kubelet has brought the new one.
    assert len(bundle(plane)) == 2
    assert old[0] in bundle(plane)
    install(plane)
    assert data(plane, "webhook-tls") == renewed

    mdep = {"apiVersion": "onguard.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "churn"}}
    mdeps = "/apis/onguard.dev/v1alpha1/namespaces/default/modeldeployments"
    plane.must("POST", mdeps, {**mdep, "spec": {"targetRef": {"name": "churn"}}})
    helm(plane, "uninstall", "onguard")
    assert plane.call("GET", f"{WEBHOOKS}/onguard")[0] == 404
    assert [m["metadata"]["name"] for m in plane.must("GET", mdeps)["items"]] == ["churn"]
    # Nothing holds a ModelDeployment or its CRD back: no finalizer, no controller needed.
    plane.must("DELETE", f"{mdeps}/churn")
    assert plane.must("GET", mdeps)["items"] == []


def _pods_are_admitted_under_restricted(server):
    for deployment in server.must("GET", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments")["items"]:
        template = deployment["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            **template,
            "metadata": {**template["metadata"], "generateName": "p-"},
        }
        status, read = server.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
        assert status == 201, read
