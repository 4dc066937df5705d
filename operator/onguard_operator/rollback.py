"""Rollback as values: the kept template of a good revision, and the edit that returns a Deployment to it."""

from collections.abc import Mapping, Sequence
from typing import Final

from onguard import contract
from onguard_operator import config_maps, images, naming
from onguard_operator.objects import Object, labels_of, name_of, namespace_of, owner_reference
from onguard_operator.release import KEPT, History, identity, without_marks

DATA: Final = "template"
IMAGES: Final = "images"
MAPS: Final = "configMaps"


def keep(
    mdep: Object, revision: str, template: Object, *, ordinal: int, beside: Mapping[str, Object] | None = None
) -> Object:
    """
    Build the ControllerRevision that keeps a good template.

    It carries none of the pod's labels and is owned by the ModelDeployment, so that no controller takes it for its
    own, and ``kubectl rollout undo`` of the target never sees it. ``beside`` is what :func:`beside` put together.
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
        "data": {DATA: without_marks(template), **(beside or {})},
    }


def beside(*, pinned: Mapping[str, str], copies: Mapping[str, str]) -> Mapping[str, Object]:
    """What is kept beside a template: images by digest by container, names of copies by ConfigMap; as far as known."""
    return {key: dict(names) for key, names in ((IMAGES, pinned), (MAPS, copies)) if names}


def revision_of(kept: Object) -> str:
    """The revision that a ControllerRevision of ours keeps."""
    return labels_of(kept).get(contract.LABEL_REVISION, "")


def find(kept: Sequence[Object], revision: str) -> Object | None:
    """The ControllerRevision that keeps this revision."""
    return next((item for item in kept if revision_of(item) == revision), None)


def template_of(kept: Sequence[Object], revision: str, contents: Mapping[str, str]) -> Object | None:
    """
    The template that is this revision again, or None if it can't be had.

    It has the images that ran then, where their digests are known, and names the copy of each ConfigMap whose content
    is another by now; the others stay the user's own. A template that would get other content is not returned.

    Args:
        kept: our ControllerRevisions.
        revision: what to return to.
        contents: digest of each ConfigMap's content by name, copies too.
    """
    found = find(kept, revision)
    if found is None or not template_in(found):
        return None
    copies = {own: name for own, name in maps_of(found).items() if name in contents}
    changed = {own: name for own, name in copies.items() if contents.get(own) != contents[name]}
    template = config_maps.point(images.pin(template_in(found), pinned_of(found)), changed)
    return template if identity(template, contents) == revision else None


def obstacle(kept: Sequence[Object], revision: str | None, contents: Mapping[str, str]) -> str:
    """Say why :func:`template_of` of a good revision has nothing; empty if it has, or there is no such revision."""
    if revision is None or template_of(kept, revision, contents) is not None:
        return ""
    found = find(kept, revision)
    if found is None:
        return f"the template of revision {revision} is not kept yet"
    names = ", ".join(sorted(config_maps.names_of(template_in(found))))
    return f"revision {revision} had other content in its ConfigMaps ({names}), and not all of it is kept"


def template_in(kept: Object) -> Object:
    """The template that a ControllerRevision of ours keeps, as its author wrote it."""
    found: Object = (kept.get("data") or {}).get(DATA) or {}
    return found


def pinned_of(kept: Object) -> Mapping[str, str]:
    """Images by digest that a ControllerRevision of ours keeps, by container."""
    found: Mapping[str, str] = (kept.get("data") or {}).get(IMAGES) or {}
    return found


def maps_of(kept: Object) -> Mapping[str, str]:
    """Copies of ConfigMaps that a ControllerRevision of ours goes with, by the user's own name."""
    found: Mapping[str, str] = (kept.get("data") or {}).get(MAPS) or {}
    return found


def is_poorer(kept: Object, body: Object) -> bool:
    """Whether ``body`` keeps something that ``kept`` lacks."""
    return any(key in body["data"] and key not in (kept.get("data") or {}) for key in (IMAGES, MAPS))


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
