"""Alerts of Alertmanager as Decisions in a real API server, with the gate's own rights."""

import concurrent.futures
import json
import time
import urllib.error
import urllib.request

import pytest

from tests.integration.apiserver.served_gate import TOKEN
from tests.integration.apiserver.test_crds_apiserver import MDEP

FIRING = {
    "status": "firing",
    "labels": {"alertname": "ChurnConversionDrop", "model": "churn"},
    "annotations": {"summary": "PAYLOAD-OF-THE-RULE"},
    "startsAt": "2026-11-25T01:00:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "0011223344556677",
}


def deliver(ports, *alerts, token=TOKEN):
    body = {
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "og",
        "alerts": alerts,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{ports.alerts}/alerts",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, {}


def in_namespace(alert, namespace, **changes):
    return {**alert, **changes, "labels": {**alert["labels"], "namespace": namespace}}


@pytest.fixture
def shop(api, gate, namespace):
    path = f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/modeldeployments"
    api.must("POST", path, MDEP)
    # The gate asks the API server's cache, which on a busy machine lags behind a write.
    while not api.must("GET", f"{path}?resourceVersion=0")["items"]:
        time.sleep(0.05)
    return namespace


def decisions(api, namespace):
    return api.must("GET", f"/apis/onguard.dev/v1alpha1/namespaces/{namespace}/decisions")["items"]


def test_a_firing_alert_becomes_one_requested_decision(api, gate, shop):
    assert deliver(gate, in_namespace(FIRING, shop)) == (200, {"stored": 1, "received": 1})
    (decision,) = decisions(api, shop)
    uid = api.must("GET", f"/apis/onguard.dev/v1alpha1/namespaces/{shop}/modeldeployments/churn")["metadata"]["uid"]
    assert decision["status"]["phase"] == "Requested"
    assert decision["spec"] | {"decidedAt": ""} == {
        "modelDeployment": {"name": "churn", "uid": uid},
        "cause": "alert",
        "action": "Rollback",
        "mode": "Automatic",
        "objective": "alert",
        "control": "none",
        "message": "alert ChurnConversionDrop has been firing since 2026-11-25T01:00:00Z and asks for rollback",
        "trigger": {
            "alert": "ChurnConversionDrop",
            "fingerprint": "0011223344556677",
            "startsAt": "2026-11-25T01:00:00Z",
        },
        "decidedAt": "",
    }
    assert decision["metadata"]["ownerReferences"][0]["uid"] == uid
    assert "PAYLOAD-OF-THE-RULE" not in json.dumps(decision)


def test_fifty_deliveries_of_two_peers_are_one_decision(api, gate, shop):
    alert = in_namespace(FIRING, shop)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [each.result() for each in [pool.submit(deliver, gate, alert) for _ in range(50)]]
    assert {status for status, _ in answers} == {200}
    assert sum(read["stored"] for _, read in answers) == 1
    assert [d["status"]["phase"] for d in decisions(api, shop)] == ["Requested"]


def test_a_new_start_is_a_new_decision_and_a_taken_one_is_left_alone(api, gate, shop):
    deliver(gate, in_namespace(FIRING, shop))
    (first,) = decisions(api, shop)
    path = f"/apis/onguard.dev/v1alpha1/namespaces/{shop}/decisions/{first['metadata']['name']}/status"
    api.must("PATCH", path, {"status": {"phase": "Succeeded"}}, content_type="application/merge-patch+json")
    deliver(gate, in_namespace(FIRING, shop))
    assert [d["status"]["phase"] for d in decisions(api, shop)] == ["Succeeded"]
    deliver(gate, in_namespace(FIRING, shop, startsAt="2026-11-25T01:30:00Z"))
    assert sorted(d["status"]["phase"] for d in decisions(api, shop)) == ["Requested", "Succeeded"]


@pytest.mark.parametrize(
    "change",
    [
        {"status": "resolved"},
        {"labels": {"alertname": "Other", "model": "churn"}},
        {"labels": {"alertname": "ChurnConversionDrop", "model": "unknown"}},
        {"labels": {"alertname": "ChurnConversionDrop"}},
        {"startsAt": "2999-01-01T00:00:00Z"},
    ],
)
def test_what_is_not_for_us_is_answered_with_200_and_stores_nothing(api, gate, shop, change):
    status, read = deliver(gate, in_namespace({**FIRING, **change}, shop))
    assert (status, read["stored"]) == (200, 0)
    assert decisions(api, shop) == []


def test_a_wrong_token_stores_nothing(api, gate, shop):
    assert deliver(gate, in_namespace(FIRING, shop), token="alertmanager-token-of-another")[0] == 401
    assert decisions(api, shop) == []
