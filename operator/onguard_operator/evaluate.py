"""
One evaluation: scrape, merge by revision, move the evidence, say what it means. Nothing is decided or done here.

Order matters: the revision that serves is noted before its pods are read, so that their counts find their place.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from onguard import contract, upstream
from onguard.counts import from_wire
from onguard.decide import Phase
from onguard.findings import Finding
from onguard.performance import Estimate
from onguard.profile import Profile
from onguard.upstream import Upstream
from onguard_operator import (
    assess,
    availability,
    compare,
    detect,
    estimating,
    exchangeable,
    gather,
    learn,
    records,
    release,
    resources,
    strength,
)
from onguard_operator.assess import Comparison, Labelled, Surroundings
from onguard_operator.evidence import Evidence
from onguard_operator.gather import PodReading, Setting
from onguard_operator.guarding import is_injected
from onguard_operator.judges import Judges, judges_of
from onguard_operator.objects import Object, condition_of, is_ready, is_terminating, time_of, time_of_unix, uid_of
from onguard_operator.observe import Observed
from onguard_operator.release import Present
from onguard_operator.scrape import Reading, Value

YOUNG_S: Final = 2.0 * contract.SCRAPE_S
"""A pod this young need not be readable yet."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """
    What one evaluation found.

    Attributes:
        evidence: after this visit.
        findings: of all detectors.
        present: those that count against the revision that serves now.
        around: what is not in the counters.
        coverage: share of the pods that should be readable and are; None without such pods.
        is_memory_broken: the memory objective's threshold is passed for long enough.
        detectable: the smallest effects that the detectors find at the present traffic.
        estimate: the error that scores let expect.
    """

    evidence: Evidence
    findings: Mapping[str, Finding]
    present: Mapping[str, Finding]
    around: Surroundings
    coverage: float | None
    is_memory_broken: bool
    detectable: Sequence[Object] = ()
    estimate: Estimate | None = None

    @property
    def alarms(self) -> list[str]:
        """Names of the objectives that are broken."""
        names = [name for name, finding in self.findings.items() if finding.alarmed]
        names += ["availability"] if self.around.availability.value == "alarm" else []
        names += [assess.PERFORMANCE] if self.around.labelled.is_worse else []
        return sorted([*names, *(["memory"] if self.is_memory_broken else [])])

    @property
    def present_alarms(self) -> list[str]:
        """Those that count against the revision which serves now."""
        return [name for name in self.alarms if name not in self.findings or name in self.present]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an evaluation starts from, all of it read already."""

    seen: Observed
    readings: Mapping[str, Reading]
    usages: Sequence[resources.Usage]
    profile: Profile | None
    objectives_hash: str
    measurement: bool
    """Many models alarm together: what is in doubt is the measuring."""
    now: float
    labelled: Labelled = dataclasses.field(default_factory=Labelled)


def note_revision(evidence: Evidence, seen: Observed, *, broken: frozenset[str], now: float) -> Evidence:
    """
    Take note of the revision that the target's template has now.

    Args:
        evidence: so far.
        seen: the cluster.
        broken: objectives that are broken at this moment.
        now: Unix time.
    """
    if seen.template is None:
        return evidence
    present = Present(
        revision=release.identity(seen.template, seen.contents),
        shape=release.shape(seen.template),
        began=began_of(seen, now),
    )
    good = [revision for k in seen.good_templates if (revision := k["metadata"]["labels"].get(contract.LABEL_REVISION))]
    history = release.observe(evidence.history, present, good=good, bad=condemned(seen.decisions), now=now)
    if history.current == evidence.history.current:
        return dataclasses.replace(evidence, history=history)
    return dataclasses.replace(evidence, history=history, broken_before=broken, arms={}, arms_of=("", ""))


def began_of(seen: Observed, now: float) -> float:
    """When the present template's ReplicaSet was made; ours to know even if we were away then."""
    shape = release.without_marks(seen.template or {})
    times = [
        time_of(owner["metadata"].get("creationTimestamp"))
        for owner in seen.replica_sets
        if release.without_marks(owner["spec"]["template"]) == shape
    ]
    return min((moment.timestamp() for moment in times if moment), default=now)


