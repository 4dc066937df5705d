"""The local cluster does what the tests of OnGuard take for granted."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.stage.kube import CLUSTER, Kube, Object, StageError, cluster_up, our_cluster, wait_for

SPACE: Final = "cluster-check"
IMAGE: Final = "localhost/onguard-base:dev"
SIDECAR_PORT: Final = 15080
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def cluster(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(CLUSTER), *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def kube() -> Kube:
    cluster_up()
    return our_cluster()


@pytest.fixture(scope="module", autouse=True)
def space(kube: Kube) -> Iterator[str]:
    kube.kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=true")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}})
    yield SPACE
    kube.kubectl("delete", "namespace", SPACE, "--wait=false")


def answering(port: int, word: str) -> list[str]:
    """A server that answers every request with one word, and that ends as soon as it is asked to."""
    code = f"""
import http.server, signal
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "{len(word)}")
        self.end_headers()
        self.wfile.write(b"{word}")
    def log_message(self, *a): pass
signal.signal(signal.SIGTERM, lambda *a: exit(0))
http.server.ThreadingHTTPServer(("0.0.0.0", {port}), Handler).serve_forever()
"""
    return ["python3", "-c", code]


def container(name: str, command: list[str], **fields: Any) -> Object:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
    }
    return {
        "name": name,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": command,
        "securityContext": {**security, "seccompProfile": {"type": "RuntimeDefault"}},
        **fields,
    }


def pod(name: str, *containers: Object, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": SPACE, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), **spec}}


def wait_phase(kube: Kube, name: str, phase: str) -> Object:
    def look() -> Object | None:
        found = kube.get("pod", name, SPACE)
        return found if found and found["status"].get("phase") == phase else None

    return wait_for(f"pod {name} {phase}", look, timeout_s=60, every_s=0.5)


def test_starting_it_again_changes_nothing(kube: Kube) -> None:
    before = kube.get("namespace", "kube-system")
    started = time.monotonic()
    again = cluster("up")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - started < 60
    assert kube.get("namespace", "kube-system") == before


def test_the_node_is_ready_and_new_enough(kube: Kube) -> None:
    nodes = json.loads(kube.kubectl("get", "nodes", "-o", "json"))["items"]
    assert len(nodes) == 1
    ready = [one["status"] for one in nodes[0]["status"]["conditions"] if one["type"] == "Ready"]
    assert ready == ["True"]
    version = nodes[0]["status"]["nodeInfo"]["kubeletVersion"].removeprefix("v").split(".")
    assert (int(version[0]), int(version[1])) >= (1, 32)


def test_a_restricted_namespace_refuses_a_pod_without_a_security_context(kube: Kube) -> None:
    naked = container("main", ["python3"])
    del naked["securityContext"]
    with pytest.raises(StageError, match="violates PodSecurity"):
        kube.apply(pod("naked", naked))


def test_a_named_port_of_a_service_leads_to_the_native_sidecar(kube: Kube) -> None:
    sidecar = container("sidecar", answering(SIDECAR_PORT, "sidecar"), restartPolicy="Always")
    sidecar["ports"] = [{"name": "http", "containerPort": SIDECAR_PORT}]
    model = container("model", answering(8080, "model"), ports=[{"name": "og-8080", "containerPort": 8080}])
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "guarded", "namespace": SPACE}}
    kube.apply(
        pod("guarded", model, initContainers=[sidecar]),
        {**service, "spec": {"selector": {"app": "guarded"}, "ports": ports}},
    )
    wait_phase(kube, "guarded", "Running")
    found = kube.get("service", "guarded", SPACE)
    assert found is not None
    address = f"http://{found['spec']['clusterIP']}/"
    assert wait_for("answer over the Service, from the host", lambda: fetch(address), timeout_s=30) == "sidecar"


def test_a_pod_finds_a_service_by_name(kube: Kube) -> None:
    address = f"http://guarded.{SPACE}.svc.cluster.local/"
    code = f"import urllib.request as u; print(u.urlopen('{address}', timeout=5).read())"
    kube.apply(pod("client", container("main", ["python3", "-c", code]), restartPolicy="OnFailure"))
    wait_phase(kube, "client", "Succeeded")
    assert "sidecar" in kube.kubectl("logs", "-n", SPACE, "client")


def test_a_command_can_be_executed_in_a_container(kube: Kube) -> None:
    answer = kube.kubectl("exec", "-n", SPACE, "guarded", "-c", "model", "--", "python3", "-c", "print(6 * 7)")
    assert answer.strip() == "42"


def test_a_pod_reaches_nothing_outside(kube: Kube) -> None:
    code = """
import socket
for address in (("192.0.2.1", 80), ("8.8.8.8", 53)):
    try:
        socket.create_connection(address, timeout=2)
    except OSError as error:
        print("refused", error)
    else:
        raise SystemExit("connected to %s:%s" % address)
"""
    kube.apply(pod("outward", container("main", ["python3", "-c", code]), restartPolicy="Never"))
    wait_phase(kube, "outward", "Succeeded")


def test_the_metrics_api_knows_each_container(kube: Kube) -> None:
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{SPACE}/pods/guarded"

    def look() -> set[str] | None:
        try:
            answer = json.loads(kube.kubectl("get", "--raw", path))
        except StageError:
            return None  # the first scrape comes some 20 s after the pod
        return {one["name"] for one in answer["containers"] if one["usage"]["memory"] != "0"}

    assert wait_for("metrics of the pod", look, timeout_s=90) >= {"model", "sidecar"}


def test_a_pod_ends_within_its_grace_period(kube: Kube) -> None:
    started = time.monotonic()
    kube.kubectl("delete", "pod", "-n", SPACE, "guarded", "--wait=true")
    assert time.monotonic() - started < 15


def fetch(address: str) -> str | None:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return str(answer.read().decode())
    except OSError:
        return None
