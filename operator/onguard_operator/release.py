"""
Revisions of a model: which one a pod runs, which ones are good, which one a rollback returns to.

A revision is what decides the model's answers: the pod template without our marks, and the content of the
ConfigMaps that it names (Secrets by name only). Restarting pods changes no revision.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from onguard import contract
from onguard_operator import config_maps, images
from onguard_operator.objects import Object, annotations_of, controller_of, labels_of, name_of

KEPT: Final = 3
"""Good revisions that are kept as templates to return to."""
MIXED_S: Final = 180.0
"""The kubelet needs up to two minutes to refresh a mounted ConfigMap: counts of that time belong to no revision."""
_OURS: Final = f"{contract.GROUP}/"


class Standing(StrEnum):
    """What is known of a revision."""

    ASSUMED_GOOD = "AssumedGood"
    CANDIDATE = "Baking"
    GOOD = "Good"
    BAD = "Bad"


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One revision that has been the target's template."""

    id: str
    standing: Standing = Standing.CANDIDATE
    since: float = 0.0
    """Unix time at which it became the target's template, last."""
    requests: int = 0
    """Requests served since then."""
    condemned_by: str = ""
    """Decision that marked it bad."""
    reapplied: bool = False
    """A person set the target to it after it was marked bad: accepted, but it needs approval to act again."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that a ModelDeployment remembers of its revisions, oldest first."""

    current: str = ""
    previous: str = ""
    changed_at: float = 0.0
    mixed_until: float = 0.0
    shape: str = ""
    """Identity of the current template alone: a new revision of the same shape comes from a ConfigMap's content."""
    revisions: tuple[Revision, ...] = ()

    def get(self, revision: str) -> Revision | None:
        """Find by id."""
        return next((known for known in self.revisions if known.id == revision), None)

    @property
    def now_serving(self) -> Revision | None:
        """The revision of the target's present template."""
        return self.get(self.current)

    @property
    def rollback_target(self) -> str | None:
        """Newest good revision other than the current one; never one that was marked bad."""
        good = (Standing.GOOD, Standing.ASSUMED_GOOD)
        others = (known for known in reversed(self.revisions) if known.id != self.current)
        return next((known.id for known in others if known.standing in good), None)

    def with_(self, revision: Revision) -> "History":
        """Replace the record of this id, or append it as the newest."""
        if self.get(revision.id) is None:
            return msgspec.structs.replace(self, revisions=(*self.revisions, revision))
        rest = tuple(revision if known.id == revision.id else known for known in self.revisions)
        return msgspec.structs.replace(self, revisions=rest)


def without_marks(template: Object) -> Object:
    """
    Drop what does not change the model: our annotations and labels, digests for tags, names of copies, restarts.

    >>> without_marks({"metadata": {"labels": {"app": "m", "pod-template-hash": "x"},
    ...                             "annotations": {"onguard.dev/restarted-at": "y"}}, "spec": {}})
    {'spec': {}, 'metadata': {'labels': {'app': 'm'}}}
    """
    template = config_maps.restored(images.unpinned(template))
    metadata = template.get("metadata") or {}
    kept = {key: value for key, value in metadata.items() if key not in ("labels", "annotations", "creationTimestamp")}
    for field in ("labels", "annotations"):
        pairs = {key: value for key, value in (metadata.get(field) or {}).items() if not _is_mark(key)}
        if pairs:
            kept[field] = pairs
    rest = {key: value for key, value in template.items() if key != "metadata"}
    return {**rest, "metadata": kept} if kept else rest


def _is_mark(key: str) -> bool:
    if key == contract.ANNOTATION_INJECT:
        return False  # the user's own word, and it decides what runs in the pod
    return key.startswith(_OURS) or key in contract.RESTART_ANNOTATIONS or key == contract.LABEL_POD_TEMPLATE_HASH


def identity(template: Object, contents: Mapping[str, str]) -> str:
    """
    Ten hex digits that name a revision.

    Args:
        template: a pod template, with or without marks.
        contents: :func:`onguard_operator.config_maps.content_digest` of each ConfigMap by name; those that the
            template does not name are left out. A copy counts under the name of what it is a copy of.
    """
    named: dict[str, str] = {}
    for name, own in config_maps.own_names(template).items():
        named[own] = named.get(own, "") + contents.get(name, "")
    return _digest([without_marks(template), dict(sorted(named.items()))])


def shape(template: Object) -> str:
    """Ten hex digits for a template alone, in which a copy of a ConfigMap is another name."""
    metadata = template.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != contract.ANNOTATION_COPIES}
    return identity({**template, "metadata": {**metadata, "annotations": annotations}}, {})


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:10]


