"""
Routes from the host to a kind cluster's Services and pods.

The load generator runs on the host, so that it goes on while pods come and go. The cluster in a network namespace has
routes of its own; kind's node is a container whose address a Linux host reaches.
"""

import json
import subprocess
from typing import Final

from tests.stage.kube import Kube, StageError

SERVICES: Final = "10.96.0.0/16"
"""kind's default, which kind-config.yaml leaves as it is."""


def ensure(kube: Kube) -> None:
    """
    Lead Services and pods through the node; does nothing where the cluster is not kind.

    Raises:
        StageError: if the routes cannot be set; they need root on a Linux host.
    """
    if not kube.kubectl("config", "current-context").strip().startswith("kind-"):
        return
    node = json.loads(kube.kubectl("get", "nodes", "-o", "json"))["items"][0]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    for network in (SERVICES, node["spec"]["podCIDR"]):
        command = ["ip", "route", "replace", network, "via", address]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise StageError(f"{' '.join(command)} (as root, on Linux): {done.stderr.strip()}")
