"""
Does traffic pass the sidecar? Computed from what kube-proxy acts on: Services and their EndpointSlices.

Each reason comes with the one line that would cure it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from onguard import contract
from onguard.spec import Rollout, Takeover
from onguard_operator.objects import (
    Object,
    annotations_of,
    containers_of,
    controller_of,
    is_ready,
    labels_of,
    matches,
    name_of,
    uid_of,
)
from onguard_operator.observe import Observed
from onguard_operator.status import Condition, fails, holds, unknown

NUMERIC_TARGET_PORT: Final = "NumericTargetPort"
HEADLESS_SERVICE: Final = "HeadlessService"
NAMESPACE_NOT_LABELLED: Final = "NamespaceNotLabelled"
PORT_NAME_CLASH: Final = "PortNameClash"
UNGUARDED_PODS: Final = "UnguardedPods"
SERVICE_OWNED: Final = "ServiceOwnedByController"
NO_SERVICE: Final = "NoService"
NO_PODS: Final = "NoPods"
_GITOPS: Final[Mapping[str, str]] = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}


def gitops_of(item: Object) -> str | None:
    """
    Name of the GitOps controller that keeps the object as it stands in Git; None if there is none.

    >>> gitops_of({"metadata": {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}}})
    'Flux'
    """
    keys = {*labels_of(item), *annotations_of(item)}
    return next((tool for key, tool in _GITOPS.items() if key in keys), None)


def rollout_of(seen: Observed) -> Rollout:
    """Who restarts pods that run without a sidecar: what the spec says; a person where Git owns the template."""
    if seen.spec.inject.rollout is not None:
        return seen.spec.inject.rollout
    return Rollout.MANUAL if seen.target is not None and gitops_of(seen.target) else Rollout.AUTOMATIC


def is_injected(pod: Object) -> bool:
    """Whether the gate gave the pod its sidecar."""
    return annotations_of(pod).get(contract.ANNOTATION_INJECTION) == contract.INJECTION_DONE


def is_namespace_labelled(seen: Observed) -> bool:
    """Whether pods created in the namespace pass the gate."""
    return labels_of(seen.namespace or {}).get(contract.LABEL_INJECT) == "enabled"


def services_of(seen: Observed) -> Iterator[Object]:
    """Services whose selector matches the target's pods."""
    pod_labels = labels_of(seen.template or {})
    return (s for s in seen.services if matches(s["spec"].get("selector") or {}, pod_labels))


def guarded_pods(seen: Observed) -> frozenset[str]:
    """Uids of the pods that some Service reaches through the wire's port."""
    return frozenset(uid for uid, ports in _ports_by_pod(seen).items() if contract.PORT_WIRE in ports)


def _ports_by_pod(seen: Observed) -> Mapping[str, set[int]]:
    names = {name_of(service) for service in services_of(seen)}
    found: dict[str, set[int]] = {}
    for piece in seen.slices:
        if labels_of(piece).get("kubernetes.io/service-name") not in names:
            continue
        ports = {int(port["port"]) for port in piece.get("ports") or () if port.get("port")}
        for endpoint in piece.get("endpoints") or ():
            uid = (endpoint.get("targetRef") or {}).get("uid")
            if uid:
                found.setdefault(uid, set()).update(ports)
    return found


def traffic_guarded(seen: Observed) -> Condition:
    """Judge whether every ready pod of the target is reached through its wire, by every Service."""
    kind = contract.CONDITION_TRAFFIC_GUARDED
    if seen.target is None:
        return unknown(kind, "TargetNotFound", "nothing to guard yet")
    if not is_namespace_labelled(seen):
        space = seen.mdep["metadata"]["namespace"]
        fix = f"kubectl label namespace {space} {contract.LABEL_INJECT}=enabled"
        return fails(kind, NAMESPACE_NOT_LABELLED, f"pods of this namespace do not pass the gate; fix: {fix}")
    ready = [pod for pod in seen.live_pods if is_ready(pod)]
    if not ready:
        return unknown(kind, NO_PODS, "no pod of the target is ready")
    return _of_pods(seen, ready) or _of_services(seen, ready) or holds(kind, "Guarded", "all traffic passes the wire")


