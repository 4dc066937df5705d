"""The gate as the API server uses it: the chart's own webhook configuration, its own rights, real admission."""

import asyncio
import base64
import contextlib
import copy
import threading
import time
from datetime import UTC, datetime

import pytest

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


@pytest.fixture(scope="module")
def gate(api, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
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
        _configure(api, ports.webhook, authority)
        yield ports


def _configure(api, port, authority):
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
        "metadata": {"name": name, "namespace": namespace, "labels": {"pod-template-hash": "5d4f"}, "ownerReferences": [owner]},
        "spec": {"containers": [container]},
    }
    for path, value in changes.items():
        made = changed(made, path.replace("__", "."), value)
    return made


def create(api, namespace, body, query=""):
    return api.call("POST", f"/api/v1/namespaces/{namespace}/pods{query}", body)


@pytest.fixture
def guarded(api, gate, namespace):
    api.must("POST", f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/modeldeployments", MDEP)
    return namespace


def injection_of(read):
    return read["metadata"].get("annotations", {}).get(contract.ANNOTATION_INJECTION)


def test_an_injected_pod_is_admitted_under_pod_security_restricted(api, guarded):
    status, read = create(api, guarded, pod(guarded))
    assert status == 201, read
    names = [c["name"] for c in read["spec"]["initContainers"]]
    assert names == [contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST]
    assert injection_of(read) == contract.INJECTION_DONE
    assert read["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] == 8080
    assert read["spec"]["shareProcessNamespace"] is True


def test_no_token_of_the_service_account_reaches_the_sidecars(api, guarded):
    read = create(api, guarded, pod(guarded))[1]
    where = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounted = {
        c["name"]: next(m["name"] for m in c["volumeMounts"] if m["mountPath"] == where)
        for c in [*read["spec"]["initContainers"], *read["spec"]["containers"]]
    }
    assert mounted["model"].startswith("kube-api-access")
    assert mounted[contract.CONTAINER_WIRE] == mounted[contract.CONTAINER_ANALYST] == "onguard-no-token"


def test_a_guarded_pod_that_is_created_again_is_not_injected_twice(api, guarded):
    read = create(api, guarded, pod(guarded))[1]
    again = {"apiVersion": "v1", "kind": "Pod", "metadata": {**read["metadata"], "name": "copy"}, "spec": read["spec"]}
    for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
        again["metadata"].pop(key, None)
    status, twice = create(api, guarded, again)
    assert status == 201, twice
    assert len(twice["spec"]["initContainers"]) == 2


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        ({"onguard.dev/inject": "enabled"}, {}, "injected"),
        ({"onguard.dev/inject": "disabled"}, {}, None),
        ({}, {}, None),
        ({"onguard.dev/inject": "enabled"}, {"metadata__annotations": {"onguard.dev/inject": "disabled"}}, "OptedOut"),
        ({"onguard.dev/inject": "enabled"}, {"spec__hostNetwork": True}, "HostNetwork"),
        ({"onguard.dev/inject": "enabled"}, {"spec__containers__0__ports": []}, "PortNotFound"),
        ({"onguard.dev/inject": "enabled"}, {"spec__containers__0__ports": [{"containerPort": 80}]}, "PortUnnamed"),
        (
            {"onguard.dev/inject": "enabled"},
            {"spec__containers__0__ports": [{"name": "http", "containerPort": 15080}]},
            "PortClash",
        ),
        ({"onguard.dev/inject": "enabled"}, {"metadata__ownerReferences": []}, None),
    ],
)
def test_namespace_label_annotation_network_and_port_decide(api, guarded, labels, changes, expected):
    body = pod(guarded, **changes)
    if not body["spec"]["containers"][0]["ports"]:
        body["spec"]["containers"][0].pop("readinessProbe")
    elif body["spec"]["containers"][0]["ports"][0].get("name") is None or "hostNetwork" in body["spec"]:
        body["spec"]["containers"][0].pop("readinessProbe")
    if "hostNetwork" in body["spec"]:
        body["spec"]["containers"][0]["ports"][0]["hostPort"] = 8080
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": guarded, "labels": labels}}
    api.apply(space)
    read = _after_the_label_has_spread(api, guarded, body, expected)
    assert injection_of(read) == expected
    assert len(read["spec"].get("initContainers", ())) == (2 if expected == "injected" else 0)


def _after_the_label_has_spread(api, namespace, body, expected):
    """The API server's admission learns a namespace's labels from a watch, a moment later."""
    deadline = time.monotonic() + 5
    while True:
        status, read = create(api, namespace, body, "?dryRun=All")
        assert status == 201, read
        if injection_of(read) == expected or time.monotonic() > deadline:
            return read
        time.sleep(0.1)


def test_a_refused_pod_starts_with_a_warning_and_an_event(api, guarded):
    body = pod(guarded, **{"metadata__annotations": {"onguard.dev/inject": "disabled"}})
    status, read = create(api, guarded, body)
    assert (status, injection_of(read)) == (201, "OptedOut")
    event = _event(api, guarded)
    assert (event["reason"], event["involvedObject"]["name"], event["type"]) == ("OptedOut", "churn", "Normal")
    assert event["message"].startswith("a pod (churn-5d4f-a) starts without a sidecar: ")


def test_a_dry_run_leaves_no_event(api, guarded):
    body = pod(guarded, **{"metadata__annotations": {"onguard.dev/inject": "disabled"}})
    assert injection_of(create(api, guarded, body, "?dryRun=All")[1]) == "OptedOut"
    time.sleep(0.3)
    assert api.must("GET", f"/api/v1/namespaces/{guarded}/events")["items"] == []


def _event(api, namespace):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        items = api.must("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        if items:
            return items[0]
        time.sleep(0.1)
    raise AssertionError("no Event")


def test_neither_an_update_nor_an_ephemeral_container_passes_the_gate(api, guarded):
    plain = pod(guarded, **{"metadata__annotations": {"onguard.dev/inject": "disabled"}})
    create(api, guarded, plain)
    path = f"/api/v1/namespaces/{guarded}/pods/churn-5d4f-a"
    read = api.must("PATCH", path, {"metadata": {"annotations": {"onguard.dev/inject": None}}}, content_type="application/merge-patch+json")
    assert injection_of(read) == "OptedOut"


def test_a_quota_counts_the_sidecars_and_admits_the_pod(api, guarded):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": guarded}}
    api.apply({**quota, "spec": {"hard": {"requests.memory": "4Gi", "limits.memory": "4Gi"}}})
    status, read = create(api, guarded, pod(guarded))
    assert (status, injection_of(read)) == (201, contract.INJECTION_DONE)
