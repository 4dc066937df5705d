"""When there is nothing to see, or nobody to see it, OnGuard does nothing, traffic flows, and a condition says why."""

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from onguard import contract
from tests.models.load import Background
from tests.stage import chart, objects
from tests.stage.kube import Kube, StageError, stays, wait_for
from tests.stage.shop import Shop

SIGNAL = """
import os, pathlib, signal, sys
for entry in pathlib.Path('/proc').iterdir():
    if entry.name.isdigit() and int(entry.name) != os.getpid():
        words = (entry / 'cmdline').read_bytes().split(b'\\0')
        if b'onguard_sidecar.analyst' in words and (b'serve' in words) == (sys.argv[1] == 'analyst'):
            print(entry.name, flush=True)
            if len(sys.argv) > 2:
                os.kill(int(entry.name), getattr(signal, sys.argv[2]))
"""
"""Runs in the analyst's container; PID 1 would ignore it, but the samples share their process namespace."""


@pytest.fixture(scope="module")
def quiet(make_shop: Callable[[str], Shop]) -> Iterator[tuple[Shop, Background]]:
    shop = make_shop("quiet")
    shop.stand()
    with shop.load(rate=30) as load:
        yield shop, load
    shop.kube.kubectl("delete", "namespace", shop.space, "--wait=false")


def nothing_done(shop: Shop, load: Background) -> bool:
    """No request has failed and nothing was done; that the measuring is in doubt may be written down."""
    said = {(d["spec"]["cause"], d["spec"]["action"]) for d in shop.decisions()}
    assert said <= {("measurement", "Hold")}, said
    assert load.tally.failed == 0, load.tally
    return not shop.jobs()


def signal_process(shop: Shop, pod: str, *arguments: str) -> str:
    """Send a signal to a pod's ``analyst`` or ``keeper``, or none; its process id."""
    command = ("exec", "-n", shop.space, pod, "-c", contract.CONTAINER_ANALYST, "--", "python3", "-c", SIGNAL)
    return shop.kube.kubectl(*command, *arguments).strip()


def signal_analysts(shop: Shop, *name: str) -> list[str]:
    return [signal_process(shop, pod["metadata"]["name"], "analyst", *name) for pod in shop.pods()]


def restarts(shop: Shop, container: str) -> int:
    statuses = [s for pod in shop.pods() for s in pod["status"].get("initContainerStatuses", ())]
    return sum(status["restartCount"] for status in statuses if status["name"] == container)


def operator(kube: Kube) -> dict:
    return kube.list("pods", chart.NAMESPACE, "app.kubernetes.io/component=operator")[-1]


def test_quiet_traffic_makes_no_decision(quiet: tuple[Shop, Background]) -> None:
    shop, load = quiet
    stays("nothing is done", lambda: nothing_done(shop, load), seconds=75)
    assert shop.decisions() == []
    assert load.tally.sent > 1000
    assert shop.condition(contract.CONDITION_HEALTHY)["status"] == "True"
    assert shop.condition(contract.CONDITION_READY)["status"] == "True"


def test_a_killed_analyst_costs_neither_a_request_nor_a_decision(quiet: tuple[Shop, Background]) -> None:
    shop, load = quiet
    before = restarts(shop, contract.CONTAINER_WIRE), restarts(shop, contract.CONTAINER_ANALYST)
    killed = signal_analysts(shop, "SIGKILL")
    assert all(killed), killed

    def all_new() -> bool:
        running = signal_analysts(shop)
        return all(running) and not set(running) & set(killed)

    wait_for("new analysts", all_new, timeout_s=60)
    stays("nothing is done", lambda: nothing_done(shop, load), seconds=30)
    assert (restarts(shop, contract.CONTAINER_WIRE), restarts(shop, contract.CONTAINER_ANALYST)) == before


def test_a_killed_container_of_an_analyst_leaves_the_wire_alone(quiet: tuple[Shop, Background]) -> None:
    """Its pod is not Ready for a moment, as with any native sidecar: so one at a time, as a full memory would."""
    shop, load = quiet
    wires = restarts(shop, contract.CONTAINER_WIRE)
    for at, pod in enumerate(shop.pods(), 1):
        # The container takes the process that killed it along; whether it restarted is asked afterwards.
        with contextlib.suppress(StageError):
            signal_process(shop, pod["metadata"]["name"], "keeper", "SIGKILL")
        wait_for("a new container", lambda at=at: restarts(shop, contract.CONTAINER_ANALYST) >= at, timeout_s=60)
        wait_for("Ready pods", lambda: all(objects.is_ready(pod) for pod in shop.pods()), timeout_s=60)
    stays("nothing is done", lambda: nothing_done(shop, load), seconds=30)
    assert restarts(shop, contract.CONTAINER_WIRE) == wires


def test_pods_that_cannot_be_read_are_missing_not_zero(quiet: tuple[Shop, Background]) -> None:
    shop, load = quiet
    signal_analysts(shop, "SIGSTOP")
    try:
        shop.wait_condition(contract.CONDITION_SCRAPABLE, "False", timeout_s=90)
        stays("nothing is done", lambda: nothing_done(shop, load), seconds=20)
    finally:
        signal_analysts(shop, "SIGCONT")
    shop.wait_condition(contract.CONDITION_SCRAPABLE, "True", timeout_s=90)


@pytest.mark.alone
def test_a_restarted_operator_goes_on_without_a_decision(quiet: tuple[Shop, Background]) -> None:
    shop, load = quiet
    before = operator(shop.kube)["metadata"]["name"]
    shop.kube.kubectl("delete", "pod", before, "-n", chart.NAMESPACE, "--wait=false")

    def is_new() -> bool:
        pod = operator(shop.kube)
        return pod["metadata"]["name"] != before and objects.is_ready(pod)

    wait_for("a new operator", is_new, timeout_s=90)
    stays("nothing is done", lambda: nothing_done(shop, load), seconds=45)
    shop.wait_condition(contract.CONDITION_READY, "True")


@pytest.mark.alone
def test_a_dead_gate_leaves_new_pods_unguarded_and_says_so(quiet: tuple[Shop, Background]) -> None:
    shop, load = quiet
    gate = ("-n", chart.NAMESPACE, "deployment", "-l", "app.kubernetes.io/component=gate")
    shop.kube.kubectl("scale", *gate, "--replicas=0")
    try:
        wait_for("no gate", lambda: not shop.kube.list("pods", chart.NAMESPACE, gate[-1]), timeout_s=60)
        shop.kube.kubectl("delete", "pod", "-n", shop.space, shop.pods()[0]["metadata"]["name"], "--wait=false")
        shop.wait_condition(contract.CONDITION_TRAFFIC_GUARDED, "False", reason="UnguardedPods", timeout_s=90)
        stays("nothing is done", lambda: nothing_done(shop, load), seconds=20)
    finally:
        shop.kube.kubectl("scale", *gate, "--replicas=2")
        shop.kube.kubectl("rollout", "status", "-n", chart.NAMESPACE, "deployment", "-l", gate[-1], "--timeout=90s")


def test_a_model_without_traffic_is_neither_healthy_nor_broken(shop: Shop) -> None:
    shop.stand(replicas=1)
    time.sleep(45)
    assert shop.decisions() == []
    healthy = shop.condition(contract.CONDITION_HEALTHY)
    assert healthy["status"] == "Unknown"
    assert "NoTraffic" in healthy["reason"]
