"""Injection as the pods show it: who runs without a sidecar and why, and when it is our own that stops a pod."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from onguard import contract
from onguard.spec import Rollout
from onguard_operator import release
from onguard_operator.guarding import is_injected, is_namespace_labelled, rollout_of
from onguard_operator.objects import Object, annotations_of, condition_of, name_of, time_of
from onguard_operator.observe import Observed
from onguard_operator.status import Condition, fails, holds, unknown

STUCK_AFTER: Final = timedelta(minutes=1)
REFUSED_AFTER: Final = timedelta(seconds=15)
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


def suspension(seen: Observed, now: datetime, *, sidecar_image: str) -> tuple[Sequence[str], str]:
    """
    Sidecar images that injection stops with for this ModelDeployment, and why the newest of them.

    An image stays suspended until another one is installed or the ModelDeployment's spec changes.
    """
    known = [image for image in suspended_images(seen.mdep) if image == sidecar_image and not _is_reset(seen)]
    for pod, container, reason in stuck_sidecars(seen, now):
        image = _image_of(pod, container["name"])
        if image and image not in known:
            return [*known, image], f"container {container['name']} of pod {name_of(pod)} hung in {reason}"
    refusal = refused_creation(seen, now)
    if refusal and sidecar_image not in known:
        return [*known, sidecar_image], f"pods with a sidecar are refused: {refusal}"
    return known, ""


def _is_reset(seen: Observed) -> bool:
    """Whether the spec was changed after the suspension."""
    condition = condition_of(seen.mdep, contract.CONDITION_INJECTED) or {}
    return int(condition.get("observedGeneration", 0)) < int(seen.mdep["metadata"].get("generation", 0))


def refused_creation(seen: Observed, now: datetime) -> str | None:
    """Why the API server refuses the target's pods although injection would make them larger; None: it does not."""
    if not is_namespace_labelled(seen):
        return None
    for owner in seen.replica_sets:
        failure = condition_of(owner, "ReplicaFailure") or {}
        since = time_of(failure.get("lastTransitionTime"))
        text = str(failure.get("message", ""))
        refused = "quota" in text or "violates PodSecurity" in text
        if owner["spec"].get("replicas") and failure.get("status") == "True" and refused and since is not None:
            return text if now - since >= REFUSED_AFTER else None
    return None


def _image_of(pod: Object, container: str) -> str:
    declared = pod["spec"].get("initContainers") or ()
    return next((str(c.get("image", "")) for c in declared if c["name"] == container), "")


def is_restart_due(seen: Observed, now: datetime, *, sidecar_image: str) -> bool:
    """
    Whether pods should be restarted to get their sidecar.

    Only by the rollout annotation, never while a rollout runs or the gate is away, and never sooner than ten minutes
    after the last.
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
    if sidecar_image in suspended_images(seen.mdep) or not seen.is_gate_ready:
        return False
    # A pod with a reason has been refused for good; one without any was created while the gate was away.
    reasons = [annotations_of(pod).get(contract.ANNOTATION_INJECTION, "") for pod in seen.model_pods]
    return any(reason in ("", SUSPENDED) for reason in reasons)


def is_relief_due(seen: Observed, now: datetime) -> bool:
    """
    Whether pods that can't start with a suspended image must be replaced, whoever restarts pods otherwise.

    Once: pods, and failures to create any, that are older than the last restart are on their way out already.
    """
    images = suspended_images(seen.mdep)
    if seen.target is None or not seen.may_restart or not images:
        return False
    last = time_of(release.restarted_at(seen.target["spec"]["template"]))
    hanging = [
        time_of(pod["metadata"]["creationTimestamp"])
        for pod, container, _ in stuck_sidecars(seen, now)
        if _image_of(pod, container["name"]) in images
    ]
    failing = [time_of(owner["metadata"]["creationTimestamp"]) for owner in _refused(seen, now)]
    return any(last is None or (since or now) > last for since in (*hanging, *failing))


def _refused(seen: Observed, now: datetime) -> Sequence[Object]:
    if refused_creation(seen, now) is None:
        return ()
    return [owner for owner in seen.replica_sets if condition_of(owner, "ReplicaFailure")]


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
    images, why = suspension(seen, now, sidecar_image=sidecar_image)
    if images:
        return fails(kind, SUSPENDED, _why_suspended(seen, why))
    pods = seen.live_pods
    if not pods:
        return unknown(kind, "NoPods", "the target has no pods")
    bare = [pod for pod in pods if not is_injected(pod)]
    if not bare:
        return holds(kind, "AllPods", f"all {len(pods)} pods carry the sidecar")
    return _of_bare(seen, bare)


def _why_suspended(seen: Observed, why: str) -> str:
    """Keep saying what the trouble was: once pods start without the sidecar, nothing shows it any more."""
    before = condition_of(seen.mdep, contract.CONDITION_INJECTED) or {}
    if not why and before.get("reason") == SUSPENDED:
        return str(before.get("message", ""))
    return f"{why}; pods start without a sidecar until another image is installed or the ModelDeployment is changed"


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
    if not seen.is_gate_ready:
        return fails(
            kind, "GateNotReady", f"{len(bare)} pods came without a sidecar and the gate has no ready endpoint"
        )
    return unknown(kind, "RestartPending", f"{len(bare)} pods wait for their restart")
