"""
Real Prometheus and Alertmanager servers beside the cluster.

Every panel of the dashboard has data after a bad release, the shipped rules fire, and an alert that two
Alertmanagers send again and again leads to exactly one rollback.
"""

import base64
import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from onguard import contract
from tests.models.load import Background
from tests.models.traffic import Mix
from tests.monitoring import queries, servers
from tests.stage import chart, objects
from tests.stage.kube import Kube, StageError, wait_for
from tests.stage.shop import Shop, wait_tally

ALERT = "ChurnConversionDrop"
QUICK = {"watch": "10m", "bake": {"for": "30s", "requests": 200}, "baseline": {"mode": "Serve"}}


class Watched(NamedTuple):
    shop: Shop
    load: Background
    prometheus: servers.Prometheus
    folder: Path
    since: float


@pytest.fixture(scope="module")
def watched(
    kube: Kube, make_shop: Callable[[str], Shop], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    folder, shop = tmp_path_factory.mktemp("monitoring"), make_shop("watched")
    shop.stand(release=QUICK, triggers=[{"alert": ALERT, "action": "Rollback"}])
    (folder / "token").write_text(token(kube))
    rules = [queries.FILES / "alerts.yaml", folder / "own.yaml"]
    write_own_rule(folder, shop, is_firing=False)
    since = time.time()
    with contextlib.ExitStack() as stack:
        stack.enter_context(targets(kube, shop, folder / "targets.json"))
        receiver = servers.alertmanager_config(alerts_url(kube), token_file=folder / "token")
        peers = [stack.enter_context(servers.alertmanager(folder, receiver, f"peer-{i}")) for i in (1, 2)]
        config = servers.prometheus_config(folder / "targets.json", rules, peers)
        server = stack.enter_context(servers.prometheus(folder, config))
        load = stack.enter_context(shop.load(rate=60, connections=12))
        yield Watched(shop, load, server, folder, since)
    kube.kubectl("delete", "namespace", shop.space, "--wait=false")


def token(kube: Kube) -> str:
    """The bearer token that the chart made for Alertmanager."""
    secret = kube.get("secret", "onguard-alerts-token", chart.NAMESPACE)
    assert secret, "the chart makes a Secret with the token of the alert receiver"
    return base64.b64decode(next(iter(secret["data"].values()))).decode().split()[0]


def alerts_url(kube: Kube) -> str:
    services = kube.list("services", chart.NAMESPACE, "app.kubernetes.io/component=gate")
    service, port = next((s, p) for s in services for p in s["spec"]["ports"] if p.get("name") == "alerts")
    return f"http://{service['spec']['clusterIP']}:{port['port']}/alerts"


def write_own_rule(folder: Path, shop: Shop, *, is_firing: bool) -> None:
    """The business alert of the model's owners; Prometheus takes it up at its next reload."""
    labels = {"namespace": shop.space, "model": "churn"}
    rule = {"alert": ALERT, "expr": f"vector(1) == {int(is_firing)}", "labels": labels}
    (folder / "own.yaml").write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": [rule]}]}))


@contextlib.contextmanager
def targets(kube: Kube, shop: Shop, file: Path) -> Iterator[None]:
    """Keep the list of pods up to date, as service discovery inside a cluster would."""
    stop = threading.Event()

    def keep() -> None:
        while not stop.wait(3.0):
            with contextlib.suppress(StageError):
                write_targets(kube, shop, file)

    write_targets(kube, shop, file)
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


def write_targets(kube: Kube, shop: Shop, file: Path) -> None:
    sidecars = [(pod, contract.PORT_ADMIN) for pod in shop.all_pods() if objects.is_injected(pod)]
    ours = [(pod, 9090) for pod in kube.list("pods", chart.NAMESPACE, "app.kubernetes.io/name=onguard")]
    found = [
        {
            "targets": [f"{pod['status']['podIP']}:{port}"],
            "labels": {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]},
        }
        for pod, port in (*sidecars, *ours)
        if pod["status"].get("podIP")
    ]
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found))
    part.rename(file)


def has_numbers(series: list[Any]) -> bool:
    return any(not math.isnan(float(value)) for one in series for _, value in one["values"])


def without_data(watched: Watched) -> list[str]:
    """Titles of panels one of whose queries has no number in the time of this test."""
    asked = [
        (title, queries.filled(query, namespace=watched.shop.space, model="churn", window="30s"))
        for title, query in queries.panels()
    ]
    return [f"{title}: {q}" for title, q in asked if not has_numbers(watched.prometheus.range(q, since=watched.since))]


def test_a_bad_release_shows_on_every_panel_and_fires_the_shipped_alert(watched: Watched) -> None:
    shop, load, server = watched.shop, watched.load, watched.prometheus
    time.sleep(45)
    assert server.unhealthy_targets() == []
    assert server.alerts(shop.space) == []
    shop.release(VERSION="2", BUG="scaling")
    wait_tally(load, "500", 200, timeout_s=180)
    decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=60)
    shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=180)
    where = f'alertname="OnGuardErrorsAboveObjective", alertstate="firing", namespace="{shop.space}"'
    firing = f"ALERTS{{{where}}}"
    wait_for("the alert", lambda: server.range(firing, since=watched.since), timeout_s=60)
    wait_for("data for every panel", lambda: not without_data(watched), timeout_s=60, every_s=5)
    assert without_data(watched) == []


def test_an_alert_that_two_alertmanagers_repeat_leads_to_exactly_one_rollback(watched: Watched) -> None:
    shop, load = watched.shop, watched.load
    shop.wait_served("1", timeout_s=120)
    before = len(shop.decisions(action="Rollback"))
    shop.release(VERSION="3")
    shop.wait_served("3")
    load.change(Mix())
    failed = load.tally.failed
    write_own_rule(watched.folder, shop, is_firing=True)
    servers.reload(watched.prometheus)
    decision = shop.wait_decision(cause="alert", action="Rollback", timeout_s=60)
    assert decision["spec"]["trigger"]["alert"] == ALERT
    shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=180)
    shop.wait_served("1")
    time.sleep(30)  # both peers have repeated it several times by now
    assert len(shop.decisions(action="Rollback")) == before + 1
    assert shop.versions() == {("1", "")}
    assert load.tally.failed == failed
    repeated = f'sum({contract.METRIC_ALERTS_RECEIVED}{{outcome="duplicate"}})'
    assert has_numbers(watched.prometheus.range(repeated, since=watched.since))
