"""etcd, the API server, the controller manager and the scheduler."""

import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import programs
from certificates import PKI
from commands import wait_until
from network import require_route
from places import API_SERVER, ETCD, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR, STATE

READY_TIMEOUT_S: Final = 90.0


def configuration(tools: Path) -> str:
    """All that the control plane is told, as one text."""
    commands = (_etcd(tools), _api_server(tools), _controller_manager(tools), _scheduler(tools))
    return "\n".join(" ".join(str(word) for word in command) for command in commands)


def ensure(tools: Path) -> None:
    """Start what does not run, and wait until the API server is ready."""
    programs.ensure("etcd", _etcd(tools))
    programs.ensure("kube-apiserver", _api_server(tools))
    require_route()
    wait_until("API server ready", _is_ready_or_dead, timeout_s=READY_TIMEOUT_S)
    # Only now: before the API server has written its own roles, both are refused and give up.
    programs.ensure("kube-controller-manager", _controller_manager(tools))
    programs.ensure("kube-scheduler", _scheduler(tools))


def is_ready() -> bool:
    """Ask /readyz, which needs no credentials; the certificate is checked against our own authority."""
    authority = PKI / "ca.crt"
    if not authority.exists():
        return False
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(authority))),
    )
    try:
        with opener.open(f"{API_SERVER}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _is_ready_or_dead() -> bool:
    for name in ("etcd", "kube-apiserver"):
        programs.require(name)
    return is_ready()


def _etcd(tools: Path) -> list[str | Path]:
    return [
        tools / "etcd",
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # the data live as long as the cluster
        "--log-level=warn",
    ]


def _api_server(tools: Path) -> list[str | Path]:
    return [
        tools / "kube-apiserver",
        f"--etcd-servers={ETCD}",
        f"--bind-address={NODE_ADDRESS}",
        f"--advertise-address={NODE_ADDRESS}",
        "--secure-port=6443",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=true",  # /readyz
        f"--client-ca-file={PKI / 'ca.crt'}",
        f"--tls-cert-file={PKI / 'apiserver.crt'}",
        f"--tls-private-key-file={PKI / 'apiserver.key'}",
        f"--kubelet-client-certificate={PKI / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={PKI / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",  # the node's name resolves nowhere
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={PKI / 'service-account.pub'}",
        f"--service-account-signing-key-file={PKI / 'service-account.key'}",
        f"--requestheader-client-ca-file={PKI / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={PKI / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={PKI / 'front-proxy-client.key'}",
    ]


def _controller_manager(tools: Path) -> list[str | Path]:
    kubeconfig = PKI / "controller-manager.kubeconfig"
    return [
        tools / "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={POD_CIDR}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--root-ca-file={PKI / 'ca.crt'}",
        f"--cluster-signing-cert-file={PKI / 'ca.crt'}",
        f"--cluster-signing-key-file={PKI / 'ca.key'}",
        f"--service-account-private-key-file={PKI / 'service-account.key'}",
        "--use-service-account-credentials=true",
    ]


def _scheduler(tools: Path) -> list[str | Path]:
    kubeconfig = PKI / "scheduler.kubeconfig"
    return [
        tools / "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]
