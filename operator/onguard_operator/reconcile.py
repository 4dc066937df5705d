"""Apply a plan: each step by one write, a failed one leaving the others alone."""

import logging
from collections.abc import Sequence

from onguard import contract
from onguard_operator import act, rollback
from onguard_operator.cluster import Cluster, ClusterError, ForbiddenError, Kind
from onguard_operator.objects import Object, name_of, namespace_of
from onguard_operator.plan import (
    ApplyConfig,
    DropDecision,
    DropTemplate,
    KeepCopy,
    KeepTemplate,
    NamePort,
    Restart,
    StartBaseline,
    Step,
    StopBaseline,
)

_log = logging.getLogger(__name__)


async def apply(cluster: Cluster, mdep: Object, steps: Sequence[Step]) -> list[tuple[Step, ClusterError]]:
    """
    Take all steps.

    Returns:
        those that failed, with their errors. The next visit plans anew, so that nothing is retried here.
    """
    failed: list[tuple[Step, ClusterError]] = []
    for step in steps:
        try:
            await _take(cluster, mdep, step)
        except ClusterError as error:
            level = logging.INFO if isinstance(error, ForbiddenError) else logging.WARNING
            _log.log(level, "%s/%s: %s: %s", namespace_of(mdep), name_of(mdep), type(step).__name__, error)
            failed.append((step, error))
    return failed


async def _take(cluster: Cluster, mdep: Object, step: Step) -> None:
    match step:
        case ApplyConfig():
            await cluster.apply(Kind.CONFIG_MAP, step.body)
        case NamePort():
            await cluster.patch(Kind.SERVICE, step.service, {"spec": {"ports": list(step.ports)}})
        case Restart():
            mark = {contract.ANNOTATION_RESTARTED_AT: step.at}
            change = {"spec": {"template": {"metadata": {"annotations": mark}}}}
            await cluster.patch(Kind.DEPLOYMENT, step.target, change)
        case KeepTemplate():
            beside = rollback.beside(pinned=step.images, copies=step.copies)
            body = rollback.keep(mdep, step.revision, step.template, ordinal=step.ordinal, beside=beside)
            await act.keep_template(cluster, mdep, body)
        case KeepCopy():
            await act.keep_copy(cluster, step.body, step.owner)
        case StartBaseline():
            await cluster.create(Kind.REPLICA_SET, step.body)
        case DropTemplate() | DropDecision() | StopBaseline():
            await _drop(cluster, step)


async def _drop(cluster: Cluster, step: DropTemplate | DropDecision | StopBaseline) -> None:
    match step:
        case DropTemplate():
            await cluster.delete(Kind.CONTROLLER_REVISION, step.kept)
        case DropDecision():
            await cluster.delete(Kind.DECISION, step.decision)
        case StopBaseline():
            await cluster.delete(Kind.REPLICA_SET, step.replica_set)
