import pytest

from onguard import contract
from onguard_operator import guarding
from tests.unit.operator import worlds
from tests.unit.operator.worlds import piece, pod, service, world

WIRE = contract.PORT_WIRE
BARE = pod("bare", injection=None)


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({}, "True", "Guarded"),
        ({"target": None}, "Unknown", "TargetNotFound"),
        ({"namespace": {"metadata": {"name": "shop"}}}, "False", "NamespaceNotLabelled"),
        ({"pods": []}, "Unknown", "NoPods"),
        ({"pods": [pod("a", ready=False)]}, "Unknown", "NoPods"),
        ({"services": []}, "Unknown", "NoService"),
        ({"services": [service("http", selector={"app": "other"})]}, "Unknown", "NoService"),
        ({"services": [service(8080)]}, "False", "NumericTargetPort"),
        ({"services": [service(9999)]}, "True", "Guarded"),
        ({"services": [service("http", clusterIP="None")]}, "False", "HeadlessService"),
        ({"pods": [pod("a"), BARE]}, "False", "UnguardedPods"),
        ({"pods": [pod("a", injection="PortNameClash")]}, "False", "PortNameClash"),
        ({"slices": [piece(8080, pod("a"))]}, "False", "UnguardedPods"),
        (
            {
                "spec": {"traffic": {"takeover": "Service"}},
                "services": [service(8080, metadata={"labels": {"argocd.argoproj.io/instance": "x"}})],
            },
            "False",
            "ServiceOwnedByController",
        ),
    ],
)
def test_traffic_is_guarded_or_the_condition_says_why(fields: dict, status: str, reason: str) -> None:
    condition = guarding.traffic_guarded(world(**fields))
    assert (condition.status, condition.reason) == (status, reason)
    assert condition.status != "False" or "fix: " in condition.message


def test_a_hook_of_the_models_own_is_said() -> None:
    template = worlds.template()
    template["spec"]["containers"][0]["lifecycle"] = {"preStop": {"sleep": {"seconds": 1}}}
    assert guarding.drain_guaranteed(world(target=worlds.deployment(template))).reason == "OwnPreStopHook"
    assert guarding.drain_guaranteed(world()).status == "True"


@pytest.mark.parametrize(
    ("spec", "labels", "expected"),
    [
        ({}, {}, "Automatic"),
        ({}, {"kustomize.toolkit.fluxcd.io/name": "apps"}, "Manual"),
        ({"inject": {"rollout": "Automatic"}}, {"kustomize.toolkit.fluxcd.io/name": "apps"}, "Automatic"),
        ({"inject": {"rollout": "Manual"}}, {}, "Manual"),
    ],
)
def test_gitops_restarts_by_hand_unless_told_otherwise(spec: dict, labels: dict, expected: str) -> None:
    target = worlds.deployment(worlds.template(), labels=labels)
    assert guarding.rollout_of(world(spec, target=target)) == expected
