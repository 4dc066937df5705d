"""etcd and kube-apiserver on loopback, for one test session. No controllers, no nodes."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.self_signed import write_certificate
from tests.toolchain import program

ADMIN = "admin-token-of-the-test"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Api:
    """The API server as one user sees it."""

    url: str
    folder: Path
    token: str = ADMIN

    def acting_as(self, token: str) -> "Api":
        return replace(self, token=token)

    def call(self, method, path, body=None, *, content_type="application/json", accept="application/json"):
        """Return ``(status, object)``."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type, "Accept": accept}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        context = ssl.create_default_context(cafile=str(self.folder / "tls.crt"))
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def must(self, method, path, body=None, **options):
        status, read = self.call(method, path, body, **options)
        assert status < 300, (method, path, status, read.get("message"))
        return read

    def apply(self, document):
        """Server-side apply of one manifest."""
        path = path_of(document) + f"/{document['metadata']['name']}?fieldManager=test&force=true"
        return self.must("PATCH", path, document, content_type="application/apply-patch+yaml")


def kubeconfig(api: Api) -> Path:
    """Write a kubeconfig for the user of ``api``."""
    cluster = {"server": api.url, "certificate-authority": str(api.folder / "tls.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": api.token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path = api.folder / f"kubeconfig-{api.token}"
    path.write_text(json.dumps(config))
    return path


_PLURALS = {"NetworkPolicy": "networkpolicies", "ValidatingAdmissionPolicy": "validatingadmissionpolicies"}
_CLUSTER_WIDE = {
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}


def path_of(document) -> str:
    """Path of the collection that a manifest belongs to."""
    version, kind = document["apiVersion"], document["kind"]
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    plural = _PLURALS.get(kind, kind.lower() + "s")
    if kind in _CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{document['metadata'].get('namespace', 'default')}/{plural}"


@contextlib.contextmanager
def running(users: dict[str, str]) -> Iterator[Api]:
    """
    Start both, wait until the API server is ready, stop both.

    Args:
        users: user name by token.
    """
    with tempfile.TemporaryDirectory(prefix="onguard-apiserver-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        client, peer, secure = _free_port(), _free_port(), _free_port()
        _write_keys(folder)
        write_certificate(folder)
        lines = [f'{ADMIN},admin,0,"system:masters"', *(f"{token},{user},{user}" for token, user in users.items())]
        (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
        stack.enter_context(_process(folder, "etcd", _etcd(folder, client, peer)))
        server = stack.enter_context(_process(folder, "kube-apiserver", _api_server(folder, client, secure)))
        api = Api(f"https://127.0.0.1:{secure}", folder)
        _wait_until_ready(api, server, folder / "kube-apiserver.log")
        yield api


def _etcd(folder, client, peer):
    return (
        "--data-dir",
        str(folder / "etcd"),
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    )


def _api_server(folder, client, secure):
    return (
        f"--etcd-servers=http://127.0.0.1:{client}",
        "--bind-address=127.0.0.1",
        f"--secure-port={secure}",
        f"--tls-cert-file={folder / 'tls.crt'}",
        f"--tls-private-key-file={folder / 'tls.key'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/24",
        "--service-account-issuer=https://onguard.test",
        f"--service-account-key-file={folder / 'sa.pub'}",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        "--endpoint-reconciler-type=none",
    )


def _write_keys(folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "sa.key").write_bytes(key.private_bytes(*form))
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "sa.pub").write_bytes(key.public_key().public_bytes(*public))


@contextlib.contextmanager
def _process(folder, name, options):
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([program(name), *options], stdout=log, stderr=log, cwd=folder, env=_quiet())
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _quiet():
    """Proxies of the host are not for loopback."""
    return {key: value for key, value in os.environ.items() if "proxy" not in key.lower()} | {"ETCD_NAME": "default"}


def _wait_until_ready(api, server, log):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            request = urllib.request.Request(api.url + "/readyz", headers={"Authorization": f"Bearer {ADMIN}"})
            context = ssl.create_default_context(cafile=str(api.folder / "tls.crt"))
            with urllib.request.urlopen(request, context=context, timeout=5) as response:
                if response.status == 200:
                    return
        time.sleep(0.2)
    raise AssertionError(f"kube-apiserver is not ready after {DEADLINE_S} s:\n{log.read_text()[-3000:]}")


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
