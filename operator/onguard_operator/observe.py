"""Everything that one visit looks at, read live and in parallel, as one frozen value."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from onguard import contract
from onguard.decide import Action
from onguard.spec import BaselineMode, Spec
from onguard_operator import config_maps, naming, records, rollback
from onguard_operator.cluster import Cluster, ForbiddenError, Kind
from onguard_operator.objects import (
    Object,
    controller_of,
    is_owned_by,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    selects,
    uid_of,
)

GATE: Final = {"app.kubernetes.io/component": "gate"}
"""Labels of the gate's Service, which its EndpointSlices carry too."""
SHARED_S: Final = 10.0
"""Surroundings that many models have in common may be so old: less than a scrape, so that each visit has news."""
SLOW_S: Final = 30.0
"""What a person changes now and then may be so old: rights, the namespace's labels, and what metrics-server knows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """
    The state of the cluster around one ModelDeployment.

    Attributes:
        replica_sets: those of the target.
        pods: those of the target, and of the baseline arm; terminating ones too.
        config_maps: by name, those that a template names, and our copies; an absent one is not in it.
        contents: digest of the content by name of each ConfigMap that a template names or named; of copies too.
        good_templates: our ControllerRevisions, oldest first.
        decisions: about this ModelDeployment (by uid), oldest first.
        is_gate_ready: whether new pods would pass the gate.
        may_restart: whether the operator may patch the target.
        may_retrain: whether the operator may create Jobs.
    """

    mdep: Object
    spec: Spec
    namespace: Object | None = None
    target: Object | None = None
    replica_sets: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    services: Sequence[Object] = ()
    slices: Sequence[Object] = ()
    profile_map: Object | None = None
    sidecar_map: Object | None = None
    config_maps: Mapping[str, Object] = dataclasses.field(default_factory=dict)
    contents: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cron_job: Object | None = None
    good_templates: Sequence[Object] = ()
    decisions: Sequence[Object] = ()
    jobs: Sequence[Object] = ()
    baseline: Object | None = None
    is_gate_ready: bool = True
    may_restart: bool = True
    may_retrain: bool = True

    @property
    def name(self) -> str:
        """Name of the ModelDeployment."""
        return name_of(self.mdep)

    @property
    def uid(self) -> str:
        """Uid of the ModelDeployment."""
        return uid_of(self.mdep)

    @property
    def template(self) -> Object | None:
        """Pod template of the target."""
        return self.target["spec"]["template"] if self.target else None

    @property
    def live_pods(self) -> Sequence[Object]:
        """Pods that nobody has deleted and that have not ended."""
        over = ("Succeeded", "Failed")
        return [p for p in self.pods if not is_terminating(p) and (p.get("status") or {}).get("phase") not in over]

    @property
    def model_pods(self) -> Sequence[Object]:
        """Live pods of the target itself, without other arms."""
        return [pod for pod in self.live_pods if contract.LABEL_ARM not in labels_of(pod)]


async def observe(cluster: Cluster, mdep: Object, spec: Spec, *, operator_namespace: str) -> Observed:
    """
    Read the world around ``mdep``.

    Args:
        cluster: the API server.
        mdep: the ModelDeployment as read live.
        spec: its parsed spec.
        operator_namespace: where the gate runs.

    Raises:
        ClusterError: if something that must be readable is not; an absent object is part of the picture.
    """
    space, source = namespace_of(mdep), spec.actions.retrain.from_
    mark = {contract.LABEL_MODEL_DEPLOYMENT: name_of(mdep)}
    target = await cluster.find(Kind.DEPLOYMENT, space, spec.target_ref.name)
    lists = await asyncio.gather(
        cluster.list(Kind.SERVICE, space, within=SHARED_S),
        cluster.list(Kind.ENDPOINT_SLICE, space, within=SHARED_S),
        cluster.list(Kind.CONTROLLER_REVISION, space, labels=mark),
        cluster.list(Kind.DECISION, space, labels=mark),
        cluster.list(Kind.ENDPOINT_SLICE, operator_namespace, labels=GATE, within=SHARED_S),
        cluster.list(Kind.CONFIG_MAP, space, labels=mark),
    )
    may = await asyncio.gather(
        cluster.is_allowed("patch", Kind.DEPLOYMENT, space, within=SLOW_S),
        cluster.is_allowed("create", Kind.JOB, space, within=SLOW_S),
    )
    replica_sets, pods = await _workload(cluster, space, target)
    services, slices, templates, decisions, gates, ours = lists
    found = await asyncio.gather(
        cluster.find(Kind.NAMESPACE, None, space, within=SLOW_S),
        _find_profile(cluster, mdep, spec, ours),
        _find_cron_job(cluster, space, source.name if source else None),
        _find_baseline(cluster, mdep, spec, pods),
    )
    jobs = await _find_jobs(cluster, space, mark, decisions)
    good = sorted((t for t in templates if is_owned_by(t, mdep)), key=lambda t: int(t["revision"]))
    named = [*_templates(target, replica_sets), *(rollback.template_in(item) for item in good)]
    maps = await _config_maps(cluster, space, named, [item for item in ours if config_maps.is_copy(item)])
    return Observed(
        mdep=mdep,
        spec=spec,
        namespace=found[0],
        target=target,
        replica_sets=replica_sets,
        pods=pods,
        services=services,
        slices=slices,
        profile_map=found[1],
        sidecar_map=_named(ours, naming.sidecar_config_name(name_of(mdep))),
        config_maps={name: item for name, item in maps.items() if item is not None},
        contents={name: config_maps.content_digest(item) for name, item in maps.items()},
        cron_job=found[2],
        good_templates=good,
        decisions=_about(mdep, decisions),
        jobs=jobs,
        baseline=found[3],
        is_gate_ready=any(_is_serving(piece) for piece in gates),
        may_restart=may[0],
        may_retrain=may[1],
    )


async def _find_profile(cluster: Cluster, mdep: Object, spec: Spec, ours: Sequence[Object]) -> Object | None:
    """The reference: the user's, or the one that was learnt, which is an object of ours unless its name is taken."""
    given, learnt = spec.reference.config_map, naming.learned_profile(name_of(mdep))
    known = _named(ours, learnt) if given is None else None
    if known is not None or (given is None and spec.reference.learn is None):
        return known
    return await cluster.find(Kind.CONFIG_MAP, namespace_of(mdep), given.name if given is not None else learnt)