def _of_pods(seen: Observed, ready: Iterable[Object]) -> Condition | None:
    kind = contract.CONDITION_TRAFFIC_GUARDED
    bare = [pod for pod in ready if not is_injected(pod)]
    if not bare:
        return None
    reasons = {annotations_of(pod).get(contract.ANNOTATION_INJECTION, "") for pod in bare}
    if PORT_NAME_CLASH in reasons:
        return fails(
            kind,
            PORT_NAME_CLASH,
            f"pod {name_of(bare[0])} uses a name or a port of the sidecar; fix: rename that container port",
        )
    fix = f"kubectl rollout restart deployment/{seen.spec.target_ref.name}"
    return fails(kind, UNGUARDED_PODS, f"{len(bare)} ready pods run without a sidecar; fix: {fix}")


def _of_services(seen: Observed, ready: Iterable[Object]) -> Condition | None:
    kind = contract.CONDITION_TRAFFIC_GUARDED
    services = list(services_of(seen))
    if not services:
        return unknown(kind, NO_SERVICE, "no Service selects the pods: traffic that goes to them directly is unseen")
    for service in services:
        problem = _problem_of(seen, service)
        if problem:
            return problem
    ports = _ports_by_pod(seen)
    missed = [name_of(pod) for pod in ready if any(p != contract.PORT_WIRE for p in ports.get(uid_of(pod), ()))]
    if missed:
        return fails(
            kind,
            UNGUARDED_PODS,
            f"EndpointSlices send traffic to {missed[0]} past the wire; fix: one named targetPort in the Service",
        )
    return None


def _problem_of(seen: Observed, service: Object) -> Condition | None:
    kind, name = contract.CONDITION_TRAFFIC_GUARDED, name_of(service)
    if service["spec"].get("clusterIP") == "None":
        return fails(
            kind,
            HEADLESS_SERVICE,
            f"Service {name} is headless: clients choose the port themselves; fix: give it a cluster IP",
        )
    if not numeric_ports(seen, service):
        return None
    port = seen.spec.traffic.ports[0].name
    if seen.spec.traffic.takeover is Takeover.SERVICE and owner_of(service):
        return fails(
            kind,
            SERVICE_OWNED,
            f"{owner_of(service)} owns Service {name}; fix: set its targetPort to {port} there",
        )
    return fails(
        kind,
        NUMERIC_TARGET_PORT,
        f"Service {name} names its targetPort by number; fix: set targetPort to {port}, or traffic.takeover to Service",
    )


def owner_of(service: Object) -> str | None:
    """Who keeps the Service as it is, so that a patch of ours would be undone; None: nobody."""
    controller = controller_of(service)
    if controller:
        return f"{controller['kind']} {controller['name']}"
    return gitops_of(service)


def numeric_ports(seen: Observed, service: Object) -> list[int]:
    """Positions of the Service's ports that go to the model's port by its number."""
    number = model_port(seen.template or {}, seen.spec.traffic.ports[0].name)
    ports = service["spec"].get("ports") or ()
    return [i for i, port in enumerate(ports) if number is not None and _target_number(port) == number]


def _target_number(port: Object) -> int | None:
    target = port.get("targetPort", port["port"])
    return target if isinstance(target, int) else None


def model_port(template: Object, name: str) -> int | None:
    """Number of the container port of this name."""
    ports = (port for c in containers_of(template.get("spec") or {}) for port in c.get("ports") or ())
    return next((int(port["containerPort"]) for port in ports if port.get("name") == name), None)


def drain_guaranteed(seen: Observed) -> Condition:
    """A hook of the model's own may end before the endpoints have moved on."""
    kind = contract.CONDITION_DRAIN_GUARANTEED
    if seen.template is None:
        return unknown(kind, "TargetNotFound")
    hooked = [c["name"] for c in containers_of(seen.template["spec"]) if (c.get("lifecycle") or {}).get("preStop")]
    if hooked:
        return fails(
            kind,
            "OwnPreStopHook",
            f"container {hooked[0]} has a preStop hook of its own; fix: let it sleep at least 5 s",
        )
    return holds(kind, "Drained", "requests in flight end before the model stops")
