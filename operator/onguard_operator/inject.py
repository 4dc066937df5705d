"""
Admission of one pod: which changes make it guarded, or why it starts as it is.

Pure. The patch only adds at the front or end of lists and replaces single values; no array is ever replaced.
Every field that it may touch stands in :data:`TOUCHED` and in docs/injection.md. Applied twice, it is the same
as once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from onguard import contract
from onguard.spec import Spec
from onguard_operator import sidecar_containers
from onguard_operator.objects import Object, annotations_of, controller_of, labels_of
from onguard_operator.sidecar_containers import Place, Settings

DEFAULT_GRACE_S: Final = 30
_MIRROR: Final = "kubernetes.io/config.mirror"
_SCRAPE: Final = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(contract.PORT_ADMIN),
    "prometheus.io/path": "/metrics",
}
_OUR_PORTS: Final = (contract.PORT_WIRE, contract.PORT_HEALTH, contract.PORT_ADMIN)
_PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")
_HOOKS: Final = ("postStart", "preStop")

TOUCHED: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"/metadata/labels(/onguard\.dev~1guarded-by)?",
        r"/metadata/annotations(/onguard\.dev~1(injection|model-port)|/prometheus\.io~1(scrape|port|path))?",
        r"/spec/initContainers(/0)?",
        r"/spec/volumes(/-)?",
        r"/spec/imagePullSecrets(/-)?",
        r"/spec/terminationGracePeriodSeconds",
        r"/spec/shareProcessNamespace",
        r"/spec/containers/\d+/ports/\d+/name",
        r"/spec/containers/\d+/(startup|readiness|liveness)Probe/(httpGet|tcpSocket)/port",
        r"/spec/containers/\d+/lifecycle/(postStart|preStop)/(httpGet|tcpSocket)/port",
        r"/spec/containers/\d+/lifecycle(/preStop)?",
    )
)
"""JSON pointers that a patch may carry, each a full match."""


class Reason(StrEnum):
    """Why a pod starts without a sidecar; the value of the pod's annotation."""

    OPTED_OUT = "OptedOut"
    MIRROR_POD = "MirrorPod"
    HOST_NETWORK = "HostNetwork"
    JOB_POD = "JobPod"
    WINDOWS = "UnsupportedOS"
    CLUSTER_TOO_OLD = "ClusterTooOld"
    SUSPENDED = "InjectionSuspended"
    SPEC_INVALID = "SpecInvalid"
    PORT_NOT_FOUND = "PortNotFound"
    PORT_UNNAMED = "PortUnnamed"
    PORT_AMBIGUOUS = "PortAmbiguous"
    PORT_CLASH = "PortClash"
    PORT_NAME_CLASH = "PortNameClash"
    CONTAINER_NAME_CLASH = "ContainerNameClash"
    VOLUME_CLASH = "VolumeClash"


@dataclass(frozen=True, kw_only=True)
class Guard:
    """The ModelDeployment that a pod belongs to, as far as injection needs it."""

    name: str
    spec: Spec
    is_suspended: bool = False


@dataclass(frozen=True)
class Patch:
    """JSON Patch (RFC 6902) that guards the pod; empty if it is guarded already."""

    operations: tuple[Object, ...]


@dataclass(frozen=True)
class NotInjected:
    """The pod starts as it is. ``operations`` write the reason into its annotation and nothing else."""

    reason: Reason
    message: str
    operations: tuple[Object, ...] = ()


@dataclass(frozen=True)
class _Found:
    container: int
    port: int
    number: int


def inject(pod: Object, guard: Guard, settings: Settings) -> Patch | NotInjected:
    """
    Decide about one pod at its creation.

    Args:
        pod: the pod as the API server sends it; not changed.
        guard: its ModelDeployment.
        settings: what the installer decided.
    """
    if is_injected(pod):
        return Patch(())
    refused = next(_refusals(pod, guard, settings), None)
    if refused is not None:
        return refuse(pod, refused)
    found = _model_port(pod, guard.spec.traffic.ports[0].name)
    if isinstance(found, NotInjected):
        return refuse(pod, found)
    clash = next(_clashes(pod, found), None)
    return refuse(pod, clash) if clash is not None else Patch(tuple(_operations(pod, guard, found, settings)))


def is_injected(pod: Object) -> bool:
    """Whether both sidecars are there already."""
    names = {container.get("name") for container in pod["spec"].get("initContainers") or ()}
    return {contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST} <= names


