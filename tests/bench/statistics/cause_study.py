"""From an injected fault to the cause and the action: the product's evidence, table and decision rules, end to end."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from onguard import arms, bounded, concept, contract, decide, detectors
from onguard.cause import Arms, Attribution, Cause, Signal, Strength, attribute
from onguard.concept import ConceptDetector
from onguard.counts import Counts
from onguard.decide import Action, Memory, Phase, World
from onguard.findings import Finding
from onguard.performance import Errors, baseline_of
from onguard.profile import Profile
from onguard.spec import Spec, parse_spec
from onguard_operator import assess, gather
from onguard_operator.assess import Comparison, Labelled, Surroundings
from onguard_operator.evaluate import explained
from onguard_operator.evidence import Evidence
from onguard_operator.gather import Intake, Setting
from onguard_operator.judges import Judges, judges_of
from onguard_operator.release import History, Revision, Standing
from tests.bench.statistics import datasets, exact
from tests.bench.statistics.faults import KINDS, Fault
from tests.bench.statistics.scenario import Scenario

QUIET: Final = 10
"""Scrapes before the fault."""
FAULTY: Final = 80
ROWS: Final = 200
"""Requests a scrape."""
EPOCHS: Final = contract.SCRAPE_S // contract.EPOCH_S
ABSTAINED: Final = (Cause.NONE, Cause.UNKNOWN)
MANIFEST: Final = {
    "targetRef": {"name": "m"},
    "reference": {"configMap": {"name": "m"}},
    "objectives": {"errors": {"below": "1%"}, "drift": {}, "dataQuality": {}},
    "actions": {"retrain": {"from": {"apiVersion": "batch/v1", "kind": "CronJob", "name": "train"}}},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: the cause of the decision that stands at the end, all causes that were decided, and what was done."""

    table: str
    kind: str
    cause: Cause
    decided: tuple[Cause, ...]
    acts: tuple[Action, ...]


def history_of(fault: Fault) -> History:
    """An old good revision, and where the fault is a release, a new one since its onset."""
    old = Revision(id="old", standing=Standing.GOOD, requests=100_000)
    if not fault.is_release:
        return History(current="old", revisions=(old,))
    new = Revision(id="new", since=_at(QUIET))
    return History(current="new", previous="old", changed_at=_at(QUIET), revisions=(old, new))


def _at(scrape: int) -> float:
    return 1e6 + scrape * contract.SCRAPE_S


def detector_of(profile: Profile, spec: Spec) -> ConceptDetector:
    """Judges labels, each scrape's as soon as it is over."""
    baseline = baseline_of(profile)
    if baseline is None:
        raise ValueError("expected a reference with labels")
    return concept.detector_of(baseline, spec.false_alarms)


