"""
The two native sidecars that injection adds, and their volumes, as the API server's JSON.

One image, two containers, because the kubelet kills a whole container that is out of memory: an analyst that
runs out must not take the wire along.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from onguard import contract
from onguard.spec import ConfigMapKey, ResourceSource, Spec
from onguard_operator import naming
from onguard_operator.objects import Object, labels_of

VOLUME_NOTHING: Final = "onguard-no-token"
DIR_SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
FILE_PROFILE: Final = "profile.json"
NON_ROOT_UID: Final = 65532
SHARED_LIMIT: Final = "16Mi"
"""The ledger and two sockets; memory-backed, so that no disk is written."""

_ENTRY: Final = ("python3", "-m")
_LABEL_CONTROLLER_REVISION_HASH: Final = "controller-revision-hash"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    What the installer decides about sidecars.

    Attributes:
        image: the sidecar's image, wire and analyst alike.
        pull_policy: its pull policy; None leaves the API server's default.
        pull_secrets: names of image pull secrets, in each guarded namespace.
        kubernetes: version of the API server, (major, minor).
        drain_sleep_s: how long endpoints take to propagate; the model keeps serving for so long.
        scrape_annotations: whether pods get ``prometheus.io/*`` annotations (where no PodMonitor exists).
        wire_resources, analyst_resources: resources of the containers.
    """

    image: str
    pull_policy: str | None = None
    pull_secrets: tuple[str, ...] = ()
    kubernetes: tuple[int, int] = contract.MINIMUM_KUBERNETES
    drain_sleep_s: int = 5
    scrape_annotations: bool = False
    wire_resources: Mapping[str, Any]
    analyst_resources: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    Where in one pod the sidecars go.

    Attributes:
        pod: the pod as it was.
        model: the model's container.
        port: number of the model's port.
        grace_s: the pod's grace period as it will be.
        shares_processes: whether the containers will share one process namespace.
    """

    pod: Object
    model: Object
    port: int
    grace_s: int
    shares_processes: bool


def sidecars(name: str, spec: Spec, place: Place, settings: Settings) -> tuple[Object, Object]:
    """Build wire and analyst for the ModelDeployment ``name``."""
    shared = _common(name, spec, place, settings)
    wire = {
        **shared,
        "name": contract.CONTAINER_WIRE,
        "command": [*_ENTRY, "onguard_sidecar.wire"],
        "ports": [
            {"name": spec.traffic.ports[0].name, "containerPort": contract.PORT_WIRE, "protocol": "TCP"},
            {"name": contract.PORT_NAME_HEALTH, "containerPort": contract.PORT_HEALTH, "protocol": "TCP"},
        ],
        # A pod is Ready only when each sidecar is: the wire depends on nothing but its own event loop.
        "startupProbe": _probe("/healthz", contract.PORT_HEALTH, period_s=1, failures=60),
        "readinessProbe": _probe("/readyz", contract.PORT_HEALTH, period_s=5, failures=3),
        "livenessProbe": _probe("/healthz", contract.PORT_HEALTH, period_s=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": [*_ENTRY, "onguard_sidecar.wire", "drain"]}}},
        "resources": dict(settings.wire_resources),
    }
    analyst = {
        **shared,
        "name": contract.CONTAINER_ANALYST,
        "command": [*_ENTRY, "onguard_sidecar.analyst"],
        "ports": [{"name": contract.PORT_NAME_ADMIN, "containerPort": contract.PORT_ADMIN, "protocol": "TCP"}],
        "livenessProbe": _probe("/healthz", contract.PORT_ADMIN, period_s=20, failures=6),
        "resources": dict(settings.analyst_resources),
    }
    return wire, analyst


def volumes(name: str, spec: Spec) -> list[Object]:
    """Volumes of the sidecars; each that names an object is optional, so that no pod waits for it."""
    made: list[Object] = [
        {"name": contract.VOLUME_SHARED, "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_LIMIT}},
        {"name": VOLUME_NOTHING, "emptyDir": {"sizeLimit": "1Mi"}},
        {
            "name": contract.VOLUME_CONFIG,
            "configMap": {"name": naming.sidecar_config_name(name), "optional": True, "defaultMode": 0o444},
        },
    ]
    profile = _profile(name, spec)
    if profile is not None:
        source = {
            "name": profile.name,
            "optional": True,
            "defaultMode": 0o444,
            "items": [{"key": profile.key, "path": FILE_PROFILE}],
        }
        made.append({"name": contract.VOLUME_PROFILE, "configMap": source})
    return made


def _profile(name: str, spec: Spec) -> ConfigMapKey | None:
    """Where the reference lies: given, or learned and then written by the operator."""
    if spec.reference.learn is not None:
        return ConfigMapKey(name=naming.learned_profile(name), key=FILE_PROFILE)
    return spec.reference.config_map


def _common(name: str, spec: Spec, place: Place, settings: Settings) -> Object:
    policy = {"imagePullPolicy": settings.pull_policy} if settings.pull_policy else {}
    return {
        "image": settings.image,
        **policy,
        "restartPolicy": "Always",
        "env": _environment(name, spec, place),
        "securityContext": _security_context(place.pod),
        "volumeMounts": _mounts(name, spec),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _mounts(name: str, spec: Spec) -> list[Object]:
    mounts: list[Object] = [
        {"name": contract.VOLUME_SHARED, "mountPath": contract.DIR_SHARED},
        {"name": contract.VOLUME_CONFIG, "mountPath": contract.DIR_CONFIG, "readOnly": True},
        # The ServiceAccount plugin runs again after us and gives its token to each container that has nothing
        # mounted there. A sidecar needs no token, so that it mounts an empty folder.
        {"name": VOLUME_NOTHING, "mountPath": DIR_SERVICE_ACCOUNT, "readOnly": True},
    ]
    if _profile(name, spec) is not None:
        mounts.append({"name": contract.VOLUME_PROFILE, "mountPath": contract.DIR_PROFILE, "readOnly": True})
    return mounts


def _environment(name: str, spec: Spec, place: Place) -> list[Object]:
    labels = labels_of(place.pod)
    values = {
        contract.ENV_MODEL: name,
        contract.ENV_ARM: labels.get(contract.LABEL_ARM) or contract.ARM_CANDIDATE,
        contract.ENV_UPSTREAM_PORT: str(place.port),
        contract.ENV_WIRE_PORT: str(contract.PORT_WIRE),
        contract.ENV_HEALTH_PORT: str(contract.PORT_HEALTH),
        contract.ENV_ADMIN_PORT: str(contract.PORT_ADMIN),
        contract.ENV_CONFIG_DIR: contract.DIR_CONFIG,
        contract.ENV_SHARED_DIR: contract.DIR_SHARED,
        contract.ENV_GRACE_PERIOD: str(place.grace_s),
        contract.ENV_MODEL_CONTAINER: str(place.model["name"]),
        contract.ENV_PROC_SHARED: "true" if place.shares_processes else "false",
    }
    if _profile(name, spec) is not None:
        values[contract.ENV_PROFILE_PATH] = f"{contract.DIR_PROFILE}/{FILE_PROFILE}"
    hashes = (contract.LABEL_POD_TEMPLATE_HASH, _LABEL_CONTROLLER_REVISION_HASH, contract.LABEL_REVISION)
    revision = next((label for label in hashes if label in labels), contract.LABEL_POD_TEMPLATE_HASH)
    fields = {
        contract.ENV_POD_IP: "status.podIP",
        contract.ENV_POD_NAME: "metadata.name",
        contract.ENV_POD_UID: "metadata.uid",
        contract.ENV_NAMESPACE: "metadata.namespace",
        contract.ENV_REVISION: f"metadata.labels['{revision}']",
    }
    return [
        *({"name": key, "value": value} for key, value in values.items()),
        *(
            {"name": key, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
            for key, path in fields.items()
        ),
        *_limits(place.model),
    ]


def _limits(model: Object) -> list[Object]:
    """Limits of the model's container; without a limit the kubelet would report the whole node as one."""
    limits = (model.get("resources") or {}).get("limits") or {}
    wanted = (("cpu", contract.ENV_MODEL_CPU_LIMIT, "1m"), ("memory", contract.ENV_MODEL_MEMORY_LIMIT, "1"))
    return [
        {
            "name": variable,
            "valueFrom": {
                "resourceFieldRef": {"containerName": model["name"], "resource": f"limits.{kind}", "divisor": divisor}
            },
        }
        for kind, variable, divisor in wanted
        if kind in limits
    ]


def _security_context(pod: Object) -> Object:
    """What Pod Security ``restricted`` asks for; a uid only where the pod's own is root."""
    own = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    return {
        **({"runAsUser": NON_ROOT_UID} if own == 0 else {}),
        "runAsNonRoot": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _probe(path: str, port: int, *, period_s: int, failures: int) -> Object:
    get = {"path": path, "port": port, "scheme": "HTTP"}
    return {
        "httpGet": get,
        "periodSeconds": period_s,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
        "successThreshold": 1,
    }


def shares_processes(pod: Object, spec: Spec) -> bool:
    """Whether injection asks for one process namespace; the API refuses it beside ``hostPID``."""
    return spec.resources.source is ResourceSource.PROCESS_NAMESPACE and not pod["spec"].get("hostPID")
