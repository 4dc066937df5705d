"""The gate as the API server uses it: the chart's own webhook configuration, its own rights, real admission."""

import time

import pytest

from onguard import contract
from tests.integration.apiserver.served_gate import pod
from tests.integration.apiserver.test_crds_apiserver import MDEP


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
    (model,) = body["spec"]["containers"]
    if {port.get("name") for port in model["ports"]} != {"http"}:
        del model["readinessProbe"]  # its port would have no name to mean
    if "hostNetwork" in body["spec"]:
        model["ports"][0]["hostPort"] = 8080
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
    body = pod(guarded, metadata__annotations={"onguard.dev/inject": "disabled"})
    status, read = create(api, guarded, body)
    assert (status, injection_of(read)) == (201, "OptedOut")
    event = _event(api, guarded)
    assert (event["reason"], event["involvedObject"]["name"], event["type"]) == ("OptedOut", "churn", "Normal")
    assert event["message"].startswith("a pod (churn-5d4f-a) starts without a sidecar: ")


def test_a_dry_run_leaves_no_event(api, guarded):
    body = pod(guarded, metadata__annotations={"onguard.dev/inject": "disabled"})
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
    plain = pod(guarded, metadata__annotations={"onguard.dev/inject": "disabled"})
    create(api, guarded, plain)
    path = f"/api/v1/namespaces/{guarded}/pods/churn-5d4f-a"
    read = api.must(
        "PATCH",
        path,
        {"metadata": {"annotations": {"onguard.dev/inject": None}}},
        content_type="application/merge-patch+json",
    )
    assert injection_of(read) == "OptedOut"


def test_a_quota_counts_the_sidecars_and_admits_the_pod(api, guarded):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": guarded}}
    api.apply({**quota, "spec": {"hard": {"requests.memory": "4Gi", "limits.memory": "4Gi"}}})
    status, read = create(api, guarded, pod(guarded))
    assert (status, injection_of(read)) == (201, contract.INJECTION_DONE)
