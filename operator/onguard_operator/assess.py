"""From evidence to the findings that the cause table looks at, and to the figures that a Decision quotes. Pure."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from onguard import bounded, contract, effects
from onguard.bounded import BoundedState
from onguard.budget import Objective
from onguard.cause import Arms, Findings, Labels, Signal, Strength
from onguard.findings import Effect, Finding, Verdict
from onguard.spec import Spec
from onguard.upstream import Upstream
from onguard_operator.evidence import Evidence
from onguard_operator.judges import Judges
from onguard_operator.records import Measured
from onguard_operator.release import Standing

CARRIED_S: Final = 300.0
"""How long after a change of revision an older breach may take to clear."""
LEAVING_S: Final = 60.0
"""How long after a return to a good revision the pods of the one before may still serve."""
SUSPICION: Final = 0.5
"""A candidate whose evidence has come half way to an alarm (in logarithms) does not become good yet."""
BENIGN_AFTER_S: Final = 60.0
AMBIGUOUS_REQUESTS: Final = 2000.0
"""So many requests decide whether a shift passes ``retrainAt``; until then it is not called benign if it may."""
PERFORMANCE: Final = "performance"
"""What an alarm of labels is called: they are no objective yet."""
_SERVICE: Final = (Objective.ERRORS, Objective.LATENCY)
_GOOD: Final = (Standing.GOOD, Standing.ASSUMED_GOOD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """
    The arms: verdict for the table, ln of the evidence by objective, and figures for the record.

    ``refused`` says why clients do not reach the arms at random; nothing is compared then.
    """

    verdict: Arms = Arms.NONE
    log_e: Mapping[str, float] = dataclasses.field(default_factory=dict)
    log_threshold: float = math.inf
    figures: tuple[Measured, ...] = ()
    refused: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """What labels say, where something brings them: a simulation does, live traffic does not yet."""

    verdict: Labels = Labels.UNKNOWN
    figures: tuple[Measured, ...] = ()

    @property
    def is_worse(self) -> bool:
        """Whether the error is worse than the reference's."""
        return self.verdict in (Labels.WORSE, Labels.CONCEPT)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What is not in the counters: availability, saturation, doubts about the measuring, strength of a release."""

    availability: Signal = Signal.UNKNOWN
    availability_text: str = ""
    saturated: bool = False
    measurement: bool = False
    comparison: Comparison = dataclasses.field(default_factory=Comparison)
    strength: Strength = dataclasses.field(default_factory=Strength)
    upstream: tuple[Upstream, ...] | None = ()
    """Faults of the data's way here that explain an alarm of drift; None: it takes more rows to tell."""
    memory: Measured | None = None
    """The memory objective, while it is broken."""
    labelled: Labelled = dataclasses.field(default_factory=Labelled)


def findings_of(evidence: Evidence, judges: Judges) -> Mapping[str, Finding]:
    """What each detector says, by name of its objective."""
    found: dict[str, Finding] = {}
    for data in judges.data:
        if data.name in evidence.data:
            found[data.name] = effects.finding(data.detector, evidence.data[data.name])
    for service in judges.service:
        if service.name in evidence.service:
            found[service.name] = bounded.finding(service.detector, evidence.service[service.name])
    return found


def with_onsets(evidence: Evidence, findings: Mapping[str, Finding], now: float) -> Evidence:
    """Note when breaches that are new began, and forget those that are over."""
    onsets = {}
    for name, finding in findings.items():
        if finding.alarmed:
            onsets[name] = evidence.onsets.get(name) or now - _age_s(evidence.service.get(name))
    return dataclasses.replace(evidence, onsets=onsets)


def _age_s(state: BoundedState | None) -> float:
    """How long the evidence has been growing: its recent epochs begin where the breach set in."""
    return float(state.epochs * contract.EPOCH_S) if state is not None else 0.0


def signal_of(findings: Iterable[Finding]) -> Signal:
    """
    Sum up detectors: an alarm wins, then health; no data is neither.

    >>> signal_of([])
    <Signal.UNKNOWN: 'unknown'>
    """
    verdicts = {finding.verdict for finding in findings}
    if Verdict.ALARMED in verdicts:
        return Signal.ALARM
    return Signal.QUIET if Verdict.QUIET in verdicts else Signal.UNKNOWN


def present(evidence: Evidence, findings: Mapping[str, Finding], now: float) -> Mapping[str, Finding]:
    """
    Leave out breaches of errors, latency and outputs that the revision before left behind.

    After a rollback its alarms stay latched until enough good epochs have come, and epochs of its last pods may still
    raise one; that is no breach of the revision which serves now, unless it lasts.
    """
    if now - evidence.history.changed_at > CARRIED_S:
        return findings
    judged = (*_SERVICE, Objective.OUTPUTS)
    left = [n for n, f in findings.items() if f.alarmed and f.objective in judged and _is_left_behind(evidence, n)]
    return {name: finding for name, finding in findings.items() if name not in left}


def _is_left_behind(evidence: Evidence, name: str) -> bool:
    history, onset = evidence.history, evidence.onsets.get(name)
    current = history.now_serving
    has_returned = current is not None and history.previous != "" and current.standing in _GOOD
    began_before = onset is not None and onset <= history.changed_at + LEAVING_S
    return name in evidence.broken_before or (has_returned and began_before)


