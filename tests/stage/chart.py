"""Install the chart as the README says."""

import dataclasses
from typing import Final

from tests.stage.kube import Kube, wait_for

RELEASE: Final = "onguard"
NAMESPACE: Final = "onguard-system"
CHART: Final = "charts/onguard"
LOCAL_IMAGES: Final = tuple(
    f"image.{part}.{key}={value}"
    for part in ("operator", "sidecar")
    for key, value in (("repository", f"localhost/onguard-{part}"), ("tag", "dev"))
)


@dataclasses.dataclass(frozen=True)
class Release:
    """An installation."""

    kube: Kube

    def set(self, **values: str) -> None:
        """Upgrade with these values over the last ones; ``a__b`` stands for ``a.b``."""
        pairs = [f"--set={key.replace('__', '.')}={value}" for key, value in values.items()]
        _helm(self.kube, "upgrade", "--reuse-values", *pairs)


def install(kube: Kube) -> Release:
    """
    ``helm upgrade --install --wait`` into a namespace that enforces Pod Security ``restricted``.

    An installation that is there already is restarted: its images may have been built anew under the same tag.
    """
    was_there = kube.get("deployment", "onguard-operator", NAMESPACE) is not None
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    _helm(kube, "upgrade", "--install", *(f"--set={pair}" for pair in LOCAL_IMAGES))
    if was_there:
        kube.kubectl("rollout", "restart", "deployment", "-n", NAMESPACE)
        for name in ("onguard-operator", "onguard-gate"):
            kube.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{name}", "--timeout=90s", timeout_s=100)
        _wait_settled(kube)
    return Release(kube)


def _helm(kube: Kube, *command: str) -> None:
    options = ("-n", NAMESPACE, "--wait", "--timeout", "180s")
    kube.run("helm", *command, RELEASE, CHART, *options, timeout_s=200)
    _wait_settled(kube)


def _wait_settled(kube: Kube) -> None:
    """Wait for the pods of before to go: until then the API server may still ask an old gate."""

    def is_settled() -> bool:
        return not any("deletionTimestamp" in pod["metadata"] for pod in kube.list("pods", NAMESPACE))

    wait_for("OnGuard's old pods to go", is_settled, timeout_s=90)
