"""The webhook's certificate from cert-manager itself: issued, trusted by the API server's configuration, renewed."""

import base64
import contextlib
import ssl
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.chart_rendering import CHART, NAMESPACE
from tests.integration.apiserver import control_plane
from tests.toolchain import program

SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
WEBHOOK = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/onguard"
CERTIFICATES = f"/apis/cert-manager.io/v1/namespaces/{NAMESPACE}/certificates"
HOST = f"onguard-gate.{NAMESPACE}.svc"


@pytest.fixture
def plane():
    with control_plane.running({}) as server:
        server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for file in sorted((Path(program("cainjector")).parent / "cert-manager-crds").glob("crd-*.yaml")):
            crd = yaml.safe_load(file.read_text())
            del crd["metadata"]["labels"]  # they are a template of cert-manager's own chart
            server.apply(crd)
        wait_for("cert-manager's API", lambda: server.call("GET", CERTIFICATES)[0] == 200)
        with cert_manager(server):
            yield server


@contextlib.contextmanager
def cert_manager(server):
    common = ["--kubeconfig", str(control_plane.kubeconfig(server)), "--leader-elect=false"]
    with (
        running(server.folder, "controller", *common, "--metrics-listen-address=127.0.0.1:0"),
        running(server.folder, "cainjector", *common),
    ):
        yield


@contextlib.contextmanager
def running(folder, name, *options):
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([program(name), *options], stdout=log, stderr=log, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def wait_for(what, look, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {timeout_s} s")


def helm(server, *options):
    command = [program("helm"), "upgrade", "--install", "onguard", str(CHART), "-n", NAMESPACE, *options]
    config = ["--kubeconfig", str(control_plane.kubeconfig(server))]
    done = subprocess.run([*command, *config], capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr


def trusted(server):
    """What the API server trusts the gate by; nothing while cert-manager has not written it."""
    return base64.b64decode(server.must("GET", WEBHOOK)["webhooks"][0]["clientConfig"].get("caBundle", ""))


def served(server):
    """What the gates' pods mount."""
    status, secret = server.call("GET", f"{SECRETS}/onguard-webhook-tls")
    return {key: base64.b64decode(value) for key, value in secret["data"].items()} if status == 200 else {}


def verifies(authority, pair, folder):
    """A whole handshake, as the API server makes it with the gate."""
    (folder / "pair.pem").write_bytes(pair["tls.key"] + pair["tls.crt"])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(folder / "pair.pem")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cadata=authority.decode()).wrap_bio(back, there, server_hostname=HOST)
    server = server_side.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for end in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return client.version() is not None


@pytest.mark.timeout(240)
def test_cert_manager_issues_renews_and_is_trusted(plane, tmp_path):
    helm(plane, "--set=webhook.certificate.source=CertManager")
    first = wait_for("a certificate", lambda: served(plane).get("tls.crt") and served(plane))
    authority = wait_for("the injected authority", lambda: trusted(plane))
    names = x509.load_pem_x509_certificate(first["tls.crt"]).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert set(names.value.get_values_for_type(x509.DNSName)) == {HOST, f"{HOST}.cluster.local"}
    assert verifies(authority, first, tmp_path)

    helm(plane, "--set=webhook.certificate.source=CertManager", "--set=gate.replicas=3")
    assert (trusted(plane), served(plane)) == (authority, first), "an upgrade must keep both"

    # What cert-manager does when two thirds of the certificate's life are over.
    plane.must("DELETE", f"{SECRETS}/onguard-webhook-tls")
    renewed = wait_for("a renewed certificate", lambda: served(plane).get("tls.crt") and served(plane))
    assert renewed["tls.crt"] != first["tls.crt"]
    # Gates serve the old one until the kubelet has brought the new one: both are trusted all the while.
    assert load(trusted(plane)) == load(authority)
    assert verifies(authority, renewed, tmp_path)


def load(pem):
    return [certificate.public_bytes(Encoding.DER) for certificate in x509.load_pem_x509_certificates(pem)]
