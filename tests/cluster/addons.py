"""CoreDNS and metrics-server: the two services that a workload expects of every cluster."""

from pathlib import Path
from typing import Any, Final

import builder
from kubectl import apply, kubectl
from places import COREDNS_IMAGE, DNS_ADDRESS, DNS_DOMAIN, METRICS_SERVER_IMAGE, PAUSE_IMAGE

SYSTEM: Final = "kube-system"
DNS_PORT: Final = 1053
"""Above 1024, so that CoreDNS needs neither root nor a capability."""
METRICS_PORT: Final = 10250
COREFILE: Final = f"""
.:{DNS_PORT} {{
    errors
    health :8080
    ready :8181
    kubernetes {DNS_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
    reload
}}
"""
"""No `forward`: a name outside the cluster has no address here."""


def build_images(tools: Path) -> list[str]:
    """The images that the cluster itself runs."""
    programs = {PAUSE_IMAGE: "pause", COREDNS_IMAGE: "coredns", METRICS_SERVER_IMAGE: "metrics-server"}
    for image, program in programs.items():
        builder.scratch(image, (tools / program).resolve())
    return list(programs)


def apply_all() -> None:
    apply(*_coredns(), *_metrics_server())


def apply_metrics_server() -> None:
    """Where the cluster brings a DNS of its own."""
    apply(*_metrics_server())


def wait_ready() -> None:
    """DNS is needed by every test; the metrics API comes with the first scrape, some 15 s later."""
    kubectl("rollout", "status", "--namespace", SYSTEM, "deployment/coredns", "--timeout=60s")


def _coredns() -> list[dict[str, Any]]:
    name, labels = "coredns", {"k8s-app": "kube-dns"}
    container = {
        "name": name,
        "image": COREDNS_IMAGE,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": DNS_PORT, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": DNS_PORT},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
    }
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": "dns-tcp"},
    ]
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return [
        _object("v1", "ConfigMap", name, data={"Corefile": COREFILE}),
        *_account(name, rules),
        _deployment(name, labels, container, volumes=[{"name": "config", "configMap": {"name": name}}]),
        _object("v1", "Service", "kube-dns", spec={"clusterIP": DNS_ADDRESS, "selector": labels, "ports": ports}),
    ]


def _metrics_server() -> list[dict[str, Any]]:
    name, labels = "metrics-server", {"k8s-app": "metrics-server"}
    container = {
        "name": name,
        "image": METRICS_SERVER_IMAGE,
        "args": [
            f"--secure-port={METRICS_PORT}",
            "--cert-dir=/tmp",
            "--kubelet-insecure-tls",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
        "ports": [{"name": "https", "containerPort": METRICS_PORT}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "https", "scheme": "HTTPS"}, "periodSeconds": 2},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    rules = [
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
        {
            "apiGroups": [""],
            "resources": ["pods", "nodes", "namespaces", "configmaps"],
            "verbs": ["get", "list", "watch"],
        },
    ]
    reader = {"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}
    aggregated = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    role = _object("rbac.authorization.k8s.io/v1", "ClusterRole", "system:aggregated-metrics-reader", rules=[reader])
    role["metadata"]["labels"] = aggregated
    return [
        *_account(name, rules),
        _binding(
            "RoleBinding", f"{name}-auth-reader", "Role", "extension-apiserver-authentication-reader", account=name
        ),
        _binding(
            "ClusterRoleBinding", f"{name}:system:auth-delegator", "ClusterRole", "system:auth-delegator", account=name
        ),
        role,
        _deployment(name, labels, container, volumes=[{"name": "tmp", "emptyDir": {}}]),
        _object("v1", "Service", name, spec={"selector": labels, "ports": [{"port": 443, "targetPort": "https"}]}),
        _object(
            "apiregistration.k8s.io/v1",
            "APIService",
            "v1beta1.metrics.k8s.io",
            spec={
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": name, "namespace": SYSTEM},
            },
        ),
    ]


def _object(api_version: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if kind not in {"ClusterRole", "ClusterRoleBinding", "APIService"}:
        metadata["namespace"] = SYSTEM
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _account(name: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        _object("v1", "ServiceAccount", name),
        _object("rbac.authorization.k8s.io/v1", "ClusterRole", f"system:{name}", rules=rules),
        _binding("ClusterRoleBinding", f"system:{name}", "ClusterRole", f"system:{name}", account=name),
    ]


def _binding(kind: str, name: str, role_kind: str, role: str, *, account: str) -> dict[str, Any]:
    return _object(
        "rbac.authorization.k8s.io/v1",
        kind,
        name,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        subjects=[{"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}],
    )


def _deployment(
    name: str, labels: dict[str, str], container: dict[str, Any], *, volumes: list[dict[str, Any]]
) -> dict[str, Any]:
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
    }
    # The image's id in the template: a rebuilt program under the same name restarts its pod.
    annotations = {"onguard.dev/image-id": builder.image_id(container["image"])}
    pod = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "containers": [{**container, "imagePullPolicy": "Never", "securityContext": security}],
        "volumes": volumes,
    }
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
    return _object("apps/v1", "Deployment", name, spec={"selector": {"matchLabels": labels}, "template": template})