def _named(items: Sequence[Object], name: str) -> Object | None:
    return next((item for item in items if name_of(item) == name), None)


async def _find_baseline(cluster: Cluster, mdep: Object, spec: Spec, pods: Sequence[Object]) -> Object | None:
    """The baseline arm's ReplicaSet; asked for only where there may be one."""
    if spec.release.baseline.mode is not BaselineMode.SERVE and not any(
        contract.LABEL_ARM in labels_of(p) for p in pods
    ):
        return None
    found = await cluster.find(Kind.REPLICA_SET, namespace_of(mdep), naming.baseline(name_of(mdep)))
    return found if found is not None and is_owned_by(found, mdep) else None


async def _find_jobs(
    cluster: Cluster, space: str, mark: Mapping[str, str], decisions: Sequence[Object]
) -> Sequence[Object]:
    """Jobs that open Decisions have started; asked for only where one may have."""
    if not any(d["spec"]["action"] == Action.RETRAIN and records.is_open(d) for d in decisions):
        return ()
    jobs = await cluster.list(Kind.JOB, space, labels=mark)
    return [job for job in jobs if any(is_owned_by(job, decision) for decision in decisions)]


def _is_serving(piece: Object) -> bool:
    endpoints = piece.get("endpoints") or ()
    return any((endpoint.get("conditions") or {}).get("ready") for endpoint in endpoints)


def _about(mdep: Object, decisions: Sequence[Object]) -> Sequence[Object]:
    ours = [d for d in decisions if d["spec"]["modelDeployment"]["uid"] == uid_of(mdep)]
    return sorted(ours, key=lambda d: (d["metadata"]["creationTimestamp"], name_of(d)))


async def _find_cron_job(cluster: Cluster, space: str, name: str | None) -> Object | None:
    if name is None:
        return None
    try:
        return await cluster.find(Kind.CRON_JOB, space, name)
    except ForbiddenError:
        return None  # the role that lets us act is not bound here, which has a condition of its own


async def _workload(cluster: Cluster, space: str, target: Object | None) -> tuple[Sequence[Object], Sequence[Object]]:
    """ReplicaSets that the target controls, and the pods that its selector matches and nobody else controls."""
    if target is None:
        return (), ()
    selector = target["spec"]["selector"]
    plain = selector.get("matchLabels") or None
    sets, pods = await asyncio.gather(
        cluster.list(Kind.REPLICA_SET, space, labels=plain), cluster.list(Kind.POD, space, labels=plain)
    )
    owned = [s for s in sets if (controller_of(s) or {}).get("uid") == uid_of(target)]
    uids = {uid_of(s) for s in owned}
    return owned, [
        pod
        for pod in pods
        if selects(selector, labels_of(pod))
        and ((controller_of(pod) or {}).get("uid") in uids or contract.LABEL_ARM in labels_of(pod))
    ]


def _templates(target: Object | None, replica_sets: Sequence[Object]) -> Sequence[Object]:
    """Templates whose revisions matter: the target's, and those that pods still run."""
    running = [s["spec"]["template"] for s in replica_sets if s["spec"].get("replicas")]
    return [target["spec"]["template"], *running] if target else running


async def _config_maps(
    cluster: Cluster, space: str, templates: Sequence[Object], copies: Sequence[Object]
) -> Mapping[str, Object | None]:
    """ConfigMaps that templates name, by name; None for an absent one."""
    known: dict[str, Object | None] = {name_of(item): item for item in copies}
    names = sorted({name for template in templates for name in config_maps.names_of(template)} - set(known))
    found = await asyncio.gather(*(cluster.find(Kind.CONFIG_MAP, space, name) for name in names))
    return {**known, **dict(zip(names, found, strict=True))}