def table_input(evidence: Evidence, findings: Mapping[str, Finding], spec: Spec, around: Surroundings) -> Findings:
    """Columns of the cause table as they stand now."""
    by = {o: [f for f in findings.values() if f.objective is o] for o in Objective}
    drift = next(iter(by[Objective.DRIFT]), None)
    return Findings(
        measurement=around.measurement,
        availability=around.availability if spec.objectives.availability is not None else Signal.UNKNOWN,
        arms=around.comparison.verdict,
        quality=Signal.ALARM if around.upstream else signal_of(by[Objective.DATA_QUALITY]),
        service=signal_of(f for o in _SERVICE for f in by[o]),
        inputs=signal_of(by[Objective.DRIFT]),
        outputs=signal_of(by[Objective.OUTPUTS]),
        labels=around.labelled.verdict,
        fresh=is_fresh(evidence, findings, watch_s=float(spec.release.watch), around=around),
        saturated=around.saturated,
        beyond_retrain=_is_beyond(drift, spec),
    )


def _moved(drift: Finding | None) -> Sequence[Effect]:
    if drift is None or not drift.alarmed:
        return ()
    return drift.named or ((drift.leading,) if drift.leading else ())


def _is_beyond(drift: Finding | None, spec: Spec) -> bool:
    """Whether the shift surely passes ``retrainAt``."""
    objective = spec.objectives.drift
    return objective is not None and any(effect.shift_low >= objective.retrain_at for effect in _moved(drift))


def is_shift_unclear(evidence: Evidence, findings: Mapping[str, Finding], spec: Spec, now: float) -> bool:
    """
    Whether the shift may still turn out to pass ``retrainAt``.

    The estimate right after an alarm is mixed with traffic from before the change, and of few requests: a decision
    that the shift is benign waits for a minute, and for an interval that does not reach the bound, or for requests.
    """
    objective = spec.objectives.drift
    drift = findings.get(Objective.DRIFT.value)
    if objective is None or _is_beyond(drift, spec) or not _moved(drift):
        return False
    if now - evidence.onsets.get(Objective.DRIFT.value, now) < BENIGN_AFTER_S:
        return True
    maybe = any(_high(effect) >= objective.retrain_at for effect in _moved(drift))
    return maybe and max(effect.requests for effect in _moved(drift)) < AMBIGUOUS_REQUESTS


def _high(effect: Effect) -> float:
    """Size that the shift has at most, the interval being symmetric."""
    return 2 * abs(effect.shift) - effect.shift_low


def is_fresh(evidence: Evidence, findings: Mapping[str, Finding], *, watch_s: float, around: Surroundings) -> bool:
    """
    Whether what is broken began inside the watch of a revision that followed another, which kept the objective.

    A revision that was there when we came has nothing before it that could be returned to.
    """
    history = evidence.history
    current = history.now_serving
    if current is None or not history.previous or current.standing is Standing.ASSUMED_GOOD:
        return False
    if around.availability is Signal.ALARM:
        return True
    broken = [name for name, f in findings.items() if f.alarmed and f.objective in (*_SERVICE, Objective.OUTPUTS)]
    if not broken:
        return False
    return all(
        name not in evidence.broken_before
        and history.changed_at - contract.EPOCH_S <= evidence.onsets.get(name, 0.0) <= history.changed_at + watch_s
        for name in broken
    )


def is_suspicious(findings: Mapping[str, Finding], comparison: Comparison) -> bool:
    """Whether the evidence is on its way to an alarm, so that nothing should be called good yet."""
    near = any(f.alarmed or f.log_e > SUSPICION * f.log_threshold for f in findings.values())
    worse = any(log_e > SUSPICION * comparison.log_threshold for log_e in comparison.log_e.values())
    return near or worse or comparison.verdict in (Arms.WORSE, Arms.DIFFERENT)


def figures_of(findings: Mapping[str, Finding], around: Surroundings) -> list[Measured]:
    """The evidence in numbers: what is broken first."""
    figures = list(around.comparison.figures)
    if around.availability_text:
        figures.append(Measured(name="availability", detail=around.availability_text))
    figures += around.labelled.figures
    figures += [around.memory] if around.memory is not None else []
    figures += [Measured(name=f"upstream: {fault.kind}", detail=fault.text) for fault in around.upstream or ()]
    ordered = sorted(findings.items(), key=lambda item: (not item[1].alarmed, -item[1].log_e))
    for name, finding in ordered:
        if finding.verdict is not Verdict.NO_DATA:
            figures += _figures_of(name, finding)
    return figures


def _figures_of(name: str, finding: Finding) -> Sequence[Measured]:
    state = f"{finding.verdict.value}: ln evidence {finding.log_e:.1f} of {finding.log_threshold:.1f}"
    total = f"{state}, over {finding.requests:.0f} requests"
    summary = Measured(
        name=name, value=finding.observed, unit="share" if finding.observed is not None else "", detail=total
    )
    shown = finding.named or ((finding.leading,) if finding.alarmed and finding.leading else ())
    return [summary, *(_of_effect(name, effect) for effect in shown[:8])]


def _of_effect(name: str, effect: Effect) -> Measured:
    return Measured(
        name=f"{name}: {effect.event}",
        value=abs(effect.shift),
        low=effect.shift_low,
        high=_high(effect),
        unit="shift of probability",
        detail=f"feature {effect.feature}: {effect.expected:.4g} in the reference, {effect.observed:.4g} now",
    )


def leading_objective(findings: Mapping[str, Finding], around: Surroundings) -> str:
    """Name of the objective that a Decision is about: the broken one with most evidence over its threshold."""
    if around.availability is Signal.ALARM:
        return Objective.AVAILABILITY.value
    if around.comparison.verdict in (Arms.WORSE, Arms.DIFFERENT) and around.comparison.log_e:
        return max(around.comparison.log_e, key=lambda name: around.comparison.log_e[name])
    broken = {name: f.log_e - f.log_threshold for name, f in findings.items() if f.alarmed}
    otherwise = PERFORMANCE if around.labelled.is_worse else Objective.MEMORY.value if around.memory is not None else ""
    return max(broken, key=lambda name: broken[name], default=otherwise)
