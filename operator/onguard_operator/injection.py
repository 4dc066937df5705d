"""Injection as the pods show it: who runs without a sidecar and why, and when it is our own that stops a pod."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from onguard import contract
from onguard.spec import Rollout
from onguard_operator import release
from onguard_operator.guarding import is_injected, is_namespace_labelled, rollout_of
from onguard_operator.objects import Object, annotations_of, name_of, time_of
from onguard_operator.observe import Observed
from onguard_operator.status import Condition, fails, holds, unknown

STUCK_AFTER: Final = timedelta(minutes=1)
RESTART_EVERY: Final = timedelta(minutes=10)
"""Pods that came without a sidecar although they passed an admitting gate are not restarted more often than this."""
SUSPENDED: Final = "InjectionSuspended"
_STUCK: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_OURS: Final = (contract.CONTAINER_WIRE, contract.CONTAINER_ANALYST)


def suspended_images(mdep: Object) -> Sequence[str]:
    """Sidecar images that kept a pod of this ModelDeployment from starting."""
    return (mdep.get("status") or {}).get("suspendedImages") or ()


def stuck_sidecars(seen: Observed, now: datetime) -> Iterator[tuple[Object, Object, str]]:
    """
    Pods that have waited on our container for over a minute.

    Yields:
        pod, status of our container, reason that the kubelet gives.
    """
    for pod in seen.live_pods:
        began = time_of(pod["metadata"].get("creationTimestamp"))
        if is_injected(pod) and began is not None and now - began >= STUCK_AFTER:
            for container in (pod.get("status") or {}).get("initContainerStatuses") or ():
                reason = ((container.get("state") or {}).get("waiting") or {}).get("reason", "")
                if container["name"] in _OURS and reason in _STUCK:
                    yield pod, container, reason


def images_to_suspend(seen: Observed, now: datetime) -> Sequence[str]:
    """Sidecar images, as the pod names them, that the breaker must stop now."""
    known = suspended_images(seen.mdep)
    images = {_image_of(pod, container["name"]) for pod, container, _ in stuck_sidecars(seen, now)}
    return sorted(images - set(known) - {""})


def _image_of(pod: Object, container: str) -> str:
    declared = pod["spec"].get("initContainers") or ()
    return next((str(c.get("image", "")) for c in declared if c["name"] == container), "")


def is_restart_due(seen: Observed, now: datetime, *, sidecar_image: str) -> bool:
    """
    Whether pods should be restarted to get their sidecar, or to get rid of one that keeps them from starting.

    Only by the rollout annotation, never while a rollout runs, and never sooner than ten minutes after the last.
    """
    if seen.target is None or not seen.may_restart or not _is_settled(seen.target):
        return False
    last = time_of(release.restarted_at(seen.target["spec"]["template"]))
    if last is not None and now - last < RESTART_EVERY:
        return False
    return _wants_sidecar(seen, sidecar_image)


def _wants_sidecar(seen: Observed, sidecar_image: str) -> bool:
    if rollout_of(seen) is Rollout.MANUAL or not is_namespace_labelled(seen) or seen.sidecar_map is None:
        return False
    if sidecar_image in suspended_images(seen.mdep):
        return False
    # A pod with a reason has been refused for good; one without any was created while the gate was away.
    return any(contract.ANNOTATION_INJECTION not in annotations_of(pod) for pod in seen.model_pods)


def is_relief_due(seen: Observed, now: datetime) -> bool:
    """Whether injected pods hang on a suspended image and must be replaced, whoever restarts pods otherwise."""
    if seen.target is None or not seen.may_restart:
        return False
    images = suspended_images(seen.mdep)
    hanging = [pod for pod, c, _ in stuck_sidecars(seen, now) if _image_of(pod, c["name"]) in images]
    last = time_of(release.restarted_at(seen.target["spec"]["template"]))
    # Once: pods that were created before the last restart of the template are on their way out already.
    return any(last is None or (time_of(p["metadata"]["creationTimestamp"]) or now) > last for p in hanging)


def _is_settled(target: Object) -> bool:
    status, spec = target.get("status") or {}, target["spec"]
    wanted = spec.get("replicas", 1)
    observed = status.get("observedGeneration", 0) >= target["metadata"].get("generation", 0)
    return (
        observed
        and not spec.get("paused")
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )


def injected(seen: Observed, now: datetime, *, sidecar_image: str) -> Condition:
    """Say how many pods carry the sidecar, and why others don't."""
    kind = contract.CONDITION_INJECTED
    if seen.target is None:
        return unknown(kind, "TargetNotFound")
    stuck = next(stuck_sidecars(seen, now), None)
    if suspended_images(seen.mdep) and (sidecar_image in suspended_images(seen.mdep) or stuck):
        return fails(
            kind, SUSPENDED, f"a pod hung on sidecar image {sidecar_image}: pods start without it; fix: a working image"
        )
    if stuck:
        pod, container, reason = stuck
        return fails(kind, "SidecarStuck", f"container {container['name']} of pod {name_of(pod)} waits: {reason}")
    pods = seen.live_pods
    if not pods:
        return unknown(kind, "NoPods", "the target has no pods")
    bare = [pod for pod in pods if not is_injected(pod)]
    if not bare:
        return holds(kind, "AllPods", f"all {len(pods)} pods carry the sidecar")
    return _of_bare(seen, bare)


def _of_bare(seen: Observed, bare: Sequence[Object]) -> Condition:
    kind = contract.CONDITION_INJECTED
    reasons = Counter(annotations_of(pod).get(contract.ANNOTATION_INJECTION, "") for pod in bare)
    named = [reason for reason in reasons if reason]
    if named:
        return fails(kind, named[0], f"{reasons[named[0]]} pods can't be given a sidecar: {named[0]}")
    restart = f"kubectl rollout restart deployment/{seen.spec.target_ref.name}"
    if not is_namespace_labelled(seen):
        return fails(kind, "NamespaceNotLabelled", f"the namespace lacks the label {contract.LABEL_INJECT}=enabled")
    if rollout_of(seen) is Rollout.MANUAL:
        return fails(kind, "RestartNeeded", f"{len(bare)} pods are older than their sidecar; fix: {restart}")
    if not seen.may_restart:
        return fails(kind, "RestartForbidden", f"the operator may not restart {len(bare)} pods; fix: {restart}")
    return unknown(kind, "RestartPending", f"{len(bare)} pods wait for their restart")