def condemned(decisions: Sequence[Object]) -> Mapping[str, str]:
    """Decision by revision that a rollback condemned."""
    acted = (Phase.ACTING, Phase.SUCCEEDED, Phase.FAILED)
    rollbacks = [d for d in decisions if d["spec"]["action"] == "Rollback" and records.phase_of(d) in acted]
    return {records.revision_of(d): d["metadata"]["name"] for d in rollbacks if records.revision_of(d)}


def guarded_pods(seen: Observed) -> list[Object]:
    """Pods that may be read: injected, and with an address; those that are draining too."""
    over = ("Succeeded", "Failed")
    return [p for p in seen.pods if is_injected(p) and (p.get("status") or {}).get("phase") not in over]


def expected_pods(seen: Observed) -> frozenset[str]:
    """Uids of the pods that serve and must be readable."""
    return frozenset(uid_of(pod) for pod in guarded_pods(seen) if is_ready(pod) and not is_terminating(pod))


def coverage(seen: Observed, readings: Mapping[str, Reading], now: float) -> float | None:
    """Readable pods over those that are ready, guarded, not terminating and older than two scrapes."""
    old = [p for p in guarded_pods(seen) if uid_of(p) in expected_pods(seen) and now - _born(p, now) > YOUNG_S]
    readable = [pod for pod in old if isinstance(readings.get(uid_of(pod)), Value)]
    return len(readable) / len(old) if old else None


def _born(pod: Object, now: float) -> float:
    moment = time_of(pod["metadata"].get("creationTimestamp"))
    return moment.timestamp() if moment else now


def evaluate(evidence: Evidence, inputs: Inputs) -> Evaluation:
    """Move the evidence by one visit and read it."""
    seen, now = inputs.seen, inputs.now
    bins = inputs.profile
    evidence, judges = with_reference(evidence, seen, bins if bins is not None and bins.is_counted else None)
    setting = Setting(
        judges=judges,
        profile=bins,
        objectives_hash=inputs.objectives_hash,
        learns_from=learn.learns_from(evidence, bins),
    )
    read = _pod_readings(evidence, inputs)
    evidence, intake = gather.absorb(evidence, read, setting, expected=expected_pods(seen), now=now)
    evidence = learn.counted(evidence, intake, setting, now=now)
    evidence = estimating.noted(evidence, intake.unit_bins, bins)
    findings = assess.findings_of(evidence, judges)
    evidence = assess.with_onsets(evidence, findings, now)
    evidence, comparison = compare.compare(
        evidence, intake.paired, seen.spec, judges, obstacle=exchangeable.obstacle(seen)
    )
    revisions = {reading.pod: reading.revision for reading in read}
    evidence = _with_memory(evidence, inputs)
    around = _around(evidence, inputs, judges, comparison)
    evidence = _with_bake(evidence, inputs, revisions, is_suspicious=_is_suspicious(findings, around))
    return Evaluation(
        evidence=_served(evidence, intake),
        findings=findings,
        present=assess.present(evidence, findings, now),
        around=around,
        coverage=coverage(seen, inputs.readings, now),
        is_memory_broken=resources.is_broken(seen.spec.objectives.memory, evidence.memory_since, now),
        detectable=detect.detectable(evidence, judges),
        estimate=estimating.estimate(evidence, bins),
    )


def with_reference(evidence: Evidence, seen: Observed, profile: Profile | None) -> tuple[Evidence, Judges]:
    """Count the reference among those of the model, and build the detectors that follow from it."""
    if profile is not None and profile.hash not in evidence.references:
        evidence = dataclasses.replace(evidence, references=(*evidence.references, profile.hash))
    ordinal = evidence.references.index(profile.hash) + 1 if profile is not None else 1
    return evidence, judges_of(seen.spec, profile, ordinal=ordinal)


