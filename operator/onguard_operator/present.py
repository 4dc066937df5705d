"""ModelDeployment.status and the operator's gauges, from what an evaluation found. Rounded, so that it is quiet."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from onguard import contract
from onguard.budget import Objective
from onguard.findings import Finding, Verdict
from onguard.performance import Estimate
from onguard_operator import records, rollback
from onguard_operator.assess import Comparison
from onguard_operator.evidence import Evidence
from onguard_operator.objects import Object, name_of, stamp
from onguard_operator.observe import Observed
from onguard_operator.release import Revision
from onguard_operator.resources import Usage
from onguard_operator.status import Condition, fails, holds, unknown

_STATES: Final = {Verdict.NO_DATA: "Unknown", Verdict.QUIET: "Quiet", Verdict.ALARMED: "Alarm"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pods:
    """How many pods are in which state."""

    guarded: int = 0
    unguarded: int = 0
    unreadable: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """Everything that status and metrics show."""

    evidence: Evidence
    findings: Mapping[str, Finding]
    alarms: Sequence[str]
    comparison: Comparison
    pods: Pods
    usages: Sequence[Usage] = ()
    images: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    decisions: Sequence[Object] = ()
    detectable: Sequence[Object] = ()
    reference: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    estimate: Estimate | None = None


def healthy(picture: Picture) -> Condition:
    """Sum the objectives up. No traffic is neither health nor a breach."""
    kind = contract.CONDITION_HEALTHY
    if picture.alarms:
        names = ", ".join(picture.alarms)
        return fails(kind, "ObjectiveBroken", f"broken: {names}; see status.evidence and the Decisions of this model")
    if not picture.findings:
        return unknown(kind, "NoObjectives", "nothing is judged: no objective that counters speak for is set")
    judged = [name for name, finding in picture.findings.items() if finding.verdict is Verdict.QUIET]
    if judged:
        return holds(kind, "ObjectivesKept", f"kept: {', '.join(sorted(judged))}")
    if not picture.pods.guarded or picture.pods.unreadable >= picture.pods.guarded:
        return unknown(kind, "NoReadings", "no guarded pod can be read")
    return unknown(kind, "NoTraffic", "no inference request has been counted yet")


def fields(seen: Observed, picture: Picture) -> Mapping[str, Any]:
    """Status without conditions, phase and message."""
    history = picture.evidence.history
    last = max(picture.decisions, key=lambda d: str(d["spec"].get("decidedAt", "")), default=None)
    shown: dict[str, Any] = {
        "revision": history.current,
        "goodRevision": history.rollback_target or "",
        "alarms": sorted(picture.alarms),
        "pods": dataclasses.asdict(picture.pods),
        "revisions": [_revision(seen, r, picture.images.get(r.id, ())) for r in reversed(history.revisions[-16:])],
        "evidence": [_evidence(name, f, picture.evidence) for name, f in sorted(picture.findings.items())],
        "detectable": list(picture.detectable),
        "reference": dict(picture.reference),
    }
    return shown | ({"lastDecision": _last(last)} if last is not None else {})


def _revision(seen: Observed, revision: Revision, images: Sequence[str]) -> Object:
    kept = next((name_of(k) for k in seen.good_templates if rollback.revision_of(k) == revision.id), "")
    shown = {
        "revision": revision.id,
        "state": revision.standing.value,
        "controllerRevision": kept,
        "images": list(images)[:16],
        "firstSeen": stamp(datetime.fromtimestamp(revision.since, UTC)) if revision.since else "",
        "requests": _coarse(revision.requests),
        "message": _why(revision),
    }
    return {key: value for key, value in shown.items() if value not in ("", [])}


def _why(revision: Revision) -> str:
    if revision.reapplied:
        return f"KnownBadRevision: condemned by {revision.condemned_by} and applied again; rollbacks ask first"
    return f"condemned by {revision.condemned_by}" if revision.condemned_by else ""


def _coarse(number: float) -> int:
    """
    Round down to 1, 2 or 5 times a power of ten: a counter that moves at each scrape must not cause a write each time.

    >>> _coarse(7), _coarse(1999), _coarse(25_000)
    (5, 1000, 20000)
    """
    if number < 1:
        return 0
    power: int = 10 ** int(math.log10(number))
    return max(step * power for step in (1, 2, 5) if step * power <= number)


def _evidence(name: str, finding: Finding, evidence: Evidence) -> Object:
    onset = evidence.onsets.get(name)
    shown: dict[str, Any] = {
        "objective": name,
        "state": _STATES[finding.verdict],
        "logThreshold": round(finding.log_threshold, 1),
        "requests": _coarse(finding.requests),
    }
    if math.isfinite(finding.log_e):
        # In tenths of the threshold and not below 0: what lies under that moves at each visit and means nothing.
        step = max(finding.log_threshold / 10, 0.1)
        shown["logE"] = round(max(round(finding.log_e / step), 0) * step, 1)
    if finding.observed is not None:
        shown |= {"value": round(finding.observed, 2), "unit": "share"}
    if onset:
        shown["since"] = stamp(datetime.fromtimestamp(onset, UTC))
    moved = finding.named or ((finding.leading,) if finding.alarmed and finding.leading else ())
    if moved:
        shown["detail"] = "; ".join(f"{effect.event} {effect.shift:+.2f}" for effect in moved[:8])[:1024]
    return shown


def _last(decision: Object) -> Object:
    spec, phase = decision["spec"], records.phase_of(decision)
    shown = {
        "name": name_of(decision),
        "cause": spec["cause"],
        "action": spec["action"],
        "phase": phase.value,
        "at": spec["decidedAt"],
        "message": (decision.get("status") or {}).get("message") or spec.get("message") or "",
        "hash": records.hash_of(decision),
    }
    return {key: value for key, value in shown.items() if value}


def gauges(picture: Picture, *, guarded: bool, now: float) -> Iterable[tuple[str, tuple[str, ...], float | None]]:
    """Metric, further label values, value."""
    yield contract.METRIC_GUARDED, (), float(guarded)
    yield contract.METRIC_EVALUATION_AGE, (), now
    for state, number in dataclasses.asdict(picture.pods).items():
        yield contract.METRIC_GUARDED_PODS, (state,), float(number)
    for name, finding in picture.findings.items():
        yield contract.METRIC_ALARM, (name,), float(finding.alarmed)
        yield contract.METRIC_LOG_E, (name,), finding.log_e if finding.verdict is not Verdict.NO_DATA else None
        yield contract.METRIC_LOG_THRESHOLD, (name,), finding.log_threshold
    for name in (Objective.AVAILABILITY.value, Objective.MEMORY.value):
        yield contract.METRIC_ALARM, (name,), float(name in picture.alarms)
    for name, log_e in picture.comparison.log_e.items():
        yield contract.METRIC_ARM_LOG_E, (name,), log_e
    if picture.estimate is not None:
        error = picture.estimate.error._asdict() | {"reference": picture.estimate.before.value}
        for bound, value in error.items():
            yield contract.METRIC_ESTIMATED_ERROR, (bound,), value
    for usage in picture.usages:
        yield contract.METRIC_CONTAINER_CPU, (usage.pod,), usage.cpu_cores
        yield contract.METRIC_CONTAINER_MEMORY, (usage.pod,), usage.memory_bytes
