"""
Alertmanager's webhook (version 4): alerts become Decisions in phase Requested. Pure.

An alert is a hint: it is written down here, and the operator decides what follows from it. Its text comes from
outside, so that nothing of it is stored but what a trigger of the ModelDeployment names, a fingerprint and a time.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from onguard import contract
from onguard.spec import Spec
from onguard_operator import naming
from onguard_operator.objects import Object, name_of, owner_reference, stamp, uid_of

VERSION: Final = "4"
MAX_BODY_BYTES: Final = 1024 * 1024
MAX_ALERTS: Final = 1000
MAX_SKEW: Final = timedelta(minutes=5)
LABEL_NAMESPACE: Final = ("onguard_namespace", "namespace")
LABEL_MODEL: Final = ("onguard_model", "model")
PHASE_REQUESTED: Final = "Requested"


class AlertsError(ValueError):
    """The body is no webhook of Alertmanager that we can read."""


class Outcome(StrEnum):
    """What became of one alert; the label of the metric."""

    REQUESTED = "requested"
    DUPLICATE = "duplicate"
    RESOLVED = "resolved"
    NOT_OURS = "not_ours"
    FUTURE = "future"
    FORBIDDEN = "forbidden"
    TRUNCATED = "truncated"
    FAILED = "failed"
    UNAUTHORIZED = "unauthorized"
    MALFORMED = "malformed"


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert of a group."""

    status: str
    starts_at: datetime
    fingerprint: str
    labels: dict[str, str] = {}


class Webhook(msgspec.Struct, frozen=True, rename="camel"):
    """Body of one delivery."""

    version: str
    alerts: list[Alert]
    truncated_alerts: int = 0


@dataclass(frozen=True, kw_only=True)
class Hint:
    """A firing alert that names a model."""

    namespace: str
    model: str
    alert: str
    fingerprint: str
    starts_at: datetime


def parse(body: bytes) -> Webhook:
    """
    Read a delivery.

    Raises:
        AlertsError: if it is malformed, of another version or longer than any Alertmanager sends.
    """
    try:
        webhook = msgspec.json.decode(body, type=Webhook)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AlertsError(f"expected a webhook of Alertmanager, got {error}") from None
    if webhook.version != VERSION:
        raise AlertsError(f'expected version "{VERSION}" of the webhook')
    if len(webhook.alerts) > MAX_ALERTS:
        raise AlertsError(f"expected at most {MAX_ALERTS} alerts, got {len(webhook.alerts)}")
    return webhook


def hints(webhook: Webhook, now: datetime) -> Iterator[Hint | Outcome]:
    """Sort the alerts of a delivery: those that name a model and fire, and what became of the others."""
    for alert in webhook.alerts:
        yield _hint(alert, now)


def _hint(alert: Alert, now: datetime) -> Hint | Outcome:
    if alert.status != "firing":
        return Outcome.RESOLVED
    namespace, model = _first(alert.labels, LABEL_NAMESPACE), _first(alert.labels, LABEL_MODEL)
    name = alert.labels.get("alertname")
    if not (namespace and model and name and alert.fingerprint):
        return Outcome.NOT_OURS
    starts_at = alert.starts_at if alert.starts_at.tzinfo else alert.starts_at.replace(tzinfo=UTC)
    if starts_at > now + MAX_SKEW:
        return Outcome.FUTURE
    return Hint(namespace=namespace, model=model, alert=name, fingerprint=alert.fingerprint, starts_at=starts_at)


def _first(labels: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)


def action_of(hint: Hint, spec: Spec) -> str | None:
    """The action that the ModelDeployment's triggers give to this alert."""
    return next((trigger.action for trigger in spec.triggers if trigger.alert == hint.alert), None)


def decision_name(hint: Hint, model_deployment: Object) -> str:
    """Name of the Decision: the same alert at the same start gives the same name, whoever delivers it."""
    key = (uid_of(model_deployment), hint.fingerprint, hint.starts_at.astimezone(UTC).isoformat())
    return naming.decision(name_of(model_deployment), f"alert-{naming.digest(*key)}")


def decision(hint: Hint, model_deployment: Object, spec: Spec, now: datetime) -> Object | None:
    """Build the Decision that records the alert; None if no trigger names it."""
    action = action_of(hint, spec)
    if action is None:
        return None
    name = name_of(model_deployment)
    modes = {"Rollback": spec.actions.rollback.mode.value, "Retrain": spec.actions.retrain.mode.value}
    started = stamp(hint.starts_at)
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.DECISION,
        "metadata": {
            "name": decision_name(hint, model_deployment),
            "namespace": hint.namespace,
            "labels": {contract.LABEL_MODEL_DEPLOYMENT: name},
            "ownerReferences": [owner_reference(model_deployment, controller=False)],
        },
        "spec": {
            "modelDeployment": {"name": name, "uid": uid_of(model_deployment)},
            "cause": "alert",
            "action": action,
            "mode": modes.get(action, "Automatic"),
            "objective": "alert",
            "control": "none",
            "message": f"alert {hint.alert} has been firing since {started} and asks for {action.lower()}",
            "trigger": {"alert": hint.alert, "fingerprint": _short(hint.fingerprint), "startsAt": started},
            "decidedAt": stamp(now),
        },
    }


def _short(fingerprint: str) -> str:
    """Alertmanager sends 16 hex digits; whatever else comes is kept bounded and told apart by its hash."""
    if len(fingerprint) <= 64 and fingerprint.isalnum():
        return fingerprint
    return hashlib.sha256(fingerprint.encode()).hexdigest()