def refuse(pod: Object, refused: NotInjected) -> NotInjected:
    """Add the operations that write the reason down; none if it is written already."""
    if annotations_of(pod).get(contract.ANNOTATION_INJECTION) == refused.reason:
        return refused
    return replace(refused, operations=tuple(_annotate(pod, {contract.ANNOTATION_INJECTION: refused.reason.value})))


def _refusals(pod: Object, guard: Guard, settings: Settings) -> Iterator[NotInjected]:
    spec, annotations = pod["spec"], annotations_of(pod)
    owner = controller_of(pod) or {}
    have, need = settings.kubernetes, contract.MINIMUM_KUBERNETES
    table: tuple[tuple[bool, Reason, str], ...] = (
        (
            annotations.get(contract.ANNOTATION_INJECT) == "disabled",
            Reason.OPTED_OUT,
            f"the pod carries {contract.ANNOTATION_INJECT}: disabled",
        ),
        (_MIRROR in annotations, Reason.MIRROR_POD, "static pods can not be changed by admission"),
        (
            bool(spec.get("hostNetwork")),
            Reason.HOST_NETWORK,
            "a pod in the host's network shares its ports with the node: remove hostNetwork",
        ),
        (owner.get("kind") == "Job", Reason.JOB_POD, "pods of Jobs serve no traffic"),
        ((spec.get("os") or {}).get("name") == "windows", Reason.WINDOWS, "the sidecar runs on Linux"),
        (
            have < need,
            Reason.CLUSTER_TOO_OLD,
            f"expected Kubernetes {need[0]}.{need[1]} or later, got {have[0]}.{have[1]}",
        ),
        (
            guard.is_suspended,
            Reason.SUSPENDED,
            "a pod was stuck on this sidecar image; injection is suspended until the image changes",
        ),
    )
    return (NotInjected(reason, message) for holds, reason, message in table if holds)


def _model_port(pod: Object, name: str) -> _Found | NotInjected:
    containers = pod["spec"]["containers"]
    found = [
        _Found(index, place, port["containerPort"])
        for index, container in enumerate(containers)
        for place, port in enumerate(container.get("ports") or ())
        if port.get("name") == name and port.get("protocol", "TCP") == "TCP"
    ]
    if len(found) == 1:
        return found[0]
    if found:
        return NotInjected(Reason.PORT_AMBIGUOUS, f'expected one container port named "{name}", got {len(found)}')
    unnamed = [port["containerPort"] for c in containers for port in c.get("ports") or () if not port.get("name")]
    if unnamed:
        return NotInjected(
            Reason.PORT_UNNAMED,
            f'expected a TCP container port named "{name}", got only numbers ({", ".join(map(str, unnamed[:5]))}): '
            f"name the port in the pod template and let the Service's targetPort be that name",
        )
    return NotInjected(
        Reason.PORT_NOT_FOUND,
        f'expected a TCP container port named "{name}", got none: set spec.traffic.ports[0].name to the name of the '
        f"model's port",
    )


def _clashes(pod: Object, found: _Found) -> Iterator[NotInjected]:
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    ports = [port for container in containers for port in container.get("ports") or ()]
    taken = {
        Reason.PORT_CLASH: (_OUR_PORTS, {port["containerPort"] for port in ports}),
        Reason.PORT_NAME_CLASH: (
            (_new_name(found.number), contract.PORT_NAME_ADMIN, contract.PORT_NAME_HEALTH),
            {port.get("name") for port in ports},
        ),
        Reason.CONTAINER_NAME_CLASH: (
            (contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST),
            {container["name"] for container in containers},
        ),
        Reason.VOLUME_CLASH: (_VOLUMES, {volume["name"] for volume in spec.get("volumes") or ()}),
    }
    for reason, (ours, theirs) in taken.items():
        both = [each for each in ours if each in theirs]
        if both:
            yield NotInjected(reason, f"the pod uses {both[0]} itself, which injection needs: rename or renumber it")


_VOLUMES: Final = (
    contract.VOLUME_SHARED,
    contract.VOLUME_CONFIG,
    contract.VOLUME_PROFILE,
    sidecar_containers.VOLUME_NOTHING,
)


