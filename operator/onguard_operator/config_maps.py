"""
ConfigMaps as part of a revision: which ones a template names, what is in them, and copies to return to. Pure.

A user's ConfigMap is never written. Of those that a good template names immutable copies are kept, named by content; a
rollback points the template at the copies and notes both names in an annotation, so that it is still known as the
revision that its author wrote. What a pod gets counts, whatever a note says: identity goes by the copy's content.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from onguard import contract
from onguard_operator import naming
from onguard_operator.objects import Object, annotations_of, name_of, namespace_of, owner_reference

MAX_COPIES: Final = 16
MAX_BYTES: Final = 1 << 20
"""Of all ConfigMaps of one template together: they are kept for a handful of revisions, in the cluster's store."""
_CONTENT: Final = ("data", "binaryData")
_COPY: Final = re.compile(r".+-onguard-copy-[0-9a-f]{10}\Z")


def _references(template: Object) -> Iterator[Object]:
    """Each part of a pod template that names a ConfigMap by ``name``."""
    spec = template.get("spec") or {}
    volumes = spec.get("volumes") or ()
    projected = [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or ()]
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    variables = [variable.get("valueFrom") or {} for c in containers for variable in c.get("env") or ()]
    found = [source.get("configMap") for source in (*volumes, *projected)]
    found += [source.get("configMapRef") for container in containers for source in container.get("envFrom") or ()]
    found += [source.get("configMapKeyRef") for source in variables]
    yield from (reference for reference in found if reference and reference.get("name"))


def names_of(template: Object) -> frozenset[str]:
    """Names of the ConfigMaps that the template mounts or reads into its environment, as they stand there."""
    return frozenset(str(reference["name"]) for reference in _references(template))


def _renamed(template: Object, names: Mapping[str, str]) -> Object:
    if not names:
        return template
    changed = copy.deepcopy(template)
    for reference in _references(changed):
        reference["name"] = names.get(reference["name"], reference["name"])
    return changed


def point(template: Object, copies: Mapping[str, str]) -> Object:
    """Let a template name ``copies``, by the user's own name, and note it."""
    used = {own: kept for own, kept in copies.items() if own in names_of(template)}
    if not used:
        return template
    changed = _renamed(template, used)
    metadata = changed.get("metadata") or {}
    note = json.dumps({kept: own for own, kept in sorted(used.items())})
    annotations = {**(metadata.get("annotations") or {}), contract.ANNOTATION_COPIES: note}
    return {**changed, "metadata": {**metadata, "annotations": annotations}}


def copies_in(template: Object) -> Mapping[str, str]:
    """
    Copies that a template names, and the user's own name of each.

    >>> copies_in({"metadata": {"annotations": {"onguard.dev/config-map-copies": '{"m-onguard-copy-0123456789": "m"}'}},
    ...            "spec": {"volumes": [{"name": "v", "configMap": {"name": "m-onguard-copy-0123456789"}}]}})
    {'m-onguard-copy-0123456789': 'm'}
    """
    text = annotations_of(template).get(contract.ANNOTATION_COPIES)
    try:
        notes = {str(kept): str(own) for kept, own in json.loads(text or "{}").items()}
    except (ValueError, AttributeError):
        return {}  # somebody edited our note: the names count as they stand
    named = names_of(template)
    return {kept: own for kept, own in notes.items() if kept in named and _COPY.match(kept) and own}


def restored(template: Object) -> Object:
    """Name the user's own ConfigMaps again where :func:`point` named copies."""
    return _renamed(template, copies_in(template))


def own_names(template: Object) -> Mapping[str, str]:
    """The user's own name of each ConfigMap, by the name as it stands in the template."""
    copies = copies_in(template)
    return {name: copies.get(name, name) for name in sorted(names_of(template))}


def content_digest(config_map: Object | None) -> str:
    """Identity of a ConfigMap's content; of an absent one too."""
    text = json.dumps([config_map is not None, _content(config_map)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _content(config_map: Object | None) -> Mapping[str, Object]:
    return {key: (config_map or {}).get(key) or {} for key in _CONTENT}


def is_same_content(one: Object, other: Object) -> bool:
    """Whether two ConfigMaps hold the same, to the last byte."""
    return _content(one) == _content(other)


def is_copy(config_map: Object) -> bool:
    """Whether a ConfigMap is a copy of ours."""
    return contract.ANNOTATION_COPY_OF in annotations_of(config_map) and bool(_COPY.match(name_of(config_map)))


def copies_of(mdep: Object, template: Object, found: Mapping[str, Object]) -> Mapping[str, Object]:
    """
    Build what must be kept to return to the content that this template has now.

    Args:
        mdep: whose copies they are.
        template: of a good revision.
        found: whole ConfigMaps by name as it stands in the template; one that is absent has nothing to keep.

    Returns:
        copies by the user's own name; none at all if they are too many or too large together.
    """
    sources = {own: found[name] for name, own in own_names(template).items() if name in found}
    size = sum(len(json.dumps(_content(source))) for source in sources.values())
    if len(sources) > MAX_COPIES or size > MAX_BYTES:
        return {}
    return {own: _copy_of(mdep, own, source) for own, source in sources.items()}


def _copy_of(mdep: Object, own: str, source: Object) -> Object:
    metadata = {
        "name": naming.config_map_copy(name_of(mdep), own, content_digest(source)),
        "namespace": namespace_of(mdep),
        "labels": {contract.LABEL_MODEL_DEPLOYMENT: name_of(mdep)},
        "annotations": {contract.ANNOTATION_COPY_OF: own},
    }
    return bare({**_content(source), "metadata": metadata})


def bare(kept: Object) -> Object:
    """A copy as it was when it was made, without what the API server added, and without owners."""
    metadata = {key: kept["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
    content = {key: part for key, part in _content(kept).items() if part}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, **content}


def with_owner(kept: Object, owner: Object) -> Object:
    """Let ``owner`` hold a copy: the garbage collector removes it with the last of its owners."""
    metadata = kept["metadata"]
    owners: Sequence[Object] = metadata.get("ownerReferences") or ()
    return {
        **kept,
        "metadata": {**metadata, "ownerReferences": [*owners, owner_reference(owner, controller=False)]},
    }


def shown(template: Object) -> str:
    """
    Say which copies a template names; empty if none.

    >>> shown({"spec": {}})
    ''
    """
    pairs = sorted((own, kept) for kept, own in copies_in(template).items())
    return ", ".join(f"ConfigMap {own} as its copy {kept}" for own, kept in pairs)
