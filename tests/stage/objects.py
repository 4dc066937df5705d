"""The sample's Kubernetes objects: the demo's manifests, adapted. Pure but for reading the files."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from onguard import contract

MANIFESTS: Final = Path(__file__).resolve().parents[1] / "demo" / "manifests"
Object = dict[str, Any]


def manifests(file: str) -> list[Object]:
    """Objects of one file."""
    return [item for item in yaml.safe_load_all((MANIFESTS / file).read_text()) if item]


def namespace(name: str, **labels: str) -> Object:
    """A namespace that the gate serves, under Pod Security ``restricted``."""
    item = copy.deepcopy(manifests("1-namespace.yaml")[0])
    item["metadata"] |= {"name": name, "labels": item["metadata"]["labels"] | labels}
    return item


def leave_to_act(space: str) -> Object:
    """What lets the operator act in the namespace."""
    return _in(space, manifests("1-namespace.yaml")[1])


def deployment(space: str, environment: Mapping[str, str], *, replicas: int = 2) -> Object:
    """The model's Deployment with its release's environment."""
    item = _in(space, manifests("2-model.yaml")[0])
    item["spec"]["replicas"] = replicas
    container = item["spec"]["template"]["spec"]["containers"][0]
    values = {entry["name"]: entry["value"] for entry in container["env"]} | dict(environment)
    container["env"] = [{"name": name, "value": value} for name, value in values.items()]
    return item


def service(space: str) -> Object:
    """The model's Service."""
    return _in(space, manifests("2-model.yaml")[1])


def cron_job(space: str) -> Object:
    """The retraining."""
    return _in(space, manifests("3-retraining.yaml")[0])


def model_deployment(space: str, **spec: Any) -> Object:
    """
    The demo's ModelDeployment with whole fields of its spec replaced; None takes a field away.

    >>> model_deployment("x", triggers=[{"alert": "A"}], objectives=None)["spec"]["triggers"]
    [{'alert': 'A'}]
    """
    item = _in(space, manifests("4-modeldeployment.yaml")[0])
    merged = item["spec"] | spec
    item["spec"] = {key: value for key, value in merged.items() if value is not None}
    return item


def profile_map(space: str, profile: str) -> Object:
    """ConfigMap with the reference."""
    metadata = {"name": "churn-profile", "namespace": space}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"profile.json": profile}}


def is_injected(pod: Object) -> bool:
    """Whether the pod carries both sidecars."""
    names = {container["name"] for container in pod["spec"].get("initContainers") or ()}
    return {contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST} <= names


def is_ready(pod: Object) -> bool:
    """Whether the pod is Ready and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def environment_of(pod: Object) -> dict[str, str]:
    """Environment of the model's container."""
    container = next(c for c in pod["spec"]["containers"] if c["name"] == "model")
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def condition(item: Object, kind: str) -> Object:
    """A condition of a status; an empty one if there is none."""
    conditions = (item.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind), {})


def _in(space: str, item: Object) -> Object:
    item = copy.deepcopy(item)
    item["metadata"]["namespace"] = space
    return item