def _operations(pod: Object, guard: Guard, found: _Found, settings: Settings) -> Iterator[Object]:
    spec = pod["spec"]
    model = spec["containers"][found.container]
    own_hook = (model.get("lifecycle") or {}).get("preStop") is not None
    old_grace = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_S)
    grace = old_grace if own_hook else old_grace + settings.drain_sleep_s
    shares = sidecar_containers.shares_processes(pod, guard.spec)
    place = Place(pod=pod, model=model, port=found.number, grace_s=grace, shares_processes=shares)

    yield from _move_name(model, guard.spec.traffic.ports[0].name, found)
    if not own_hook:
        yield from _let_drain(model, f"/spec/containers/{found.container}", settings.drain_sleep_s)
        yield _add("/spec/terminationGracePeriodSeconds", grace)
    if shares and not spec.get("shareProcessNamespace"):
        yield _add("/spec/shareProcessNamespace", True)
    wire, analyst = sidecar_containers.sidecars(guard.name, guard.spec, place, settings)
    # In front of all others: init containers of the pod keep their order, and what starts first ends last.
    yield from _prepend(spec, "initContainers", [wire, analyst])
    yield from _append(spec, "volumes", sidecar_containers.volumes(guard.name, guard.spec))
    yield from _append(spec, "imagePullSecrets", [{"name": name} for name in settings.pull_secrets])
    yield from _mark(pod, guard, found, settings)


def _move_name(model: Object, name: str, found: _Found) -> Iterator[Object]:
    """Give the model's port another name; its own probes and hooks that used the name get the number."""
    base = f"/spec/containers/{found.container}"
    yield {"op": "replace", "path": f"{base}/ports/{found.port}/name", "value": _new_name(found.number)}
    lifecycle = model.get("lifecycle") or {}
    handlers = [(key, model.get(key)) for key in _PROBES] + [(f"lifecycle/{key}", lifecycle.get(key)) for key in _HOOKS]
    for path, handler in handlers:
        for kind in ("httpGet", "tcpSocket"):
            if ((handler or {}).get(kind) or {}).get("port") == name:
                yield {"op": "replace", "path": f"{base}/{path}/{kind}/port", "value": found.number}


def _let_drain(model: Object, base: str, seconds: int) -> Iterator[Object]:
    hook = {"sleep": {"seconds": seconds}}
    if model.get("lifecycle"):
        yield _add(f"{base}/lifecycle/preStop", hook)
    else:
        yield _add(f"{base}/lifecycle", {"preStop": hook})


def _mark(pod: Object, guard: Guard, found: _Found, settings: Settings) -> Iterator[Object]:
    yield from _put(pod, "labels", {contract.LABEL_GUARDED_BY: guard.name})
    scraped = settings.scrape_annotations and "prometheus.io/scrape" not in annotations_of(pod)
    yield from _annotate(
        pod,
        {
            contract.ANNOTATION_INJECTION: contract.INJECTION_DONE,
            contract.ANNOTATION_MODEL_PORT: str(found.number),
            **(_SCRAPE if scraped else {}),
        },
    )


def _annotate(pod: Object, values: dict[str, str]) -> Iterator[Object]:
    return _put(pod, "annotations", values)


def _put(pod: Object, where: str, values: dict[str, str]) -> Iterator[Object]:
    """Set keys of ``metadata.labels`` or ``metadata.annotations`` and leave the others alone."""
    present = labels_of(pod) if where == "labels" else annotations_of(pod)
    if not present:
        yield _add(f"/metadata/{where}", values)
        return
    for key, value in values.items():
        yield _add(f"/metadata/{where}/{_escape(key)}", value)


def _prepend(spec: Object, key: str, items: list[Object]) -> Iterator[Object]:
    if not spec.get(key):
        yield _add(f"/spec/{key}", items)
        return
    for item in reversed(items):
        yield _add(f"/spec/{key}/0", item)


def _append(spec: Object, key: str, items: list[Object]) -> Iterator[Object]:
    new = [item for item in items if item not in (spec.get(key) or ())]
    if new and not spec.get(key):
        yield _add(f"/spec/{key}", new)
        return
    for item in new:
        yield _add(f"/spec/{key}/-", item)


def _add(path: str, value: Any) -> Object:
    return {"op": "add", "path": path, "value": value}


def _escape(key: str) -> str:
    """JSON pointer token (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _new_name(number: int) -> str:
    return f"{contract.MODEL_PORT_NAME_PREFIX}{number}"
