"""
The new revision against the last good one: epochs that both served side by side, metric by metric.

Pods of the good revision count as the old arm whether they are a baseline arm or what a rolling update has not yet
replaced. What was found side by side stays true; that both are alike is said only while they are side by side.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Final

from onguard import arms
from onguard.arms import ArmsState, Cell, Rules
from onguard.cause import Arms
from onguard.spec import Spec
from onguard_operator import epochs
from onguard_operator.assess import Comparison
from onguard_operator.epochs import Joined
from onguard_operator.evidence import Evidence
from onguard_operator.judges import Judges, ServiceJudge
from onguard_operator.records import Measured
from onguard_operator.release import Standing

ALONE_EPOCHS: Final = 24
"""After two minutes without the other arm, nothing new can be said about being alike."""
_ORDER: Final = (Arms.WORSE, Arms.UNDECIDED, Arms.NOT_COMPARABLE, Arms.ALIKE)
"""Verdict over several metrics: the first of these that any metric has."""


def compare(
    evidence: Evidence, paired: Sequence[Joined], spec: Spec, judges: Judges, *, obstacle: str = ""
) -> tuple[Evidence, Comparison]:
    """
    Take epochs that every pod of both arms speaks for, and say what the arms say.

    Args:
        evidence: so far.
        paired: new epochs, in order.
        spec: what a release may cost and must differ by.
        judges: metrics that are compared.
        obstacle: why clients do not reach the arms at random; epochs of that time are left out, whatever they show.
    """
    sides = _sides(evidence)
    if sides is None or not judges.service:
        return evidence, Comparison()
    if obstacle:
        return evidence, _refused(obstacle)
    rules = arms.rules_of(spec.release, metrics=len(judges.service))
    states = {judge.name: _step(evidence, judge, paired, sides=sides, rules=rules) for judge in judges.service}
    together = [epoch.id for epoch in paired if _has_both(epoch, sides)]
    evidence = dataclasses.replace(
        evidence, arms=states, arms_of=sides, paired_epoch=max(together, default=evidence.paired_epoch)
    )
    if not any(state.opened is not None or state.strata for state in states.values()):
        return evidence, Comparison()
    return evidence, _summary(evidence, states, rules)


def _refused(obstacle: str) -> Comparison:
    figure = Measured(name="arms", detail=f"ArmsNotExchangeable: {obstacle}")
    return Comparison(verdict=Arms.NOT_COMPARABLE, figures=(figure,), refused=obstacle)


def _sides(evidence: Evidence) -> tuple[str, str] | None:
    """Candidate and old revision; None where there is no candidate or nothing good to compare it with."""
    current, good = evidence.history.now_serving, evidence.history.rollback_target
    if current is None or good is None or current.standing in (Standing.GOOD, Standing.ASSUMED_GOOD):
        return None
    return current.id, good


def _step(
    evidence: Evidence, judge: ServiceJudge, paired: Sequence[Joined], *, sides: tuple[str, str], rules: Rules
) -> ArmsState:
    kept = evidence.arms.get(judge.name) if evidence.arms_of == sides else None
    cells = [(epoch.id, _cell(epoch, sides, judge)) for epoch in paired if _has_both(epoch, sides)]
    return arms.steps(kept or ArmsState(), cells, rules)


def _has_both(epoch: Joined, sides: tuple[str, str]) -> bool:
    return {revision for revision, _ in epoch.sums} >= set(sides)


def _cell(epoch: Joined, sides: tuple[str, str], judge: ServiceJudge) -> Cell:
    new, old = ([row for (revision, _), row in epoch.sums.items() if revision == side] for side in sides)
    return Cell(
        new=sum(int(row[epochs.CONNECTIONS]) for row in new),
        new_bad=sum(int(row[judge.connection_column]) for row in new),
        old=sum(int(row[epochs.CONNECTIONS]) for row in old),
        old_bad=sum(int(row[judge.connection_column]) for row in old),
    )


def _summary(evidence: Evidence, states: dict[str, ArmsState], rules: Rules) -> Comparison:
    found = {name: arms.compare(state, rules) for name, state in states.items()}
    verdict = _over_all(comparison.verdict for comparison in found.values())
    if verdict is Arms.ALIKE and evidence.arms_to - evidence.paired_epoch > ALONE_EPOCHS:
        verdict = Arms.UNDECIDED
    return Comparison(
        verdict=verdict,
        log_e={name: comparison.log_m for name, comparison in found.items()},
        log_threshold=-math.log(rules.alpha),
        figures=tuple(figure for name, comparison in found.items() for figure in _figures(name, comparison)),
    )


def _over_all(verdicts: Iterable[Arms]) -> Arms:
    present = set(verdicts)
    return next((verdict for verdict in _ORDER if verdict in present), Arms.UNDECIDED)


def _figures(name: str, comparison: arms.Comparison) -> Sequence[Measured]:
    units = comparison.units
    text = (
        f"{comparison.verdict.value}: {units.new} connections to the new revision, {units.old} to the old one; "
        f"ln evidence {comparison.log_m:.1f} of {comparison.log_threshold:.1f}"
    )
    difference = Measured(
        name=f"{name}: new less old", value=comparison.difference, unit="share of a connection", detail=text
    )
    odds = Measured(name=f"{name}: odds ratio", value=comparison.odds_ratio, unit="ratio")
    return (
        [difference, odds]
        if comparison.odds_ratio is not None and math.isfinite(comparison.odds_ratio)
        else [difference]
    )
