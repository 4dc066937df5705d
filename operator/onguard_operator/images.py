"""
Images by digest: what ran when a revision was good, whatever its tag points to by now. Pure.

A template that we pin says so in an annotation with both names of each image, so that it is still known as the
revision that its author wrote; an image that somebody changes afterwards no longer matches its note, and counts.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from onguard import contract
from onguard_operator.objects import Object, annotations_of

_SCHEME: Final = "://"
_LISTS: Final = ("initContainers", "containers")
_STATUSES: Final = ("initContainerStatuses", "containerStatuses")


def without_tag(image: str) -> str:
    """
    Repository of an image as it is written.

    >>> without_tag("localhost:5000/churn:1"), without_tag("churn@sha256:ab")
    ('localhost:5000/churn', 'churn')
    """
    name = image.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def repository(image: str) -> str:
    """
    Repository with the registry and the folder that a short name leaves out.

    >>> repository("churn:1"), repository("kim/churn"), repository("docker-pullable://quay.io/kim/churn@sha256:ab")
    ('docker.io/library/churn', 'docker.io/kim/churn', 'quay.io/kim/churn')
    """
    name = without_tag(image.rpartition(_SCHEME)[2])
    host, slash, rest = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    is_host = "." in host or ":" in host or host == "localhost"
    if not is_host:
        return f"docker.io/{name}"
    return f"docker.io/library/{rest}" if host == "docker.io" and "/" not in rest else name


def by_digest(image: str, image_id: str) -> str | None:
    """
    Name an image by the digest that its registry knows.

    Args:
        image: as the template names it.
        image_id: ``status.containerStatuses[].imageID``; of an image that was loaded into the node it is a bare
            digest, or of another repository, and no registry has it.

    >>> by_digest("churn:1", "docker.io/library/churn@sha256:ab")
    'churn@sha256:ab'
    >>> by_digest("churn:1", "sha256:ab"), by_digest("churn:1", "docker.io/library/import-2026-11-25@sha256:ab")
    (None, None)
    """
    _, at, digest = image_id.partition("@")
    if not at or not digest.startswith("sha256:") or repository(image) != repository(image_id):
        return None
    return f"{without_tag(image)}@{digest}"


def _tagged(template: Object) -> Iterator[tuple[str, str]]:
    """Names and images of the containers whose image may become another under the same name."""
    containers = (c for field in _LISTS for c in template["spec"].get(field) or ())
    return ((str(c["name"]), str(c["image"])) for c in containers if "@" not in c.get("image", "@"))


def digests(template: Object, pods: Iterable[Object]) -> Mapping[str, str]:
    """Image by digest for each container whose image is a tag, if all of these pods agree on it."""
    statuses = [status for pod in pods for field in _STATUSES for status in (pod.get("status") or {}).get(field) or ()]
    found = {}
    for name, image in _tagged(template):
        ids = {str(status.get("imageID") or "") for status in statuses if status["name"] == name}
        pinned = {by_digest(image, image_id) for image_id in ids}
        if len(pinned) == 1 and (one := pinned.pop()) is not None:
            found[name] = one
    return found


def pin(template: Object, images: Mapping[str, str]) -> Object:
    """Put ``images`` by container's name into a template, and note what stood there."""
    notes = {name: [image, images[name]] for name, image in _tagged(template) if name in images}
    if not notes:
        return template
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), contract.ANNOTATION_PINNED: json.dumps(notes)}
    changes = {name: (old, new) for name, (old, new) in notes.items()}
    return {**template, "metadata": {**metadata, "annotations": annotations}, "spec": _with(template["spec"], changes)}


def unpinned(template: Object) -> Object:
    """Restore the images that :func:`pin` replaced; an image that was changed since stays."""
    changes = {name: (new, old) for name, (old, new) in _notes(template).items()}
    return {**template, "spec": _with(template["spec"], changes)} if changes else template


def by_tag_only(template: Object) -> Sequence[str]:
    """Images of a template that a registry may give another content by now."""
    return sorted({image for _, image in _tagged(template)})


def _notes(template: Object) -> Mapping[str, tuple[str, str]]:
    text = annotations_of(template).get(contract.ANNOTATION_PINNED)
    if not text:
        return {}
    try:
        notes = {str(name): (str(old), str(new)) for name, (old, new) in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # somebody edited our note: the images count as they stand
    return {name: (old, new) for name, (old, new) in notes.items() if f"{without_tag(old)}@sha256:" in new}


def _with(spec: Object, changes: Mapping[str, tuple[str, str]]) -> Object:
    def changed(container: Object) -> Object:
        before, after = changes.get(container["name"], ("", ""))
        return {**container, "image": after} if before and container.get("image") == before else container

    return {**spec, **{field: [changed(c) for c in spec[field]] for field in _LISTS if spec.get(field)}}
