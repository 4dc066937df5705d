import asyncio
import copy
import gzip
import json

import pytest

from tests.integration.gate.rig import TOKEN

DELIVERY = {
    "version": "4",
    "status": "firing",
    "truncatedAlerts": 0,
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Drop", "namespace": "shop", "model": "churn"},
            "startsAt": "2026-11-25T01:00:00Z",
            "fingerprint": "00112233",
        }
    ],
}


def delivery(**changes):
    made = copy.deepcopy(DELIVERY)
    made["alerts"][0].update(changes)
    return made


def outcome(name):
    return f'onguard_alerts_received_total{{outcome="{name}"}}'


async def test_an_alert_is_stored_before_it_is_answered(gate):
    assert await gate.alert(DELIVERY) == 200
    (stored,) = gate.api.decisions.values()
    assert (stored["spec"]["action"], stored["status"]["phase"]) == ("Rollback", "Requested")
    assert await gate.metric(outcome("requested")) == 1


async def test_a_repeated_alert_is_a_duplicate_whatever_zone_its_time_is_in(gate):
    await gate.alert(DELIVERY)
    assert await gate.alert(delivery(startsAt="2026-11-25T03:00:00+02:00")) == 200
    assert len(gate.api.decisions) == 1
    assert await gate.metric(outcome("duplicate")) == 1


async def test_a_crash_between_the_two_writes_is_mended_by_the_next_delivery(gate):
    await gate.alert(DELIVERY)
    (stored,) = gate.api.decisions.values()
    del stored["status"]
    await gate.alert(DELIVERY)
    assert stored["status"]["phase"] == "Requested"


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_what_could_not_be_stored_is_asked_for_again(gate, status):
    await gate.alert(delivery(status="resolved"))
    gate.api.status = status
    assert await gate.alert(DELIVERY) == 503
    assert await gate.metric(outcome("failed")) == 1
    gate.api.status = 200
    assert await gate.alert(DELIVERY) == 200


async def test_a_hanging_api_server_does_not_hang_alertmanager(gate):
    gate.api.delay_s = 10
    started = asyncio.get_running_loop().time()
    assert await gate.alert(DELIVERY) == 503
    assert asyncio.get_running_loop().time() - started < 5


async def test_own_labels_win_over_those_of_the_scrape(gate):
    labels = {
        "alertname": "Drop",
        "namespace": "monitoring",
        "model": "x",
        "onguard_namespace": "shop",
        "onguard_model": "churn",
    }
    await gate.alert(delivery(labels=labels))
    assert len(gate.api.decisions) == 1


@pytest.mark.parametrize(
    ("token", "headers"),
    [
        (None, {}),
        ("", {}),
        ("wrong-token-of-the-test", {}),
        (None, {"Authorization": f"Basic {TOKEN}"}),
        (None, {"Authorization": "Bearer "}),
        (TOKEN + "x", {}),
        (TOKEN[:-1], {}),
    ],
)
async def test_without_the_token_nothing_is_read(gate, token, headers):
    assert await gate.alert(b"not even json", token=token, headers=headers) == 401
    assert await gate.metric(outcome("unauthorized")) == 1


async def test_both_tokens_are_valid_while_one_is_rotated(gate):
    new = "the-next-token-of-the-test"
    assert await gate.alert(DELIVERY, token=new) == 401
    (gate.folder / "tokens").write_text(f"{new}\n{TOKEN}\n")
    assert [await gate.alert(DELIVERY, token=token) for token in (new, TOKEN)] == [200, 200]
    (gate.folder / "tokens").write_text(f"{new}\n")
    assert [await gate.alert(DELIVERY, token=token) for token in (new, TOKEN)] == [200, 401]
    (gate.folder / "tokens").unlink()
    assert await gate.alert(DELIVERY, token=new) == 401


async def test_a_token_of_one_tenant_does_not_touch_another(gate):
    (gate.folder / "tokens").write_text(f"{TOKEN} lab,other\n")
    assert await gate.alert(DELIVERY) == 200
    assert gate.api.decisions == {}
    assert await gate.metric(outcome("forbidden")) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"version": "4"}', 400),
        (json.dumps({**DELIVERY, "version": "3"}).encode(), 400),
        (json.dumps({**DELIVERY, "alerts": [DELIVERY["alerts"][0]] * 1001}).encode(), 400),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
async def test_a_body_that_is_no_delivery_is_refused(gate, body, status):
    assert await gate.alert(body) == status
    assert gate.api.decisions == {}


async def test_a_compressed_body_is_refused_before_it_is_unpacked(gate):
    bomb = gzip.compress(b" " * 50_000_000)
    assert await gate.alert(bomb, headers={"Content-Encoding": "gzip"}) == 415


async def test_a_truncated_delivery_is_counted_and_the_rest_taken(gate):
    assert await gate.alert({**DELIVERY, "truncatedAlerts": 3}) == 200
    assert await gate.metric(outcome("truncated")) == 1
    assert len(gate.api.decisions) == 1


@pytest.mark.parametrize("namespace", ["../kube-system", "a/b", "Shop", "x" * 64, "shop\n"])
async def test_a_label_never_becomes_another_path(gate, namespace):
    labels = {"alertname": "Drop", "namespace": namespace, "model": "churn"}
    before = len(gate.api.calls)
    assert await gate.alert(delivery(labels=labels)) == 200
    assert len(gate.api.calls) == before


async def test_a_retraining_that_is_off_says_so_in_the_record(gate):
    labels = {"alertname": "Old", "namespace": "shop", "model": "churn"}
    await gate.alert(delivery(labels=labels))
    (stored,) = gate.api.decisions.values()
    assert (stored["spec"]["action"], stored["spec"]["mode"]) == ("Retrain", "Off")


async def test_nothing_but_the_named_paths_is_served(gate):
    assert (await gate.page("/healthz"))[0] == 200
    assert (await gate.page("/debug"))[0] == 404
    async with gate.session.get(f"http://127.0.0.1:{gate.ports.alerts}/alerts", allow_redirects=False) as response:
        assert response.status == 405
