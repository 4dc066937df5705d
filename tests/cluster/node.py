"""The one node: containerd with runc and CNI, the kubelet, kube-proxy."""

import json
from pathlib import Path
from typing import Any, Final

import kubectl
import programs
from certificates import PKI
from commands import run, succeeds, wait_until, write_if_changed
from places import (
    CONTAINERD_SOCKET,
    DNS_ADDRESS,
    DNS_DOMAIN,
    NAME,
    NODE_ADDRESS,
    NODE_POD_CIDR,
    PAUSE_IMAGE,
    POD_CIDR,
    STATE,
)

CONFIG: Final = STATE / "config"
CNI_BIN: Final = "/usr/lib/cni"
CTR: Final = ("ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io")


def configuration() -> str:
    """All that the node is told, as one text."""
    return "\n".join([_containerd(), *(json.dumps(part) for part in (_cni(), _kubelet(), _proxy()))])


def ensure_containerd() -> None:
    """Start containerd and wait until it answers; images can be imported from then on."""
    for folder in ("run", "config/cni", "containerd/root", "containerd/state"):
        (STATE / folder).mkdir(parents=True, exist_ok=True)
    write_if_changed(CONFIG / "containerd.toml", _containerd())
    write_if_changed(CONFIG / "cni" / "10-onguard.conflist", json.dumps(_cni(), indent=1))
    if programs.ensure("containerd", ["containerd", "--config", CONFIG / "containerd.toml"]):
        wait_until("containerd", _containerd_answers, timeout_s=30)


def ensure_kubelet(tools: Path) -> None:
    """Start the kubelet and kube-proxy; they wait for the API server by themselves."""
    (STATE / "kubelet").mkdir(parents=True, exist_ok=True)
    write_if_changed(CONFIG / "resolv.conf", "")
    write_if_changed(CONFIG / "kubelet.json", json.dumps(_kubelet(), indent=1))
    write_if_changed(CONFIG / "proxy.json", json.dumps(_proxy(), indent=1))
    kubelet = [
        tools / "kubelet",
        f"--config={CONFIG / 'kubelet.json'}",
        f"--kubeconfig={PKI / 'kubelet.kubeconfig'}",
        f"--root-dir={STATE / 'kubelet'}",
        f"--cert-dir={STATE / 'kubelet' / 'pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={NODE_ADDRESS}",
    ]
    programs.ensure("kubelet", kubelet)
    programs.ensure("kube-proxy", [tools / "kube-proxy", f"--config={CONFIG / 'proxy.json'}"])


def wait_ready() -> None:
    wait_until("node Ready", _is_ready_or_dead, timeout_s=90, every_s=0.3)


def import_image(archive: Path) -> None:
    """Import a docker-archive file under the name that it carries."""
    run(*CTR, "images", "import", archive, timeout=300)


def image_digests() -> dict[str, str]:
    """Name and manifest digest of every image that the node has."""
    rows = [line.split() for line in run(*CTR, "images", "list").splitlines()[1:]]
    return {row[0]: row[2] for row in rows if len(row) > 2}


def _containerd_answers() -> bool:
    programs.require("containerd")
    return CONTAINERD_SOCKET.exists() and succeeds(*CTR, "version", timeout=2)


def _is_ready_or_dead() -> bool:
    for name in ("containerd", "kubelet", "kube-proxy"):
        programs.require(name)
    return kubectl.node_is_ready()


def _containerd() -> str:
    state = STATE / "containerd"
    return f"""version = 2
root = "{state / "root"}"
state = "{state / "state"}"
disabled_plugins = ["io.containerd.grpc.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # A container of the machine's maker may refuse negative scores; runc then dies with "can't get final child's PID".
  restrict_oom_score_adj = true
  # Network namespaces as mounts below our own folder: nothing of ours in /run/netns but the node's.
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{state / "runc"}"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{CNI_BIN}"
  conf_dir = "{CONFIG / "cni"}"
"""


def _cni() -> dict[str, Any]:
    """
    One routed veth for each pod (``ptp``), not a bridge.

    Every packet passes the node's routing and so kube-proxy's rules, in both directions, without br_netfilter.
    """
    ipam = {
        "type": "host-local",
        "dataDir": str(STATE / "cni"),
        "ranges": [[{"subnet": NODE_POD_CIDR}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "1.0.0", "name": NAME, "plugins": [{"type": "ptp", "ipMasq": False, "ipam": ipam}]}


def _kubelet() -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PKI / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(PKI / "kubelet-serving.crt"),
        "tlsPrivateKeyFile": str(PKI / "kubelet-serving.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NAME}",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": str(CONFIG / "resolv.conf"),
        "failSwapOn": False,
        # A developer's disk is often nearly full; the default of 10-15 % would evict everything.
        "evictionHard": dict.fromkeys(
            ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "1%"
        ),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "podLogsDir": str(STATE / "pod-logs"),
        "volumePluginDir": str(STATE / "kubelet" / "volume-plugins"),
        "healthzBindAddress": "127.0.0.1",
        "nodeStatusUpdateFrequency": "4s",
    }


def _proxy() -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(PKI / "proxy.kubeconfig")},
        "mode": "nftables",
        "clusterCIDR": POD_CIDR,
        "hostnameOverride": NAME,
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # The limit of tracked connections belongs to the host's kernel, not to a namespace.
        "conntrack": {"maxPerCore": 0},
    }
