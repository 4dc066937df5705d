"""kubectl and helm against the cluster that ``tests/cluster`` made, and no other."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
CLUSTER: Final = ROOT / "tests" / "cluster" / "cluster.py"
OUR_CONTEXTS: Final = frozenset({"onguard", "kind-onguard"})
TRUST: Final = "ONGUARD_TRUST_KUBECONFIG"
"""Set to a kubeconfig's path to run against a cluster that we did not make. Its models may be disturbed."""

Object = dict[str, Any]
T = TypeVar("T")


class StageError(RuntimeError):
    """Something on the stage is not as it must be; one line that says what."""


class Kube:
    """One cluster."""

    def __init__(self, kubeconfig: Path, tools: Path) -> None:
        self.kubeconfig = kubeconfig
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": f"{tools}:{os.environ['PATH']}"}

    def run(self, *command: str, stdin: str | None = None, timeout_s: float = 120.0) -> str:
        """
        Run a program with this cluster's kubeconfig and tools.

        Raises:
            StageError: with the program's own words.
        """
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout_s, env=self._environment, cwd=ROOT
        )
        if done.returncode != 0:
            raise StageError(f"{' '.join(command[:6])}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 120.0) -> str:
        """Run kubectl."""
        return self.run("kubectl", *arguments, stdin=stdin, timeout_s=timeout_s)

    def apply(self, *objects: Object) -> None:
        """Server-side apply, as a person who owns these fields would."""
        bundle = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=bundle)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None if there is none of that name."""
        where = ("-n", namespace) if namespace else ()
        text = self.kubectl("get", kind, name, *where, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str, selector: str = "") -> Sequence[Object]:
        """All objects of a kind, oldest first."""
        text = self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        items: list[Object] = json.loads(text)["items"]
        return sorted(items, key=lambda item: item["metadata"]["creationTimestamp"])


def wait_for(what: str, look: Callable[[], T | None], *, timeout_s: float, every_s: float = 1.0) -> T:
    """
    Look until there is something to return.

    Raises:
        StageError: naming what did not come.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise StageError(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(every_s)


def stays(what: str, holds: Callable[[], bool], *, seconds: float, every_s: float = 3.0) -> None:
    """
    Check that something holds all the time.

    Raises:
        StageError: as soon as it does not.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not holds():
            raise StageError(f"{what}: no longer so")
        time.sleep(every_s)


def our_cluster(environment: Mapping[str, str] = os.environ) -> Kube:
    """
    The local cluster, started if need be.

    Raises:
        StageError: if the kubeconfig is not one that ``tests/cluster`` made and nobody said to trust it.
    """
    trusted = environment.get(TRUST)
    kubeconfig = Path(trusted) if trusted else Path(_cluster("kubeconfig"))
    if not trusted:
        require_ours(kubeconfig)
    return Kube(kubeconfig, Path(_cluster("tools")))


def require_ours(kubeconfig: Path) -> None:
    """
    Refuse a kubeconfig that the local cluster did not make.

    Raises:
        StageError: naming the context and the way to say that it is meant.
    """
    context = yaml.safe_load(kubeconfig.read_text()).get("current-context")
    if context not in OUR_CONTEXTS:
        raise StageError(f"expected a cluster made by tests/cluster, got context {context}; to insist, set {TRUST}")


def cluster_up() -> None:
    """
    Start the local cluster; does nothing where it runs.

    Raises:
        StageError: if it cannot be started; its own messages have been printed.
    """
    if subprocess.run([sys.executable, str(CLUSTER), "up"]).returncode != 0:
        raise StageError("the cluster cannot be started, see above")


def _cluster(command: str) -> str:
    done = subprocess.run([sys.executable, str(CLUSTER), command], capture_output=True, text=True)
    if done.returncode != 0:
        raise StageError(
            done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"cluster.py {command} failed"
        )
    return done.stdout.strip().splitlines()[-1]
