"""
Where the local cluster lives: folders, names and addresses.

Everything that ``up`` makes carries one of these names, so that ``down`` finds it without a list of its own,
also after a crash: processes by their cgroup, mounts by the state folder, the network by its names.
"""

import os
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
TREE: Final = HERE.parents[1]
GO_MODULES: Final = HERE / "go"

CACHE: Final = (
    Path(
        os.environ.get("ONGUARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onguard"
    )
).resolve()
TOOLS: Final = CACHE / "tools"
IMAGES: Final = CACHE / "images"
BUILDAH: Final = CACHE / "buildah"

CHECK: Final = os.environ.get("ONGUARD_CLUSTER") == "check"
"""A second cluster beside the first, with names and addresses of its own: `make cluster-check` kills it many times."""
_SUFFIX: Final = "-check" if CHECK else ""
_INDEX: Final = 1 if CHECK else 0
STATE: Final = CACHE / f"cluster{_SUFFIX}"
LOCK: Final = CACHE / f"cluster{_SUFFIX}.lock"
LOGS: Final = CACHE / f"logs{_SUFFIX}"
KUBECONFIG: Final = STATE / "kubeconfig"
CONTAINERD_SOCKET: Final = STATE / "run" / "containerd.sock"
CNI_CACHE: Final = Path("/var/lib/cni/results")
"""libcni's cache; containerd gives no way to move it."""

NAME: Final = f"onguard{_SUFFIX}"
"""Of the network namespace, the cgroup, the node and the kubeconfig's context."""
KIND_NAME: Final = "onguard"
NETNS: Final = Path("/run/netns") / NAME
LINK: Final = f"onguard{_INDEX}"
"""The host's end of the veth pair."""
LINK_NODE: Final = "node0"
HOST_ADDRESS: Final = f"10.243.{_INDEX}.1"
NODE_ADDRESS: Final = f"10.243.{_INDEX}.2"
POD_CIDR: Final = f"10.{244 + _INDEX}.0.0/16"
NODE_POD_CIDR: Final = f"10.{244 + _INDEX}.0.0/24"
SERVICE_CIDR: Final = f"10.{96 + 16 * _INDEX}.0.0/12"
API_SERVICE_ADDRESS: Final = f"10.{96 + 16 * _INDEX}.0.1"
DNS_ADDRESS: Final = f"10.{96 + 16 * _INDEX}.0.10"
DNS_DOMAIN: Final = "cluster.local"
API_SERVER: Final = f"https://{NODE_ADDRESS}:6443"
ETCD: Final = "http://127.0.0.1:2379"
"""On the namespace's own loopback: nobody outside the namespace reaches it."""

PAUSE_IMAGE: Final = "localhost/onguard-pause:dev"
BASE_IMAGE: Final = "localhost/onguard-base:dev"
COREDNS_IMAGE: Final = "localhost/onguard-coredns:dev"
METRICS_SERVER_IMAGE: Final = "localhost/onguard-metrics-server:dev"
