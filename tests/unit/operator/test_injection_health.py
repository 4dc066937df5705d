from datetime import UTC, datetime

import pytest

from onguard import contract
from onguard_operator import injection
from tests.unit.operator import worlds
from tests.unit.operator.worlds import pod, world

NOW = datetime(2026, 11, 25, 2, 0, tzinfo=UTC)
IMAGE = "sidecar:1"
JUST_NOW = "2026-11-25T01:59:30Z"


def stuck(created: str = "2026-11-25T01:50:00Z", name: str = contract.CONTAINER_WIRE) -> dict:
    statuses = [{"name": name, "state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    return pod("s", ready=False, status={"initContainerStatuses": statuses}, metadata={"creationTimestamp": created})


def restarted(at: str) -> dict:
    return worlds.deployment(worlds.template(**{contract.ANNOTATION_RESTARTED_AT: at}))


def suspended(image: str = IMAGE, generation: int = 1) -> dict:
    model = worlds.mdep()
    model["metadata"]["generation"] = generation
    condition = {
        "type": "Injected",
        "status": "False",
        "reason": "InjectionSuspended",
        "message": "it hung",
        "observedGeneration": 1,
    }
    return {**model, "status": {"suspendedImages": [image], "conditions": [condition]}}


@pytest.mark.parametrize(
    ("fields", "images"),
    [
        ({"pods": [stuck()]}, [IMAGE]),
        ({"pods": [stuck(created=JUST_NOW)]}, []),
        ({"pods": [stuck(name="their-init")]}, []),
        ({"pods": [pod("a")]}, []),
        ({"mdep": suspended()}, [IMAGE]),
        ({"mdep": suspended("older:1")}, []),
        ({"mdep": suspended(generation=2)}, []),
    ],
    ids=["stuck", "young", "not ours", "fine", "stays", "another image", "spec changed"],
)
def test_the_breaker_stops_an_image_that_hangs_for_a_minute(fields: dict, images: list[str]) -> None:
    assert injection.suspension(world(**fields), NOW, sidecar_image=IMAGE)[0] == images


def failing(text: str, since: str = "2026-11-25T01:59:00Z") -> dict:
    condition = {"type": "ReplicaFailure", "status": "True", "message": text, "lastTransitionTime": since}
    meta = {"name": "rs", "uid": "uid-rs", "creationTimestamp": "2026-11-25T01:58:00Z"}
    return {
        "metadata": meta,
        "spec": {"replicas": 2, "template": worlds.template()},
        "status": {"conditions": [condition]},
    }


def test_a_quota_that_refuses_the_larger_pods_suspends_injection_and_is_named() -> None:
    seen = world(pods=[], replica_sets=[failing("pods is forbidden: exceeded quota: tight")])
    images, why = injection.suspension(seen, NOW, sidecar_image=IMAGE)
    assert images == [IMAGE]
    assert "exceeded quota" in why
    assert "quota" in injection.injected(seen, NOW, sidecar_image=IMAGE).message
    other = world(pods=[], replica_sets=[failing("admission webhook denied")])
    assert injection.suspension(other, NOW, sidecar_image=IMAGE) == ([], "")


def test_a_suspension_keeps_its_reason_after_the_pods_have_started() -> None:
    condition = injection.injected(world(mdep=suspended()), NOW, sidecar_image=IMAGE)
    assert (condition.reason, condition.message) == ("InjectionSuspended", "it hung")


BARE = pod("bare", injection=None)


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({"pods": [pod("a")]}, False),
        ({"pods": [BARE]}, True),
        ({"pods": [pod("x", injection="HostNetwork")]}, False),
        ({"pods": [pod("x", injection="InjectionSuspended")]}, True),
        ({"pods": [BARE], "is_gate_ready": False}, False),
        ({"pods": [BARE], "may_restart": False}, False),
        ({"pods": [BARE], "sidecar_map": None}, False),
        ({"pods": [BARE], "namespace": {"metadata": {"name": "shop"}}}, False),
        ({"pods": [BARE], "spec": {"inject": {"rollout": "Manual"}}}, False),
        ({"pods": [BARE], "mdep": suspended()}, False),
        ({"pods": [BARE], "target": worlds.deployment(worlds.template(), settled=False)}, False),
        ({"pods": [BARE], "target": restarted("2026-11-25T01:55:00Z")}, False),
        ({"pods": [BARE], "target": restarted("2026-11-25T01:30:00Z")}, True),
    ],
)
def test_pods_are_restarted_for_their_sidecar_only_when_that_helps(fields: dict, due: bool) -> None:
    assert injection.is_restart_due(world(**fields), NOW, sidecar_image=IMAGE) is due


def test_pods_that_hang_on_a_suspended_image_are_replaced_once() -> None:
    assert injection.is_relief_due(world(mdep=suspended(), pods=[stuck()]), NOW)
    assert not injection.is_relief_due(world(pods=[stuck()]), NOW), "not before the gate can know"
    after = world(mdep=suspended(), pods=[stuck()], target=restarted("2026-11-25T01:59:00Z"))
    assert not injection.is_relief_due(after, NOW)
