"""
End-to-end tests: a real cluster, the chart installed once, a fresh namespace for each test.

``make e2e`` builds the images, starts the cluster and runs them. They refuse a kubeconfig that the local cluster
did not make. When a test fails, what the cluster says about its namespace is kept below ``artifacts/``.
"""

import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.stage import chart, reference, route
from tests.stage.kube import ROOT, Kube, StageError, cluster_up, our_cluster
from tests.stage.shop import Shop

ARTIFACTS: Final = ROOT / "artifacts"
LOG_TAIL: Final = "--tail=400"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Everything here needs the cluster and minutes.

    Tests wait far more than they work, so several files run at a time (``-n 5 --dist loadfile``), each test in its own
    namespace; those of one file may share a model. What disturbs OnGuard itself is marked ``alone``.
    """
    for item in items:
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.timeout(900))
    # First the one that takes longest, last the one that takes OnGuard away.
    items.sort(key=lambda item: ("ten_minutes" not in item.name, "test_uninstall" in item.nodeid))


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """The local cluster, started if it is not up, with OnGuard on it: by the first worker that comes."""
    folder = tmp_path_factory.getbasetemp().parent
    with (folder / "stage.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / f"ready-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
        if not mark.exists():
            cluster_up()
            route.ensure(our_cluster())
            chart.install(our_cluster())
            mark.touch()
    return our_cluster()


@pytest.fixture(scope="session")
def installed(kube: Kube) -> chart.Release:
    """OnGuard as it is installed with the chart's defaults and ``--wait``."""
    return chart.Release(kube)


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The sample model's reference as ``onguard profile`` makes it."""
    return reference.profile(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="session")
def make_shop(kube: Kube, profile: str) -> Iterator[Callable[[str], Shop]]:
    """Open a shop in a namespace of its own; all are closed at the end of the session."""
    opened: list[str] = []

    def make(name: str) -> Shop:
        words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:36].strip("-")
        space = f"e2e-{words}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
        if kube.get("namespace", space):
            kube.kubectl("delete", "namespace", space, "--wait=true", timeout_s=120)
        shop = Shop(kube, space, profile)
        shop.open()
        opened.append(space)
        return shop

    yield make
    if opened:
        kube.kubectl("delete", "namespace", *opened, "--ignore-not-found", "--wait=false")


@pytest.fixture
def shop(make_shop: Callable[[str], Shop], request: pytest.FixtureRequest) -> Iterator[Shop]:
    """A shop for one test, closed as soon as it has passed: two cores are few."""
    shop = make_shop(request.node.name.removeprefix("test_"))
    yield shop
    shop.kube.kubectl("delete", "namespace", shop.space, "--ignore-not-found", "--wait=false")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep what the cluster says when a test fails, before its namespace goes."""
    report = yield
    if report.when == "call" and report.failed:
        values = [v for value in item.funcargs.values() for v in (value if isinstance(value, tuple) else (value,))]
        shops = [value for value in values if isinstance(value, Shop)]
        folder = ARTIFACTS / re.sub(r"[^\w.-]+", "_", item.name)
        for shop in shops:
            _keep(shop.kube, shop.space, folder)
        if shops:
            _keep(shops[0].kube, chart.NAMESPACE, folder)
            report.sections.append(("cluster", f"see {folder}"))
    return report


def _keep(kube: Kube, space: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = "pods,deployments,replicasets,services,endpointslices,configmaps,jobs,controllerrevisions,events"
    ours = "modeldeployments,decisions"
    commands = {
        "objects.yaml": ("get", wanted, "-o", "yaml"),
        "onguard.yaml": ("get", ours, "-o", "yaml"),
        "describe.txt": ("describe", f"pods,{ours}"),
        "events.txt": ("get", "events", "--sort-by=.lastTimestamp"),
    }
    for name, command in commands.items():
        _write(folder / f"{space}-{name}", kube, "-n", space, *command)
    for pod in kube.list("pods", space):
        containers = (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
        for container in (c["name"] for c in containers):
            target = folder / f"{space}-{pod['metadata']['name']}-{container}.log"
            _write(target, kube, "-n", space, "logs", pod["metadata"]["name"], "-c", container, LOG_TAIL)


def _write(path: Path, kube: Kube, *arguments: str) -> None:
    try:
        path.write_text(kube.kubectl(*arguments))
    except (StageError, subprocess.TimeoutExpired) as error:
        path.write_text(f"{error}\n")
