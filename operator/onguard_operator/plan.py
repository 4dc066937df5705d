"""What should be there around a ModelDeployment, as a list of steps from what is there. Evidence is not its matter."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from onguard import contract, sidecar_config
from onguard.spec import Takeover
from onguard_operator import (
    baseline,
    config_maps,
    guarding,
    images,
    injection,
    learn,
    naming,
    release,
    retention,
    rollback,
)
from onguard_operator.objects import (
    Object,
    is_owned_by,
    is_ready,
    name_of,
    namespace_of,
    owner_reference,
    stamp,
    uid_of,
)
from onguard_operator.observe import Observed
from onguard_operator.release import History, Revision, Standing


@dataclasses.dataclass(frozen=True)
class ApplyConfig:
    """Write the sidecars' ConfigMap."""

    body: Object


@dataclasses.dataclass(frozen=True)
class NamePort:
    """Let a Service reach its pods by the port's name."""

    service: Object
    ports: Sequence[Object]


@dataclasses.dataclass(frozen=True)
class Restart:
    """Restart the target's pods by its template's annotation, as ``kubectl rollout restart`` does."""

    target: Object
    at: str
    why: str


@dataclasses.dataclass(frozen=True)
class KeepTemplate:
    """Keep a good template to return to: images by digest where they are known, names of its ConfigMaps' copies."""

    revision: str
    template: Object
    ordinal: int
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)
    copies: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class KeepCopy:
    """Keep a ConfigMap's content for as long as ``owner`` is there: a kept template, or a ReplicaSet that names it."""

    body: Object
    owner: Object


@dataclasses.dataclass(frozen=True)
class DropTemplate:
    """Let an old template go."""

    kept: Object


@dataclasses.dataclass(frozen=True)
class DropDecision:
    """Let an old record go."""

    decision: Object


@dataclasses.dataclass(frozen=True)
class StartBaseline:
    """Start the baseline arm."""

    body: Object


@dataclasses.dataclass(frozen=True)
class StopBaseline:
    """End the baseline arm."""

    replica_set: Object


Step: TypeAlias = (
    ApplyConfig
    | NamePort
    | Restart
    | KeepTemplate
    | KeepCopy
    | DropTemplate
    | DropDecision
    | StartBaseline
    | StopBaseline
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Means:
    """What the operator brings along: the sidecar's image and the fingerprint of this ModelDeployment's token."""

    sidecar_image: str
    token_sha256: str


def plan(seen: Observed, history: History, *, means: Means, now: datetime) -> list[Step]:
    """List what differs from what should be; empty when all is well."""
    return [
        *_config(seen, means),
        *_ports(seen),
        *_restart(seen, means, now),
        *_templates(seen, history),
        *_held(seen),
        *_baseline(seen, history),
        *(DropDecision(decision) for decision in retention.superfluous(seen.decisions, now)),
    ]


def config_of(seen: Observed, means: Means) -> sidecar_config.SidecarConfig:
    """What the sidecars of this ModelDeployment are told."""
    return sidecar_config.of_spec(seen.name, seen.spec, means.token_sha256, survey=learn.survey_of(seen))


def _config(seen: Observed, means: Means) -> Iterator[Step]:
    data: Mapping[str, str] = sidecar_config.render(config_of(seen, means))
    existing = seen.sidecar_map
    if existing is not None and existing.get("data") == data and is_owned_by(existing, seen.mdep):
        return
    yield ApplyConfig(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": naming.sidecar_config_name(seen.name),
                "namespace": namespace_of(seen.mdep),
                "labels": {contract.LABEL_MODEL_DEPLOYMENT: seen.name},
                "ownerReferences": [owner_reference(seen.mdep)],
            },
            "data": dict(data),
        }
    )


def _ports(seen: Observed) -> Iterator[Step]:
    if seen.spec.traffic.takeover is not Takeover.SERVICE or seen.target is None:
        return
    name = seen.spec.traffic.ports[0].name
    for service in guarding.services_of(seen):
        numeric = guarding.numeric_ports(seen, service)
        if numeric and guarding.owner_of(service) is None:
            ports = service["spec"]["ports"]
            yield NamePort(service, [{**p, "targetPort": name} if i in numeric else p for i, p in enumerate(ports)])


def _restart(seen: Observed, means: Means, now: datetime) -> Iterator[Step]:
    if seen.target is None:
        return
    if injection.is_relief_due(seen, now):
        yield Restart(seen.target, stamp(now), "pods hang on the sidecar's image: they are replaced without it")
    elif injection.is_restart_due(seen, now, sidecar_image=means.sidecar_image):
        yield Restart(seen.target, stamp(now), "pods run without a sidecar: they are restarted to get it")


def _templates(seen: Observed, history: History) -> Iterator[Step]:
    current, template = history.now_serving, seen.template
    if current is not None and template is not None and _is_worth_keeping(current):
        yield from _current(seen, current.id, template)
    for item in rollback.superfluous(seen.good_templates, history):
        yield DropTemplate(item)


def _current(seen: Observed, revision: str, template: Object) -> Iterator[Step]:
    """Keep the current template; anew once more is known of it, such as its images' digests, which takes pods."""
    kept = rollback.find(seen.good_templates, revision)
    copies = config_maps.copies_of(seen.mdep, template, seen.config_maps) if seen.may_restart else {}
    known = {} if kept is not None and rollback.pinned_of(kept) else _digests(seen, revision, template)
    names = {own: name_of(body) for own, body in copies.items()}
    if kept is None or known or (names and not rollback.maps_of(kept)):
        ordinal = int(kept["revision"]) if kept is not None else rollback.next_ordinal(seen.good_templates)
        pinned = known or (rollback.pinned_of(kept) if kept is not None else {})
        yield KeepTemplate(revision, template, ordinal, pinned, names)
    elif kept is not None:
        yield from (KeepCopy(body, kept) for body in copies.values() if not _is_held(seen, body, kept))


def _digests(seen: Observed, revision: str, template: Object) -> Mapping[str, str]:
    revisions = release.revisions_of_pods(seen.model_pods, seen.replica_sets, seen.contents)
    running = [pod for pod in seen.model_pods if is_ready(pod) and revisions.get(uid_of(pod)) == revision]
    return images.digests(release.without_marks(template), running)


def _is_held(seen: Observed, body: Object, owner: Object) -> bool:
    existing = seen.config_maps.get(name_of(body))
    return existing is not None and config_maps.is_copy(existing) and is_owned_by(existing, owner)


def _held(seen: Observed) -> Iterator[Step]:
    """Copies that a ReplicaSet names stay for as long as it does, also when OnGuard is gone."""
    for owner in (*seen.replica_sets, *([seen.baseline] if seen.baseline else ())):
        for name in config_maps.copies_in(owner["spec"]["template"]):
            existing = seen.config_maps.get(name)
            if existing is not None and config_maps.is_copy(existing) and not is_owned_by(existing, owner):
                yield KeepCopy(existing, owner)


def _is_worth_keeping(revision: Revision) -> bool:
    return revision.standing in (Standing.GOOD, Standing.ASSUMED_GOOD)


def _baseline(seen: Observed, history: History) -> Iterator[Step]:
    wanted = baseline.wanted_revision(seen, history)
    if seen.baseline is not None and (wanted is None or not baseline.is_of(seen.baseline, wanted)):
        yield StopBaseline(seen.baseline)
    elif seen.baseline is None and wanted is not None:
        template = rollback.template_of(seen.good_templates, wanted, seen.contents)
        if template is not None:
            yield StartBaseline(baseline.replica_set(seen.mdep, wanted, template))
