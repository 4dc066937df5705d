"""kubectl with the cluster's own kubeconfig."""

import json
from typing import Any

import gotools
from commands import CommandError, run
from network import require_route
from places import KUBECONFIG, NAME, NODE_ADDRESS


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
    if KUBECONFIG.exists() and NODE_ADDRESS in KUBECONFIG.read_text():
        require_route()
    return run(gotools.program("kubectl"), "--kubeconfig", KUBECONFIG, *arguments, stdin=stdin, timeout=timeout)


def apply(*objects: dict[str, Any]) -> None:
    """Server-side apply; the same objects again change nothing."""
    bundle = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(bundle))


def node_is_ready() -> bool:
    try:
        answer = kubectl("get", "node", NAME, "-o", "json", timeout=10)
    except CommandError:
        return False  # not registered yet
    conditions = json.loads(answer)["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
