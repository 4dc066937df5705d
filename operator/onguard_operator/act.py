"""
Carry out one step of one Decision.

Each write is safe to repeat: names are deterministic and an object of that name that we own is success; an edit is
bound to the very version of the target that was judged. The record is always written before the act it announces.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from onguard import contract
from onguard.decide import Phase
from onguard_operator import config_maps, records, rollback
from onguard_operator.cluster import (
    Cluster,
    ClusterError,
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    Kind,
)
from onguard_operator.objects import Object, annotations_of, is_owned_by, name_of, namespace_of, stamp
from onguard_operator.progress import (
    ROLLED_BACK,
    ApplyTemplate,
    Begin,
    Move,
    NoteApplied,
    StartJob,
    Step,
    Wait,
)

_MAX_MESSAGE: Final = 1024
_log = logging.getLogger(__name__)


async def ensure_record(cluster: Cluster, decision: Object) -> Object:
    """
    Create the Decision, or find the same one from before a crash.

    Raises:
        ClusterError: also if the name is taken by the record of another ModelDeployment.
    """
    try:
        made = await cluster.create(Kind.DECISION, decision)
    except ExistsError:
        made = await cluster.get(Kind.DECISION, namespace_of(decision), name_of(decision))
        if made["spec"]["modelDeployment"]["uid"] != decision["spec"]["modelDeployment"]["uid"]:
            raise
    return await ensure_phase(cluster, made)


async def ensure_phase(cluster: Cluster, decision: Object) -> Object:
    """Write the phase that a record begins in, if a crash kept it from being written."""
    if (decision.get("status") or {}).get("phase"):
        return decision
    return await _write(cluster, decision, _first_status(decision))


def _first_status(decision: Object) -> Object:
    phase = records.phase_of(decision)
    began = {"startedAt": decision["spec"]["decidedAt"]} if phase is Phase.ACTING else {}
    return {"phase": phase.value, **began}


async def take(cluster: Cluster, decision: Object, step: Step, *, may_act: Callable[[], bool], now: datetime) -> Object:
    """
    Take the step and return the Decision as it is then.

    Args:
        cluster: the API server.
        decision: as read at this visit.
        step: what :func:`onguard_operator.progress.next_step` said.
        may_act: whether this process alone may act; asked right before each act.
        now: for time stamps.

    Raises:
        ClusterError: if nothing is known of the outcome; the next visit looks again.
    """
    match step:
        case Wait():
            return decision
        case Move():
            return await _move(cluster, decision, step, now)
        case Begin():
            return await _write(cluster, decision, _begun(step, now))
        case NoteApplied():
            return await _write(cluster, decision, {"conditions": records.applied(now)})
        case ApplyTemplate() | StartJob():
            return await _perform(cluster, decision, step, now) if may_act() else decision


def _begun(step: Begin, now: datetime) -> Object:
    status = {
        "phase": Phase.ACTING.value,
        "startedAt": stamp(now),
        "revision": step.revision,
        "targetRevision": step.target,
        "approver": step.approver,
    }
    return {key: value for key, value in status.items() if value}


async def _move(cluster: Cluster, decision: Object, step: Move, now: datetime) -> Object:
    status: Object = {"phase": step.phase.value}
    if step.outcome:
        status |= {"outcome": step.outcome, "message": step.message[:_MAX_MESSAGE]}
    if step.blockers:
        status["blockers"] = records.encode_blockers(step.blockers)
    before = decision.get("status") or {}
    if step.phase in records.FINAL and not before.get("finishedAt"):
        status["finishedAt"] = stamp(now)
    if all(before.get(key) == value for key, value in status.items()):
        return decision
    return await _write(cluster, decision, status)


async def _perform(cluster: Cluster, decision: Object, step: ApplyTemplate | StartJob, now: datetime) -> Object:
    try:
        if isinstance(step, ApplyTemplate):
            await _apply_template(cluster, decision, step)
            extra: Object = {}
        else:
            await _start_job(cluster, decision, step)
            extra = {"job": name_of(step.job)}
    except ForbiddenError as error:
        return await _move(cluster, decision, Move(Phase.FAILED, "Forbidden", str(error)), now)
    except InvalidError as error:
        return await _move(cluster, decision, Move(Phase.FAILED, "Refused", str(error)), now)
    except ConflictError as error:
        _log.info("decision %s: %s; looking again", name_of(decision), error)
        return decision
    return await _write(cluster, decision, {"conditions": records.applied(now), **extra})


async def _apply_template(cluster: Cluster, decision: Object, step: ApplyTemplate) -> None:
    present = annotations_of(step.target["spec"]["template"])
    restarted = {key: present[key] for key in contract.RESTART_ANNOTATIONS if key in present}
    await cluster.edit(
        Kind.DEPLOYMENT, step.target, rollback.edit(step.template, name_of(decision), restarted=restarted)
    )


async def _start_job(cluster: Cluster, decision: Object, step: StartJob) -> None:
    await _create_ours(cluster, Kind.CONFIG_MAP, step.evidence, decision)
    await _create_ours(cluster, Kind.JOB, step.job, decision)


async def _create_ours(cluster: Cluster, kind: Kind, body: Object, owner: Object) -> None:
    """Create; if the name exists, it must be the one that this very Decision made."""
    try:
        await cluster.create(kind, body)
    except ExistsError:
        found = await cluster.get(kind, namespace_of(body), name_of(body))
        if not is_owned_by(found, owner):
            raise InvalidError(f"{kind.kind} {name_of(body)} exists and is not of {name_of(owner)}") from None


async def _write(cluster: Cluster, decision: Object, status: Mapping[str, object]) -> Object:
    return await cluster.patch(Kind.DECISION, decision, {"status": dict(status)}, subresource="status")


async def give_up_ownership(cluster: Cluster, decision: Object, target: Object) -> None:
    """After a verified rollback, let the next server-side apply of a person meet no conflict; best effort."""
    if (decision.get("status") or {}).get("outcome") != ROLLED_BACK:
        return
    operations = rollback.without_our_ownership(target)
    if operations:
        try:
            await cluster.edit(Kind.DEPLOYMENT, target, operations)
        except ClusterError as error:
            _log.info("field ownership of %s was not given up: %s", name_of(target), error)


async def keep_template(cluster: Cluster, mdep: Object, body: Object) -> None:
    """Keep the template of a good revision; kept already is success, unless more of it came to be known."""
    try:
        await cluster.create(Kind.CONTROLLER_REVISION, body)
    except ExistsError:
        found = await cluster.get(Kind.CONTROLLER_REVISION, namespace_of(mdep), name_of(body))
        if rollback.is_poorer(found, body) or not is_owned_by(found, mdep):  # ... or of an earlier one of this name
            await cluster.delete(Kind.CONTROLLER_REVISION, found)
            await cluster.create(Kind.CONTROLLER_REVISION, body)


async def keep_copy(cluster: Cluster, body: Object, owner: Object) -> None:
    """
    Make a ConfigMap's copy, or let ``owner`` hold the one that exists.

    Raises:
        ClusterError: also if the name is taken by something else; then nothing is changed.
    """
    try:
        await cluster.create(Kind.CONFIG_MAP, config_maps.with_owner(config_maps.bare(body), owner))
    except ExistsError:
        found = await cluster.get(Kind.CONFIG_MAP, namespace_of(body), name_of(body))
        if not config_maps.is_copy(found) or not config_maps.is_same_content(found, body):
            raise InvalidError(f"ConfigMap {name_of(body)} exists and is not the copy that it should be") from None
        if not is_owned_by(found, owner):
            held = config_maps.with_owner(found, owner)
            owners = {"ownerReferences": held["metadata"]["ownerReferences"]}
            await cluster.patch(Kind.CONFIG_MAP, found, {"metadata": owners})
