"""What a check found, for people and for programs. Pure but for the rich types."""

import dataclasses
from typing import Any

from rich.table import Table

from onguard import batch as batches
from onguard.batch import Found, Report, Seen
from onguard.budget import Objective
from onguard.cause import Attribution, Cause
from onguard.cli import labelled
from onguard.cli.cells import Batch
from onguard.cli.labelled import Performance
from onguard.cli.seen import share
from onguard.decide import ACTION_OF, Action
from onguard.distances import Distance
from onguard.profile import Profile

SCHEMA = "onguard.dev/check"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """A batch, what it was compared with, and what came out."""

    file: str
    profile: Profile
    batch: Batch
    report: Report
    performance: Performance

    @property
    def verdict(self) -> str:
        """
        What was found in few words, such as "drift and data quality"; quiet if nothing was.

        Outputs that moved are drift.
        """
        kinds = {found.objective for found in self.report.found}
        words = {
            "drift": bool(kinds & {Objective.DRIFT, Objective.OUTPUTS}),
            "data quality": Objective.DATA_QUALITY in kinds,
            "worse performance": self.performance.is_worse,
        }
        return " and ".join(word for word, is_so in words.items() if is_so) or "quiet"

    @property
    def is_quiet(self) -> bool:
        """Whether nothing was found."""
        return not self.report.found and not self.performance.is_worse

    @property
    def attribution(self) -> Attribution:
        """Why the batch is as it is."""
        return batches.attribution(self.report, self.performance.labels)


def table_of(seen: Checked) -> Table:
    """One line a feature, those that moved first."""
    report = seen.report
    table = Table(
        title=f"{seen.file}: {seen.verdict}, {report.rows:,} rows against {seen.profile.rows:,} of the reference",
        title_style="bold",
        caption="distance / what sampling alone explains",
    )
    table.add_column("feature", overflow="fold", min_width=8)
    table.add_column("found", overflow="fold", min_width=20)
    for name in ("missing", "PSI", "KS"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in sorted(report.features, key=lambda s: -abs(s.found[0].shift) if s.found else 0.0):
        d = one.distances
        table.add_row(
            one.name,
            "\n".join(event_text(found) for found in one.found[:2]),
            share(round(one.missing * report.rows), report.rows),
            *(_pair(x) for x in ((d.psi, d.ks) if d else (None,) * 2)),
            style="red" if one.found else None,
        )
    return table


def event_text(found: Found) -> str:
    """
    One event for people.

    >>> event_text(Found(objective=Objective.DRIFT, feature="age", event="age <= 30", expected=0.5, observed=0.7,
    ...     low=0.6, high=0.8, lower=0.4, upper=0.55))
    'age <= 30: 50.0% -> 70.0% (60.0% to 80.0%)'
    """
    return f"{found.event}: {found.expected:.1%} -> {found.observed:.1%} ({found.low:.1%} to {found.high:.1%})"


def _pair(distance: Distance | None) -> str:
    return "" if distance is None else f"{distance.value:.3f} / {distance.critical:.3f}"


def sentences(seen: Checked) -> list[str]:
    """What a person should know, most important first."""
    report, batch = seen.report, seen.batch
    lines = [*_cause(seen), *(f"Upstream: {fault.text}." for fault in report.upstream)]
    lines += labelled.sentences(seen.performance)
    inputs = [name for name in batch.absent if name in {f.name for f in seen.profile.inputs}]
    if inputs:
        lines.append(f"The file has no column {', '.join(inputs)}: every value of it is missing.")
    if batch.extra:
        lines.append(f"Not in the reference, not judged: {', '.join(batch.extra[:10])}.")
    if any(f.name in batch.absent for f in seen.profile.outputs):
        lines.append("The file has no outputs: they are not judged.")
    lines.append(
        f"{report.events} events were judged at {report.alpha:.3g} over all (Bonferroni); a change of up to "
        f"{report.tolerance:.3g} does not matter."
    )
    if seen.profile.design_effect is None:
        lines.append("i.i.d. assumed: rows that depend on each other are found to move more often than that.")
    return lines


def _cause(seen: Checked) -> list[str]:
    found = seen.attribution
    if found.cause is Cause.NONE:
        return []
    acts = ACTION_OF.get(found.cause, Action.HOLD) is not Action.HOLD
    then = "a retraining with recent labels is what helps" if acts else "nothing is done about it by itself"
    return [f"Cause: {found.cause.value}. {found.why[0].upper()}{found.why[1:]}; {then}."]


def document(seen: Checked) -> dict[str, Any]:
    """The report as JSON."""
    report = seen.report
    return {
        "schema": SCHEMA,
        "version": 1,
        "file": seen.file,
        "reference": seen.profile.hash,
        "verdict": seen.verdict,
        "rows": report.rows,
        "alpha": report.alpha,
        "tolerance": report.tolerance,
        "events": report.events,
        "absent": seen.batch.absent,
        "extra": seen.batch.extra,
        "upstream": [{"kind": u.kind.value, "features": u.features, "text": u.text} for u in report.upstream],
        "cause": {"name": seen.attribution.cause.value, "why": seen.attribution.why},
        "performance": labelled.document(seen.performance),
        "found": [_encoded(found) for found in report.found],
        "features": [_feature(one) for one in report.features],
    }


def _encoded(found: Found) -> dict[str, Any]:
    fields = {name: round(value, 6) for name, value in vars(found).items() if isinstance(value, float)}
    return {"objective": found.objective.value, "feature": found.feature, "event": found.event, **fields}


def _feature(one: Seen) -> dict[str, Any]:
    pairs = one.distances._asdict().items() if one.distances else ()
    return {
        "name": one.name,
        "missing": round(one.missing, 6),
        "unparseable": round(one.unparseable, 6),
        "moved": bool(one.found),
        "distances": {n: {"value": round(d.value, 6), "critical": round(d.critical, 6)} for n, d in pairs if d},
    }
