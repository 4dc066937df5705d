"""Kubernetes Events, on transitions only: a condition that changed, a Decision that was made or came to its end."""

import logging
from datetime import datetime

from onguard import contract
from onguard_operator import naming, records
from onguard_operator.cluster import Cluster, ClusterError, ExistsError, Kind
from onguard_operator.objects import Object, name_of, namespace_of, stamp, uid_of
from onguard_operator.status import Change

_log = logging.getLogger(__name__)


def event_of(involved: Object, *, reason: str, message: str, is_warning: bool, now: datetime) -> Object:
    """Build an Event about an object of ours; the same transition in the same second has the same name."""
    moment = stamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": naming.event(uid_of(involved), reason + message, moment),
            "namespace": namespace_of(involved),
        },
        "involvedObject": {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "name": name_of(involved),
            "namespace": namespace_of(involved),
            "uid": uid_of(involved),
        },
        "type": "Warning" if is_warning else "Normal",
        "reason": reason,
        "message": message[:1024],
        "source": {"component": contract.FIELD_MANAGER},
        "reportingComponent": "onguard.dev/operator",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }


def of_changes(mdep: Object, changes: list[Change], now: datetime) -> list[Object]:
    """Events about conditions that changed to True or False; becoming unknown is no news, nor is the summary."""
    return [
        event_of(
            mdep,
            reason=change.condition.reason,
            message=f"{change.condition.type} is {change.condition.status}: {change.condition.message}",
            is_warning=change.is_warning,
            now=now,
        )
        for change in changes
        if change.condition.status != "Unknown" and change.condition.type != contract.CONDITION_READY
    ]


def of_decision(mdep: Object, decision: Object, now: datetime) -> Object:
    """Event about the phase that a Decision has come to."""
    phase, spec, status = records.phase_of(decision), decision["spec"], decision.get("status") or {}
    text = status.get("message") or spec.get("message") or ""
    return event_of(
        mdep,
        reason=f"{spec['action']}{phase.value}",
        message=f"decision {name_of(decision)} ({spec['cause']}): {text}",
        is_warning=phase.value in ("Failed", "AwaitingApproval", "Held"),
        now=now,
    )


async def post(cluster: Cluster, events: list[Object]) -> None:
    """Post Events; they are news, so that a failure costs nothing else."""
    for event in events:
        try:
            await cluster.create(Kind.EVENT, event)
        except ExistsError:
            continue
        except ClusterError as error:
            _log.info("event %s was not posted: %s", event["reason"], error)
