"""Rollback as values: the kept template of a good revision, and the edit that returns a Deployment to it."""

from collections.abc import Mapping, Sequence
from typing import Final

from onguard import contract
from onguard_operator import images, naming
from onguard_operator.objects import Object, labels_of, name_of, namespace_of, owner_reference
from onguard_operator.release import KEPT, History, without_marks

DATA: Final = "template"
IMAGES: Final = "images"
UNCHANGED: Final = "TemplateUnchanged"


def keep(
    mdep: Object, revision: str, template: Object, *, ordinal: int, pinned: Mapping[str, str] | None = None
) -> Object:
    """
    Build the ControllerRevision that keeps a good template.

    It carries none of the pod's labels and is owned by the ModelDeployment, so that no controller takes it for its
    own, and ``kubectl rollout undo`` of the target never sees it. ``pinned`` are its images by digest, by container.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": naming.good_revision(name_of(mdep), revision),
            "namespace": namespace_of(mdep),
            "labels": {contract.LABEL_MODEL_DEPLOYMENT: name_of(mdep), contract.LABEL_REVISION: revision},
            "ownerReferences": [owner_reference(mdep)],
        },
        "revision": ordinal,
        "data": {DATA: without_marks(template), **({IMAGES: dict(pinned)} if pinned else {})},
    }


def revision_of(kept: Object) -> str:
    """The revision that a ControllerRevision of ours keeps."""
    return labels_of(kept).get(contract.LABEL_REVISION, "")


def template_of(kept: Sequence[Object], revision: str) -> Object | None:
    """The kept template of a revision, with the images that ran then where their digests are known."""
    found = next((item for item in kept if revision_of(item) == revision), None)
    template: Object | None = (found.get("data") or {}).get(DATA) if found else None
    return images.pin(template, pinned_of(found)) if found is not None and template is not None else None


def pinned_of(kept: Object) -> Mapping[str, str]:
    """Images by digest that a ControllerRevision of ours keeps, by container."""
    found: Mapping[str, str] = (kept.get("data") or {}).get(IMAGES) or {}
    return found


def next_ordinal(kept: Sequence[Object]) -> int:
    """One more than the newest."""
    return max((int(item["revision"]) for item in kept), default=0) + 1


def superfluous(kept: Sequence[Object], history: History) -> Sequence[Object]:
    """Kept templates that are older than the last ``KEPT`` and that no rollback would return to."""
    needed = {history.current, history.rollback_target}
    return [item for item in kept[: max(len(kept) - KEPT, 0)] if revision_of(item) not in needed]


def edit(template: Object, decision: str, *, restarted: Mapping[str, str]) -> Sequence[Object]:
    """
    JSON Patch that makes ``template`` the target's pod template and touches nothing else, replicas least of all.

    Args:
        template: kept template.
        decision: name of the Decision; written into the template, where it is no part of the revision.
        restarted: restart annotations of the present template, carried over so that a client-side apply that owns
            them finds them.
    """
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), **restarted, contract.ANNOTATION_DECISION: decision}
    marked = {**template, "metadata": {**metadata, "annotations": annotations}}
    return [{"op": "replace", "path": "/spec/template", "value": marked}]


def without_our_ownership(target: Object) -> Sequence[Object]:
    """
    Give up the fields that we own, so that the next server-side apply of a person meets no conflict.

    Returns:
        JSON Patch operations; none if we own nothing.
    """
    managed = target["metadata"].get("managedFields") or []
    others = [entry for entry in managed if entry.get("manager") != contract.FIELD_MANAGER]
    if len(others) == len(managed) or not others:
        return []
    return [{"op": "replace", "path": "/metadata/managedFields", "value": others}]


def last_manager(target: Object) -> str:
    """Who wrote the pod template last, other than we."""
    managed = target["metadata"].get("managedFields") or []
    writers = [
        entry
        for entry in managed
        if "f:template" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        and entry.get("manager") != contract.FIELD_MANAGER
    ]
    newest = max(writers, key=lambda entry: entry.get("time") or "", default=None)
    return str(newest["manager"]) if newest else "somebody"


def is_rolled_out(target: Object) -> bool:
    """Whether every replica runs the present template and is available."""
    status, spec = target.get("status") or {}, target["spec"]
    wanted = spec.get("replicas", 1)
    counts = [status.get(field, 0) for field in ("updatedReplicas", "replicas", "availableReplicas")]
    return status.get("observedGeneration", 0) >= target["metadata"]["generation"] and counts == [wanted] * 3


def is_stuck(target: Object) -> bool:
    """Whether the Deployment controller has given the rollout up."""
    conditions = (target.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Progressing" and c.get("reason") == "ProgressDeadlineExceeded" for c in conditions)
