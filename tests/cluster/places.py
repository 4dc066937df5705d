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
    Path(os.environ.get("ONGUARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onguard")
).resolve()
TOOLS: Final = CACHE / "tools"
IMAGES: Final = CACHE / "images"
BUILDAH: Final = CACHE / "buildah"
STATE: Final = CACHE / "cluster"
LOGS: Final = CACHE / "logs"
KUBECONFIG: Final = STATE / "kubeconfig"
CONTAINERD_SOCKET: Final = STATE / "run" / "containerd.sock"
CNI_CACHE: Final = Path("/var/lib/cni/results")
"""libcni's cache; containerd gives no way to move it."""

NAME: Final = "onguard"
"""Of the network namespace, the cgroup, the node and the kubeconfig's context."""
KIND_NAME: Final = "onguard"
NETNS: Final = Path("/run/netns") / NAME
LINK: Final = "onguard0"
"""The host's end of the veth pair."""
LINK_NODE: Final = "node0"
HOST_ADDRESS: Final = "10.243.0.1"
NODE_ADDRESS: Final = "10.243.0.2"
POD_CIDR: Final = "10.244.0.0/16"
NODE_POD_CIDR: Final = "10.244.0.0/24"
SERVICE_CIDR: Final = "10.96.0.0/12"
API_SERVICE_ADDRESS: Final = "10.96.0.1"
DNS_ADDRESS: Final = "10.96.0.10"
DNS_DOMAIN: Final = "cluster.local"
API_SERVER: Final = f"https://{NODE_ADDRESS}:6443"
ETCD: Final = "http://127.0.0.1:2379"
"""On the namespace's own loopback: nobody outside the namespace reaches it."""

PAUSE_IMAGE: Final = "localhost/onguard-pause:dev"
BASE_IMAGE: Final = "localhost/onguard-base:dev"
COREDNS_IMAGE: Final = "localhost/onguard-coredns:dev"
METRICS_SERVER_IMAGE: Final = "localhost/onguard-metrics-server:dev"