class Run:
    """One model under watch, scrape by scrape. It holds the evidence between them."""

    def __init__(self, scenario: Scenario, judges: Judges, spec: Spec, fault: Fault, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.scenario, self.judges, self.spec, self.fault = scenario, judges, spec, fault
        self.evidence = Evidence(
            history=history_of(fault),
            data={j.name: detectors.start(j.detector) for j in judges.data},
            service={j.name: bounded.start(j.detector) for j in judges.service},
        )
        self.labels = detector_of(scenario.profile, spec)
        self.concept = concept.start(self.labels)
        self.arms, self.memory = arms.ArmsState(), Memory()
        self.decided: list[Cause] = []
        self.acts: list[Action] = []
        self.gross = 0

    def outcome(self) -> Outcome:
        """Run to the end."""
        for scrape, (counts, errors) in enumerate(self._traffic()):
            self._absorb(counts, scrape)
            if errors is not None:
                self.concept = concept.step(self.labels, self.concept, errors)
            if scrape >= QUIET:
                self._decide(scrape)
        cause = self.decided[-1] if self.decided else Cause.NONE
        return Outcome(
            table=self.scenario.name,
            kind=self.fault.kind,
            cause=cause,
            decided=tuple(self.decided),
            acts=tuple(self.acts),
        )

    def _traffic(self) -> Iterator[tuple[Counts, Errors | None]]:
        before, after = (
            self.scenario.rows(self.rng, scrapes * ROWS, is_labelled=self.fault.is_labelled)
            for scrapes in (QUIET, FAULTY)
        )
        if self.fault.inject is not None:
            after = self.fault.inject(self.rng, after)
        for columns in (before, after):
            counts = self.scenario.counted(columns, rows_per_step=ROWS)
            if self.fault.is_labelled:
                yield from zip(counts, self.scenario.errors(columns, rows_per_step=ROWS), strict=True)
            else:
                yield from ((step, None) for step in counts)

    def _absorb(self, counts: Counts, scrape: int) -> None:
        rate = self.fault.error_rates[int(scrape >= QUIET)]
        per_epoch = ROWS // EPOCHS
        bad = [(int(b), per_epoch) for b in self.rng.binomial(per_epoch, rate, EPOCHS)]
        self.gross = self.gross + 1 if min(b for b, _ in bad) > per_epoch / 2 else 0
        data = {
            j.name: detectors.step(j.detector, self.evidence.data[j.name], counts.unit_bins) for j in self.judges.data
        }
        service = {j.name: bounded.steps(j.detector, self.evidence.service[j.name], bad) for j in self.judges.service}
        setting = Setting(judges=self.judges, profile=self.scenario.profile, objectives_hash="")
        moved = gather.since_drift(self.evidence, data, Intake(counts=counts), setting)
        self.evidence = dataclasses.replace(self.evidence, data=data, service=service, since_drift=moved)
        if self.fault.has_arm and scrape >= QUIET:
            cells = [(scrape * EPOCHS + i, self._cell()) for i in range(EPOCHS)]
            self.arms = arms.steps(self.arms, cells, self._rules())

    def _rules(self) -> arms.Rules:
        return arms.rules_of(self.spec.release, metrics=len(self.judges.service))

    def _cell(self) -> arms.Cell:
        sides = []
        for rate in reversed(self.fault.error_rates):
            connections = int(self.rng.poisson(4.0))
            bad = int(self.rng.binomial(8, rate, connections).sum()) * (contract.UNIT // 8)
            sides += [connections, bad]
        return arms.Cell(*sides)

    def _around(self) -> Surroundings:
        found = arms.compare(self.arms, self._rules())
        verdict = found.verdict if self.fault.has_arm else Arms.NONE
        # A sixth of a minute of epochs in which over half is bad, as rule A.10 wants it.
        strength = Strength(gross=self.gross >= 1)
        return Surroundings(
            availability=Signal.QUIET,
            comparison=Comparison(verdict=verdict),
            strength=strength,
            upstream=explained(self.evidence, self.scenario.profile),
            labelled=Labelled(verdict=concept.labels(self.labels, self.concept)),
        )

    def _decide(self, scrape: int) -> None:
        findings = assess.findings_of(self.evidence, self.judges)
        self.evidence = assess.with_onsets(self.evidence, findings, _at(scrape))
        around = self._around()
        attribution = attribute(assess.table_input(self.evidence, findings, self.spec, around), around.strength)
        if self._is_too_early(attribution, around, findings, _at(scrape)):
            return
        is_new = self.fault.is_release
        world = World(
            uid="u",
            revision="new" if is_new else "old",
            rollback_target="old" if is_new else None,
            bake_done=not is_new,
            coverage=1.0,
        )
        verdict, self.memory = decide.decide(
            attribution, spec=self.spec, world=world, memory=self.memory, now=_at(scrape)
        )
        if verdict is not None:
            self.decided.append(verdict.cause)
            if verdict.phase is Phase.ACTING:
                self.acts.append(verdict.action)

    def _is_too_early(
        self, attribution: Attribution, around: Surroundings, findings: Mapping[str, Finding], now: float
    ) -> bool:
        """What the operator waits for: an arm that may speak, rows that may explain, a shift that may be larger."""
        if attribution.cause is Cause.RELEASE:
            return self.fault.has_arm and not attribution.confirmed
        if attribution.cause in (Cause.POPULATION, Cause.POPULATION_BENIGN) and around.upstream is None:
            return True
        is_benign = attribution.cause is Cause.POPULATION_BENIGN
        return is_benign and assess.is_shift_unclear(self.evidence, findings, self.spec, now)


def study(*, runs: int, seed: int = 13) -> dict[str, Any]:
    """Every kind of fault on every table that has the columns for it."""
    spec = parse_spec(MANIFEST)
    outcomes: list[Outcome] = []
    for table in (datasets.flights(), datasets.weather(), datasets.employment()):
        scenario = Scenario.of(table, seed=seed)
        judges = judges_of(spec, scenario.profile, ordinal=1)
        for fault in (f for f in KINDS if _fits(f, scenario)):
            print(f"cause: {table.name}, {fault.kind}", file=sys.stderr, flush=True)
            outcomes += [Run(scenario, judges, spec, fault, 1000 * seed + i).outcome() for i in range(runs)]
    return summary(outcomes)


def _fits(fault: Fault, scenario: Scenario) -> bool:
    columns = scenario.rows(np.random.default_rng(0), 2000, is_labelled=fault.is_labelled)
    try:
        if fault.inject is not None:
            fault.inject(np.random.default_rng(0), columns)
    except ValueError:
        return False  # no column of the kind that the fault needs
    return True


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Confusion matrix, and the rates with their limits."""
    faults = {f.kind: f for f in KINDS}
    known = [o for o in outcomes if faults[o.kind].identifiable and not faults[o.kind].is_nothing]
    right = sum(o.cause in faults[o.kind].causes for o in known)
    abstained = sum(o.cause in ABSTAINED and not faults[o.kind].causes & set(ABSTAINED) for o in known)
    wrong = sum(bool(set(o.acts) - faults[o.kind].acts) for o in outcomes)
    return {
        "confusion": {k: dict(Counter(o.cause.value for o in outcomes if o.kind == k)) for k in faults},
        "acts": {k: dict(Counter(a.value for o in outcomes if o.kind == k for a in o.acts)) for k in faults},
        "top1": _rate(right, len(known)),
        "abstention": _rate(abstained, len(known)),
        "wrong_action": _rate(wrong, len(outcomes)),
    }


def _rate(count: int, total: int) -> dict[str, Any]:
    return {"count": count, "total": total, "rate": count / total, "limits": exact.clopper_pearson(count, total)}
