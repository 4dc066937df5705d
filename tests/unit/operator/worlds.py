"""Small worlds for the operator's pure parts."""

from typing import Any

from onguard import contract
from onguard.spec import parse_spec
from onguard_operator.observe import Observed

Object = dict[str, Any]
NOW_TEXT = "2026-11-25T02:00:00Z"


def template(version: str = "1", *, port: int = 8080, **annotations: str) -> Object:
    container = {
        "name": "model",
        "image": f"model:{version}",
        "ports": [{"name": "http", "containerPort": port}],
    }
    return {
        "metadata": {"labels": {"app": "churn"}, "annotations": annotations},
        "spec": {"containers": [container]},
    }


def mdep(**spec: Any) -> Object:
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.MODEL_DEPLOYMENT,
        "metadata": {"name": "churn", "namespace": "shop", "uid": "uid-mdep", "generation": 1, "resourceVersion": "1"},
        "spec": {"targetRef": {"name": "churn"}, **spec},
    }


def deployment(pod_template: Object, *, replicas: int = 2, settled: bool = True, **meta: Any) -> Object:
    n = replicas if settled else replicas + 1
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "churn",
            "namespace": "shop",
            "uid": "uid-target",
            "generation": 1,
            "resourceVersion": "7",
            **meta,
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "churn"}}, "template": pod_template},
        "status": {"observedGeneration": 1, "updatedReplicas": replicas, "replicas": n, "availableReplicas": replicas},
    }


def pod(name: str, *, injection: str | None = contract.INJECTION_DONE, ready: bool = True, **more: Any) -> Object:
    annotations = {} if injection is None else {contract.ANNOTATION_INJECTION: injection}
    meta = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "labels": {"app": "churn"},
        "annotations": annotations,
        "creationTimestamp": "2026-11-25T01:50:00Z",
        "ownerReferences": [{"name": "churn-rs", "uid": "uid-rs", "controller": True, "kind": "ReplicaSet"}],
        **more.pop("metadata", {}),
    }
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "2026-11-25T01:50:05Z"}
    status = {"phase": "Running", "podIP": "10.0.0.9", "conditions": [condition], **more.pop("status", {})}
    image = [{"name": contract.CONTAINER_WIRE, "image": "sidecar:1"}] if injection == contract.INJECTION_DONE else []
    return {"metadata": meta, "spec": {**template()["spec"], "initContainers": image}, "status": status}


def service(target_port: Any = "http", **more: Any) -> Object:
    spec = {"selector": {"app": "churn"}, "clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": target_port}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "churn",
            "namespace": "shop",
            "uid": "uid-svc",
            "resourceVersion": "3",
            **more.pop("metadata", {}),
        },
        "spec": {**spec, **more},
    }


def piece(port: int, *pods: Object) -> Object:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": "churn"}},
        "ports": [{"port": port}],
        "endpoints": [{"targetRef": {"uid": p["metadata"]["uid"]}} for p in pods],
    }


def world(spec: Object | None = None, **fields: Any) -> Observed:
    model = fields.pop("mdep", None) or mdep(**(spec or {}))
    pods = fields.pop("pods", [pod("a"), pod("b")])
    usual = {
        "namespace": {"metadata": {"name": "shop", "labels": {contract.LABEL_INJECT: "enabled"}}},
        "target": deployment(template()),
        "services": [service()],
        "slices": [piece(contract.PORT_WIRE, *pods)],
        "sidecar_map": {"metadata": {"name": "churn-onguard"}},
    }
    return Observed(mdep=model, spec=parse_spec(model["spec"]), pods=pods, **{**usual, **fields})
