"""Whatever is wrong, the pod starts: each trouble gives an answer that lets it pass."""

import asyncio
import json
import ssl

import aiohttp
import pytest

from onguard_operator.gate import admission, certificates
from tests.integration.gate import rig
from tests.integration.gate.rig import MDEP
from tests.self_signed import write_certificate
from tests.unit.gate.pods import model, pod


def review(body=None, *, namespace="shop", dry_run=False, **changes):
    request = {
        "uid": "r-1",
        "operation": "CREATE",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": namespace,
        "object": pod() if body is None else body,
        "dryRun": dry_run,
        **changes,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def touched(reply):
    return [operation["path"] for operation in admission.operations_of(reply)]


async def test_a_guarded_pod_gets_its_sidecars(gate):
    status, reply = await gate.mutate(review())
    assert (status, reply["response"]["uid"], reply["response"]["allowed"]) == (200, "r-1", True)
    assert "/spec/initContainers" in touched(reply)
    assert await gate.metric('onguard_admissions_total{outcome="injected",reason=""}') == 1


async def test_a_pod_of_nobody_passes_untouched(gate):
    stranger = pod(metadata={"ownerReferences": []})
    _, reply = await gate.mutate(review(stranger))
    assert reply["response"] == {"uid": "r-1", "allowed": True}


async def test_a_refused_pod_carries_its_reason_and_tells_once(gate):
    for _ in range(5):
        _, reply = await gate.mutate(review(pod(hostNetwork=True)))
    assert touched(reply) == ["/metadata/annotations"]
    assert "HostNetwork" in reply["response"]["warnings"][0]
    await asyncio.sleep(0.1)
    (event,) = gate.api.events
    assert (event["reason"], event["involvedObject"]["uid"]) == ("HostNetwork", "u-1")
    assert await gate.metric('onguard_admissions_total{outcome="not_injected",reason="HostNetwork"}') == 5


async def test_a_dry_run_has_no_side_effect(gate):
    await gate.mutate(review(pod(hostNetwork=True), dry_run=True))
    await asyncio.sleep(0.1)
    assert gate.api.events == []


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_an_api_server_that_refuses_costs_the_sidecar_not_the_pod(gate, status):
    gate.api.status = status
    code, reply = await gate.mutate(review())
    assert code == 200
    assert reply["response"]["allowed"] is True
    assert "patch" not in reply["response"]
    assert "in trouble" in reply["response"]["warnings"][0]
    assert await gate.metric('onguard_admissions_total{outcome="trouble",reason="ApiServer"}') == 1


async def test_a_slow_api_server_is_not_waited_for_beyond_the_webhooks_timeout(gate):
    gate.api.delay_s = 10
    started = asyncio.get_running_loop().time()
    _, reply = await gate.mutate(review())
    assert asyncio.get_running_loop().time() - started < 2.8
    assert reply["response"]["allowed"] is True


async def test_a_recent_list_bridges_an_outage_of_the_api_server(gate):
    await gate.mutate(review())
    gate.api.status = 500
    gate.clock[0] += 30
    assert "/spec/initContainers" in touched((await gate.mutate(review()))[1])
    gate.clock[0] += 60
    assert "patch" not in (await gate.mutate(review()))[1]["response"]


async def test_a_roll_out_of_many_pods_asks_the_api_server_once(gate):
    answers = await asyncio.gather(*(gate.mutate(review()) for _ in range(20)))
    assert all("patch" in reply["response"] for _, reply in answers)
    assert len([path for _, path in gate.api.calls if path.endswith("/modeldeployments")]) == 1


@pytest.mark.parametrize(
    "spec",
    [
        {"targetRef": {"name": "churn"}, "objectives": {"errors": {"below": 7}}},
        {"targetRef": {"name": "churn"}, "traffic": {"ports": []}},
    ],
)
async def test_a_spec_that_cannot_be_read_is_named(gate, spec):
    gate.api.model_deployments = [{**MDEP, "spec": spec}]
    _, reply = await gate.mutate(review())
    assert "SpecInvalid" in reply["response"]["warnings"][0]


@pytest.mark.parametrize("broken", [{"spec": None}, {"metadata": {}}])
async def test_our_own_fault_costs_the_sidecar_not_the_pod(gate, broken, caplog):
    gate.api.model_deployments = [{**MDEP, **broken}]
    code, reply = await gate.mutate(review())
    assert (code, reply["response"]["allowed"]) == (200, True)
    assert await gate.metric('onguard_admissions_total{outcome="trouble",reason="Internal"}') == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).encode(),
        json.dumps(review(operation="UPDATE")).encode(),
        json.dumps(review(resource={"group": "apps", "version": "v1", "resource": "deployments"})).encode(),
        json.dumps(review(subResource="ephemeralcontainers")).encode(),
        json.dumps(review({"metadata": {}, "spec": {"containers": []}})).encode(),
        json.dumps(review(namespace="../../secrets")).encode(),
    ],
)
async def test_what_is_no_review_of_a_new_pod_is_a_plain_400(gate, data):
    status, text = await gate.mutate(data=data)
    assert (status, text) == (400, "expected an AdmissionReview for a pod")