def _pod_readings(evidence: Evidence, inputs: Inputs) -> list[PodReading]:
    """Readings of pods whose revision is known."""
    seen = inputs.seen
    revisions = release.revisions_of_pods(seen.pods, seen.replica_sets, seen.contents)
    found = []
    for pod in guarded_pods(seen):
        reading, revision = inputs.readings.get(uid_of(pod)), revisions.get(uid_of(pod))
        if isinstance(reading, Value) and revision is not None:
            found.append(
                PodReading(
                    pod=uid_of(pod),
                    revision=revision,
                    arm=release.arm_of(pod),
                    report=reading.report,
                    is_new=0.0 < evidence.read_at < _born(pod, 0.0),
                    ready_at=_ready_at(pod),
                )
            )
    return found


def _ready_at(pod: Object) -> float | None:
    condition = condition_of(pod, "Ready") or {}
    moment = time_of(condition.get("lastTransitionTime"))
    return moment.timestamp() if condition.get("status") == "True" and moment else None


def _around(evidence: Evidence, inputs: Inputs, judges: Judges, comparison: Comparison) -> Surroundings:
    seen = inputs.seen
    revisions = release.revisions_of_pods(seen.pods, seen.replica_sets, seen.contents)
    moment = time_of_unix(inputs.now)
    signal, text = availability.availability(seen, revisions, evidence.history.current, moment)
    return Surroundings(
        availability=signal,
        availability_text=text,
        saturated=resources.is_saturated(inputs.usages),
        measurement=inputs.measurement or gather.is_lossy(evidence),
        comparison=comparison,
        strength=strength.of_release(evidence, judges),
        upstream=explained(evidence, inputs.profile),
        labelled=inputs.labelled,
        memory=resources.breach(
            seen.spec.objectives.memory, resources.memory_share(inputs.usages), evidence.memory_since, inputs.now
        ),
    )


def explained(evidence: Evidence, profile: Profile | None) -> tuple[Upstream, ...] | None:
    """Faults of the data's way here that explain an alarm of drift; None: it takes more rows to tell."""
    if profile is None or evidence.since_drift is None or evidence.since_drift.profile_hash != profile.hash:
        return ()
    counts = from_wire(evidence.since_drift, profile)
    return upstream.explain(profile, counts) if counts.rows >= upstream.LEAST_ROWS else None


def _is_suspicious(findings: Mapping[str, Finding], around: Surroundings) -> bool:
    return assess.is_suspicious(findings, around.comparison) or around.availability.value == "alarm"


def _with_bake(evidence: Evidence, inputs: Inputs, revisions: Mapping[str, str], *, is_suspicious: bool) -> Evidence:
    current = evidence.history.current
    pods = [p for p in inputs.seen.model_pods if revisions.get(uid_of(p)) == current]
    ready = [moment for pod in pods if (moment := _ready_at(pod)) is not None]
    wanted = inputs.seen.spec.release.bake
    baking = release.Baking(
        for_s=float(wanted.for_),
        requests=wanted.requests,
        ready_at=min(ready, default=None),
        is_suspicious=is_suspicious or evidence.memory.open,
    )
    return dataclasses.replace(evidence, history=release.bake(evidence.history, baking, now=inputs.now))


def _with_memory(evidence: Evidence, inputs: Inputs) -> Evidence:
    share = resources.memory_share(inputs.usages)
    objective = inputs.seen.spec.objectives.memory
    since = resources.passed_since(objective, share, evidence.memory_since, inputs.now)
    return dataclasses.replace(evidence, memory_since=since)


def _served(evidence: Evidence, intake: gather.Intake) -> Evidence:
    """Count the current revision's requests of this visit; they speak for its bake from the next one on."""
    current = evidence.history.current
    requests = sum(int(row[0]) for epoch in intake.served for (rev, _), row in epoch.sums.items() if rev == current)
    return dataclasses.replace(evidence, history=release.served(evidence.history, requests))
