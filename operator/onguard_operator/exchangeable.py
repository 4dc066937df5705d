"""
May the arms be compared? Only where each new connection is as likely to reach either of them.

A ClusterIP draws an endpoint for each connection. Whatever ties a client to pods by who or where it is gives the arms
different clients, and what differs between those is then taken for the release's doing.
"""

from collections.abc import Mapping
from typing import Final

from onguard import contract
from onguard_operator import guarding
from onguard_operator.objects import Object, annotations_of, name_of
from onguard_operator.observe import Observed
from onguard_operator.status import Condition, fails, holds

NOT_EXCHANGEABLE: Final = "ArmsNotExchangeable"
_TOPOLOGY: Final = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
_OFF: Final = ("", "disabled")


def obstacle(seen: Observed) -> str:
    """Say why clients do not reach the arms at random, and the cure; empty if they do as far as Services show."""
    found = ((service, _obstacle_of(service)) for service in guarding.services_of(seen))
    return next((f"Service {name_of(service)} {text}" for service, text in found if text), "")


def _obstacle_of(service: Object) -> str:
    spec: Mapping[str, object] = service["spec"]
    if spec.get("clusterIP") == "None":
        return "is headless, so that clients choose their pods themselves; fix: a Service with a ClusterIP"
    if spec.get("sessionAffinity", "None") != "None":
        return "has session affinity, so that a client keeps its pod; fix: sessionAffinity: None"
    if spec.get("trafficDistribution"):
        return f"prefers near pods (trafficDistribution: {spec['trafficDistribution']}); fix: leave it out"
    for key in _TOPOLOGY:
        if annotations_of(service).get(key, "").lower() not in _OFF:
            return f"prefers near pods (annotation {key}); fix: remove the annotation"
    for field in ("internalTrafficPolicy", "externalTrafficPolicy"):
        if spec.get(field) == "Local":
            return f"sends clients to pods of their own node ({field}: Local); fix: {field}: Cluster"
    return ""


def arms_exchangeable(seen: Observed) -> Condition:
    """Judge whether a new revision can be compared with the old one while both serve."""
    text = obstacle(seen)
    if text:
        return fails(contract.CONDITION_ARMS_EXCHANGEABLE, NOT_EXCHANGEABLE, text)
    return holds(contract.CONDITION_ARMS_EXCHANGEABLE, "Random", "connections reach either revision at random")