async def test_a_body_over_three_mebibytes_is_not_read(gate):
    status, _ = await gate.mutate(data=b"x" * (3 * 1024 * 1024 + 1))
    assert status == 413


async def test_too_many_reviews_at_once_are_turned_away_not_queued(gate):
    gate.api.delay_s = 0.5
    answers = await asyncio.gather(*(gate.mutate(review(namespace=f"n{i}")) for i in range(80)))
    assert {status for status, _ in answers} == {200, 503}


async def test_a_suspended_image_is_not_injected(gate):
    gate.api.model_deployments = [{**MDEP, "status": {"suspendedImages": ["onguard/sidecar:1"]}}]
    _, reply = await gate.mutate(review())
    assert "InjectionSuspended" in reply["response"]["warnings"][0]


async def test_a_new_certificate_is_served_without_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "RELOAD_S", 0.05)
    expiry = "onguard_certificate_expiry_timestamp_seconds"
    async with rig.running(tmp_path) as gate:
        await gate.mutate(review())
        old = await gate.metric(expiry)
        write_certificate(tmp_path, days=300)
        async with asyncio.timeout(5):
            while await gate.metric(expiry) == old:  # noqa: ASYNC110 - the other side is a server
                await asyncio.sleep(0.02)
        # trust() now knows the new certificate only.
        status, _ = await gate.mutate(review())
        assert (status, await gate.metric(expiry) - old) == (200, 270 * 86400)


def test_a_certificate_that_cannot_be_used_leaves_the_old_one_in_force(tmp_path):
    write_certificate(tmp_path)
    certificate = certificates.Certificate(tmp_path)
    assert certificate.load()
    expires_at_s = certificate.expires_at_s
    (tmp_path / "tls.crt").write_text("half of a cert")
    certificate.reload()
    assert certificate.expires_at_s == expires_at_s
    write_certificate(tmp_path, days=60)
    (tmp_path / "tls.key").unlink()
    certificate.reload()
    assert certificate.expires_at_s == expires_at_s


async def test_tls_before_1_2_is_refused(gate):
    context = gate.trust()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(aiohttp.ClientConnectorError):
        await gate.session.post(f"https://127.0.0.1:{gate.ports.webhook}/mutate", json=review(), ssl=context)


async def test_two_model_deployments_on_one_target_the_oldest_guards(gate):
    younger = {
        **MDEP,
        "metadata": {**MDEP["metadata"], "name": "a", "uid": "u-2", "creationTimestamp": "2026-11-25T01:00:00Z"},
    }
    gate.api.model_deployments = [younger, MDEP]
    _, reply = await gate.mutate(review(pod(containers=[model()])))
    labels = [op["value"] for op in admission.operations_of(reply) if "guarded-by" in op["path"]]
    assert labels == ["churn"]


async def test_an_old_cluster_gets_no_sidecars(tmp_path):
    async with rig.running(tmp_path, minor="31") as gate:
        _, reply = await gate.mutate(review())
    assert "ClusterTooOld" in reply["response"]["warnings"][0]
