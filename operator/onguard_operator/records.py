"""
Decisions as objects: how a verdict is written down, and what a written one says.

The spec never changes; whatever happens later is status. Each record carries the hash of the one before, so that a
gap shows.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from onguard import contract
from onguard.cause import Cause
from onguard.decide import Action, Blocker, Phase, Verdict
from onguard.spec import Mode
from onguard_operator import naming
from onguard_operator.objects import Object, annotations_of, name_of, namespace_of, owner_reference, stamp, uid_of

FINAL: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.HELD, Phase.DRY_RUN, Phase.SUPERSEDED})
APPLIED: Final = "Applied"
"""Condition of a Decision: the act has been carried out once; a second time would be a fight."""
_MAX_TEXT: Final = 1024
_MAX_ITEMS: Final = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """One figure of the evidence; what is not a number is left out of the record."""

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    detail: str = ""

    def encode(self) -> Object:
        """As the Decision's schema wants it."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        finite = {k: round(v, 6) for k, v in numbers.items() if v is not None and math.isfinite(v)}
        texts = {"unit": self.unit[:32], "detail": self.detail[:_MAX_TEXT]}
        return {"name": self.name[:128], **finite, **{k: v for k, v in texts.items() if v}}


def record(
    mdep: Object,
    verdict: Verdict,
    *,
    objective: str,
    evidence: Sequence[Measured],
    previous_hash: str,
    now: datetime,
) -> Object:
    """Write a verdict down, not yet in the cluster."""
    spec: Object = {
        "modelDeployment": {"name": name_of(mdep), "uid": uid_of(mdep)},
        "cause": verdict.cause.value,
        "action": verdict.action.value,
        "mode": verdict.mode.value,
        "objective": objective,
        "revision": verdict.revision,
        "targetRevision": verdict.target_revision or "",
        "control": verdict.control.value,
        "message": verdict.message[:_MAX_TEXT],
        "evidence": [item.encode() for item in evidence[:32]],
        "alternatives": [{"cause": c.value, "why": w[:_MAX_TEXT]} for c, w in verdict.alternatives[:_MAX_ITEMS]],
        "blockers": encode_blockers(verdict.blockers),
        "previousHash": previous_hash,
        "decidedAt": stamp(now),
    }
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.DECISION,
        "metadata": {
            "name": naming.decision(name_of(mdep), verdict.name_hash),
            "namespace": namespace_of(mdep),
            "labels": {contract.LABEL_MODEL_DEPLOYMENT: name_of(mdep)},
            "ownerReferences": [owner_reference(mdep, controller=False)],
        },
        "spec": {key: value for key, value in spec.items() if value not in ("", [])},
    }


def encode_blockers(blockers: Sequence[Blocker]) -> list[Object]:
    """Blockers as the schema wants them."""
    return [{"reason": b.reason, "message": b.message[:_MAX_TEXT]} for b in blockers[:_MAX_ITEMS]]


def hash_of(decision: Object) -> str:
    """
    SHA-256 of what was decided: name and spec.

    >>> hash_of({"metadata": {"name": "a"}, "spec": {"x": 1}})[:8]
    'a0c59a8a'
    """
    text = json.dumps([name_of(decision), decision["spec"]], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def phase_of(decision: Object) -> Phase:
    """
    Phase of a Decision; a record whose status was never written is where its spec says that it begins.

    >>> phase_of({"spec": {"action": "Hold", "mode": "Off"}})
    <Phase.HELD: 'Held'>
    """
    written = (decision.get("status") or {}).get("phase")
    if written:
        return Phase(written)
    spec = decision["spec"]
    if spec.get("cause") == Cause.ALERT:
        return Phase.REQUESTED
    if spec["action"] == Action.HOLD or spec.get("blockers"):
        return Phase.HELD
    first = {Mode.AUTOMATIC: Phase.ACTING, Mode.APPROVE: Phase.AWAITING_APPROVAL, Mode.DRY_RUN: Phase.DRY_RUN}
    return first.get(Mode(spec["mode"]), Phase.HELD)


def is_open(decision: Object) -> bool:
    """Whether anything may still happen."""
    return phase_of(decision) not in FINAL


def revision_of(decision: Object) -> str:
    """The revision that it condemns; for an alert's request the one that served when it was taken up."""
    return str(decision["spec"].get("revision") or (decision.get("status") or {}).get("revision") or "")


def target_of(decision: Object) -> str:
    """The revision that a rollback returns to."""
    return str(decision["spec"].get("targetRevision") or (decision.get("status") or {}).get("targetRevision") or "")


def approver_of(decision: Object) -> str:
    """Who approved it; empty if nobody has."""
    return annotations_of(decision).get(contract.ANNOTATION_APPROVE, "").strip()[:253]


def was_applied(decision: Object) -> bool:
    """Whether the act has been carried out before."""
    conditions = (decision.get("status") or {}).get("conditions") or ()
    return any(c["type"] == APPLIED and c["status"] == "True" for c in conditions)


def applied(now: datetime) -> list[Object]:
    """Conditions that say so."""
    return [
        {
            "type": APPLIED,
            "status": "True",
            "reason": "Written",
            "message": "the act was written to the cluster",
            "lastTransitionTime": stamp(now),
        }
    ]
