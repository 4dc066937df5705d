"""The gate behind a real API server: the chart's own webhook configuration and rights."""

import asyncio
import base64
import contextlib
import copy
import threading
import time
from datetime import UTC, datetime

from onguard import contract
from onguard_operator.gate import server
from onguard_operator.gate.events import Clocks
from onguard_operator.gate.settings import GateSettings
from tests.chart_rendering import of_kind, render
from tests.integration.apiserver.test_crds_apiserver import MDEP, changed
from tests.self_signed import write_certificate

TOKEN = "alertmanager-token-of-the-test"
RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}


@contextlib.contextmanager
def serving_in_a_thread(settings):
    """The gate in a loop of its own, since the API server calls back while a test waits for its answer."""
    loop, started, found = asyncio.new_event_loop(), threading.Event(), {}
    stop = asyncio.Event()

    async def serve():
        clocks = Clocks(now=lambda: datetime.now(UTC), monotonic=time.monotonic)
        async with server.serving(settings, clocks) as ports:
            found["ports"] = ports
            started.set()
            await stop.wait()
        await asyncio.sleep(0.5)  # TLS connections of the API server end with a handshake of their own

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield found["ports"]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(15)
        loop.close()


def configure(api, port, authority):
    (configuration,) = copy.deepcopy(of_kind(render(), "MutatingWebhookConfiguration"))
    bundle = base64.b64encode(authority).decode()
    configuration["webhooks"][0]["clientConfig"] = {"url": f"https://127.0.0.1:{port}/mutate", "caBundle": bundle}
    api.apply(configuration)
    space = {"name": "probe", "labels": {"onguard.dev/inject": "enabled"}}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": space})
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "probe"}})
    api.must("POST", "/apis/onguard.dev/v1alpha1/namespaces/probe/modeldeployments", MDEP)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status, read = api.call("POST", "/api/v1/namespaces/probe/pods?dryRun=All", pod("probe"))
        if status == 201 and contract.ANNOTATION_INJECTION in read["metadata"].get("annotations", {}):
            return
        time.sleep(0.2)
    raise AssertionError(f"the webhook is not in force: {read}")


def pod(namespace, name="churn-5d4f-a", **changes):
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "churn-5d4f", "uid": "rs-1", "controller": True}
    container = {
        "name": "model",
        "image": "churn:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
        "securityContext": RESTRICTED,
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    }
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"pod-template-hash": "5d4f"},
            "ownerReferences": [owner],
        },
        "spec": {"containers": [container]},
    }
    for path, value in changes.items():
        made = changed(made, path.replace("__", "."), value)
    return made


@contextlib.contextmanager
def running_gate(api, folder):
    """Serve the gate and let the API server call it."""
    authority = write_certificate(folder)
    (folder / "tokens").write_text(TOKEN + "\n")
    (folder / "token").write_text("token-of-the-gate")
    (folder / "ca.crt").write_bytes((api.folder / "tls.crt").read_bytes())
    settings = GateSettings(
        api_server=api.url,
        account_dir=folder,
        certificate_dir=folder,
        tokens_file=folder / "tokens",
        pod_name="gate-0",
        sidecar_image="onguard/sidecar:1",
        pull_policy="IfNotPresent",
        pull_secrets=(),
        wire_resources=RESOURCES,
        analyst_resources=RESOURCES,
        drain_sleep_s=5,
        scrape_annotations=True,
        listen_host="127.0.0.1",
        ports=(0, 0, 0),
    )
    with serving_in_a_thread(settings) as ports:
        configure(api, ports.webhook, authority)
        yield ports