def revisions_of_pods(
    pods: Iterable[Object], replica_sets: Iterable[Object], contents: Mapping[str, str]
) -> Mapping[str, str]:
    """
    Revision by pod uid; a pod whose ReplicaSet is gone has none.

    A baseline pod says its revision by label, since its ReplicaSet carries our labels in its template.
    """
    by_set = {name_of(owner): identity(owner["spec"]["template"], contents) for owner in replica_sets}
    found: dict[str, str] = {}
    for pod in pods:
        owner = controller_of(pod)
        labelled = labels_of(pod).get(contract.LABEL_REVISION)
        revision = labelled or (by_set.get(owner["name"]) if owner else None)
        if revision:
            found[pod["metadata"]["uid"]] = revision
    return found


def arm_of(pod: Object) -> str:
    """Arm of a pod: what its label says, else candidate."""
    return labels_of(pod).get(contract.LABEL_ARM, contract.ARM_CANDIDATE)


class Present(msgspec.Struct, frozen=True):
    """
    The target's template as it stands: its revision, and its identity without the content of ConfigMaps.

    ``began`` is the Unix time at which it became the template, as far as that is known.
    """

    revision: str
    shape: str
    began: float


def observe(history: History, present: Present, *, good: Iterable[str], bad: Mapping[str, str], now: float) -> History:
    """
    Take note of the revision that the target's template has now.

    Args:
        history: what was remembered.
        present: the target's template.
        good: revisions of which a good template is kept (they survive a lost memory).
        bad: Decision by revision that it condemned (survives too).
        now: Unix time.

    The first revision ever seen is assumed good; any other is a candidate until it has baked. Coming back to a
    good revision keeps its standing; coming back to a bad one is a person's choice and is remembered as such.
    """
    for kept in good:
        if history.get(kept) is None:
            history = history.with_(Revision(id=kept, standing=Standing.GOOD))
    for condemned, decision in bad.items():
        known = history.get(condemned) or Revision(id=condemned)
        if known.standing is not Standing.BAD:
            history = history.with_(
                msgspec.structs.replace(known, standing=Standing.BAD, condemned_by=decision, since=known.since)
            )
    if present.revision == history.current:
        return history
    return _advance(history, present, now)


def _advance(history: History, present: Present, now: float) -> History:
    known, began = history.get(present.revision), now
    is_content = history.shape == present.shape
    if known is None:
        # The template of a revision that came by an edit of a ConfigMap is older than the revision.
        adopted, began = not history.revisions, now if is_content else min(present.began, now)
        standing = Standing.ASSUMED_GOOD if adopted else Standing.CANDIDATE
        record = Revision(id=present.revision, standing=standing, since=began)
    else:
        reapplied = known.standing is Standing.BAD
        record = msgspec.structs.replace(known, since=now, requests=0, reapplied=reapplied)
    others = tuple(other for other in history.revisions if other.id != present.revision)
    return History(
        current=present.revision,
        previous=history.current,
        changed_at=began,
        mixed_until=now + MIXED_S if is_content else history.mixed_until,
        shape=present.shape,
        revisions=_trim((*others, record)),
    )


def _trim(revisions: tuple[Revision, ...], limit: int = 20) -> tuple[Revision, ...]:
    """Forget the oldest; candidates that never became anything go first, bad ones last."""
    if len(revisions) <= limit:
        return revisions
    order = (Standing.CANDIDATE, Standing.ASSUMED_GOOD, Standing.GOOD, Standing.BAD)
    oldest = min(revisions[:-1], key=lambda known: (order.index(known.standing), known.since))
    return tuple(known for known in revisions if known is not oldest)


def served(history: History, requests: int) -> History:
    """Add requests to the current revision."""
    current = history.now_serving
    if current is None or requests == 0:
        return history
    return history.with_(msgspec.structs.replace(current, requests=current.requests + requests))


class Baking(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision must have shown: so long, so many requests, nothing suspicious, pods ready since."""

    for_s: float
    requests: int
    ready_at: float | None
    is_suspicious: bool


def bake(history: History, baking: Baking, *, now: float) -> History:
    """Promote the current revision to good once it has served long and often enough without suspicion."""
    current = history.now_serving
    unproven = (Standing.CANDIDATE, Standing.ASSUMED_GOOD)
    if current is None or current.standing not in unproven or baking.is_suspicious or baking.ready_at is None:
        return history
    if now - max(current.since, baking.ready_at) < baking.for_s or current.requests < baking.requests:
        return history
    return history.with_(msgspec.structs.replace(current, standing=Standing.GOOD))


def condemn(history: History, revision: str, decision: str) -> History:
    """Mark a revision bad: it is never a rollback target again."""
    known = history.get(revision) or Revision(id=revision)
    return history.with_(msgspec.structs.replace(known, standing=Standing.BAD, condemned_by=decision, reapplied=False))


def is_known_bad(history: History) -> bool:
    """Whether a person re-applied a revision that had been rolled back."""
    current = history.now_serving
    return current is not None and current.standing is Standing.BAD and current.reapplied


def is_pod_restart_only(before: Object, after: Object) -> bool:
    """Whether two templates are one revision."""
    return without_marks(before) == without_marks(after)


def restarted_at(template: Object) -> str | None:
    """When we restarted this template's pods, RFC 3339."""
    return annotations_of(template).get(contract.ANNOTATION_RESTARTED_AT)
