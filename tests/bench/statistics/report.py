"""The page: what was run, tables, and where we lose."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from onguard.cause import Cause
from tests.bench.statistics import delay_study, exact, figures, optimum
from tests.bench.statistics.delays import Cell
from tests.bench.statistics.faults import KINDS

SPEED: Final = 10.0


def page(results: dict[str, Any], *, machine: str, day: str, plot: str | None) -> str:
    """Markdown of the whole page."""
    parts = [
        _head(results, machine, day),
        _nulls(results.get("nulls", [])),
        _delays(results.get("delay"), plot),
        _peers_alarms(results.get("delay")),
        _naming(results.get("naming", [])),
        _causes(results.get("cause")),
        _estimates(results.get("estimation")),
        _natural(results.get("natural", [])),
        _costs(results.get("cost")),
        _merge(results.get("merge", {})),
        _losses(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return "never" if math.isinf(value) else f"{value:.3g}"


def _rate(counted: Sequence[int] | None) -> str:
    if counted is None:
        return "no default"
    low, high = exact.clopper_pearson(counted[0], counted[1])
    return f"{counted[0]}/{counted[1]} ({low:.2f} to {high:.2f})"


def _head(results: dict[str, Any], machine: str, day: str) -> str:
    found = figures.figures_of(results)
    rows = [
        (
            name,
            _number(value),
            " ".join(map(str, figures.TARGETS[name])),
            "yes" if figures.is_met(name, value) else "NO",
        )
        for name, value in found.items()
    ]
    return f"""# Benchmark of the evidence

Written by `make bench-statistics` on {day}; machine: {machine}, one thread, shared with other work. Data sets and peers
are fetched from the package registries at the versions in `tests/bench/statistics`; seeds are fixed, every detector
sees the same rows in the same order. Intervals are exact (Clopper and Pearson) at 95 %.

{_table(("figure", "value", "target", "met"), rows)}"""


def _nulls(tests: list[dict[str, Any]]) -> str:
    rows = [
        (
            f"({t['key']})",
            t["title"],
            f"{t['alarms']}/{t['runs']}",
            _number(t["upper"]),
            _number(t["budget"]),
            _number(t["ratio"]),
        )
        for t in tests
    ]
    head = ("test", "situation", "runs with an alarm", "upper 95 % limit", "promised", "ratio")
    return f"""## False alarms in eight situations where nothing is wrong

Each run draws a new reference, whose error counts as ours. A run is alarmed if it alarms once. 90 idle days are
silent with certainty, so any alarm there would count as infinite.

{_table(head, rows)}"""


def _cells(found: dict[str, Any]) -> list[tuple[Cell, float]]:
    budget = [cell.ours for cell in delay_study.cells_of(found, "ours_at_budget")]
    return list(zip(delay_study.cells_of(found, "ours"), budget, strict=True))


def _delays(found: dict[str, Any] | None, plot: str | None) -> str:
    if found is None:
        return ""
    rows = []
    for cell, at_budget in _cells(found):
        ratio = cell.compared(longest=delay_study.AFTER)
        peer = cell.best_peer if math.isfinite(cell.best) else "none"
        nats = optimum.nats_of(cell.name)
        rows.append(
            (
                cell.name,
                f"{cell.shift:.3f}",
                _number(cell.ours),
                _number(at_budget),
                "" if nats is None else f"{optimum.least_steps(nats):.1f}",
                _number(cell.best),
                peer,
                "not compared" if ratio is None else f"{ratio:.2f}",
            )
        )
    overall, small = delay_study.ratios(found, "ours_at_budget")
    picture = f"\n\n![Delay against the best peer]({plot})" if plot else ""
    head = ("stream: change", "shift", "OnGuard", "OnGuard as promised", "least", "best peer", "which", "ratio")
    return f"""## Delay at equal false-alarm probability

Steps of 100 requests until the alarm, median; the reference has 10,000 rows. Each detector's threshold is tuned on null
runs to alarm in 5 % of 1,000 steps and checked on others (next table). *Shift* is the largest change of the
distribution function (of a probability, for categories). *OnGuard as promised* is the untuned threshold ln(1000/.05),
whose 5 % is a guarantee instead of a measurement: it is what a user gets, and its geometric means are {overall:.2f}
overall and {small:.2f} for shifts of at most .05. The best peer is chosen anew for every row, with hindsight, over
tools and window lengths; ratios count where it needs 3 to 100 steps.

{_table(head, rows)}{picture}

*Least* is Lorden's bound to first order, ln(gamma) / I: about the mean delay of CUSUM, the best detector, when it is
told both laws; one that learns the old law from 10,000 rows is not told. It is a yardstick and not a floor: where it is
over 15 steps, CUSUM's mean at this rate of false alarms is lower, by a fifth to nearly a half of that mean, and the
delays beside it are medians, which are lower still. So a peer below it need not have more false alarms than its nulls
say, though windows are looked at there in every fifth or tenth step, after a change in each. Over the rows with a bound
OnGuard needs
{_above_least(found):.2f} times the least (geometric mean){_beaten(found)}.

Why peers win cells: a window of 1,000 rows that compares means (Wasserstein, Cramer-von Mises, ADWIN) adds up a shift
that all bins share, where OnGuard bets on each bin's event by itself, against limits that already allow for the
reference's error at any number of looks. For a change of one category the order turns round. What the peers' defaults
give over 1,000 looks is in the next table."""


def _bounded(found: dict[str, Any]) -> list[tuple[Cell, float]]:
    """Cells with a bound, and the bound."""
    cells = [(cell, optimum.nats_of(cell.name)) for cell, _ in _cells(found)]
    return [(cell, optimum.least_steps(nats)) for cell, nats in cells if nats is not None]


def _above_least(found: dict[str, Any]) -> float:
    finite = [cell.ours / least for cell, least in _bounded(found) if math.isfinite(cell.ours)]
    return math.exp(sum(map(math.log, finite)) / max(len(finite), 1))


def _beaten(found: dict[str, Any]) -> str:
    cells = _bounded(found)
    below = [cell for cell, least in cells if cell.best < least]
    half = [cell for cell, least in cells if cell.best / 2 < least]
    return f"; of {len(cells)} such rows the best peer is below the bound in {len(below)}, half of it in {len(half)}"


def _peers_alarms(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    rows = [
        (stream, c["name"], _number(c["threshold"]), _rate(c["tuned"]), _rate(c["default"]))
        for stream, calibrations in found["calibrations"].items()
        for c in calibrations
    ]
    head = ("stream", "detector", "tuned threshold", "held-out nulls with an alarm, tuned", "the same at its default")
    return f"""### False alarms in 1,000 steps

Windows of the peers are looked at in every fifth (1,000 rows) or tenth step on the nulls, which flatters them. For
OnGuard the default is the promised threshold. Thresholds from so few runs scatter, so do the rates on held-out runs.

{_table(head, rows)}"""


def _naming(rows: list[dict[str, Any]]) -> str:
    table = _table(
        ("moved of 50", "runs", "wrong names, share", "moved features named"),
        ((r["moved"], r["runs"], f"{r['false_discovery']:.3f}", f"{r['named']:.2f}") for r in rows),
    )
    return f"## Names\n\nFeatures moved by .3 sd, names read after 40 steps of 100 requests, tolerance 1 %.\n\n{table}"


def _causes(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    causes = [c.value for c in Cause if any(c.value in row for row in found["confusion"].values())]
    rows = [
        (kind, *(row.get(c, "") for c in causes), ", ".join(f"{a} {n}" for a, n in found["acts"][kind].items()))
        for kind, row in found["confusion"].items()
    ]
    rates = [
        (
            title,
            f"{found[key]['count']}/{found[key]['total']}",
            f"{found[key]['rate']:.3f}",
            "{:.3f} to {:.3f}".format(*found[key]["limits"]),
        )
        for title, key in (
            ("right cause, of identifiable faults", "top1"),
            ("abstained, of identifiable faults", "abstention"),
            ("wrong action, of all runs", "wrong_action"),
        )
    ]
    return f"""## Cause and action

Rows are injected faults, columns the cause of the last decision after 80 scrapes of 200 requests at the default budget
(1 false alarm in 90 days), on flights, weather and employment with a model trained on each. The evidence, the cause
table and the decision rules are the product's. *Acted* lists what was carried out at any time: anything that
the fault does not call for counts as wrong. A change of concept is right to abstain from without labels; with labels
they come as soon as a scrape is over, which in life they do not.

{_table(("fault", *causes, "acted"), rows)}

{_table(("", "runs", "rate", "95 %"), rates)}"""


def _estimates(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    of, known = found["employment"], found["flights_reference"]
    rows = [
        (
            r["name"],
            f"{r['true']:.3f}",
            _limits(r["estimated"]),
            _limits(r["by_mix"]),
            _limits(r["at_equal_scores"]),
            r["labels"],
        )
        for r in found["flights"]
    ]
    head = ("month", "error", "estimated", "change by the mix", "change at equal scores", "labels say")
    peer = f", of NannyML's CBPE {found['nannyml_mae']:.4f}" if found["nannyml_mae"] is not None else ""
    covered, effect = _rate([of["covered"], of["chunks"]]), f"{known['design_effect']:.0f}"
    return f"""## Performance with and without labels

Error expected from scores alone, by score bin. On the employment data, with the scores that come with them, over
{of["chunks"]} chunks of 5,000 rows of the years after the reference: mean absolute error {of["mae"]:.4f}{peer}; of
the reference's error, taken as it is, {of["mae_constant"]:.4f}. The 95 % limits hold the true error of {covered} of the
chunks.

On flights, with a model of January and February and a reference of March (error {known["error"]:.3f}), the meaning of
scores changes with the season: estimates can't see it, the change at equal scores does. Errors of one day are so alike
that {effect} flights of a month say as much as an independent one; limits and verdict allow for that.

{_table(head, rows)}"""


def _limits(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _natural(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""

    def shown(alarm: dict[str, Any] | None) -> str:
        return "none" if alarm is None else f"row {alarm['row']}: {', '.join(alarm['named'][:4])}"

    table = _table(
        ("table", "change", "reference", "change at row", "drift alarm", "data-quality alarm"),
        (
            (r["table"], r["note"], r["reference_rows"], r["change"] or "", shown(r["drift"]), shown(r["quality"]))
            for r in rows
        ),
    )
    return f"""## Changes that are in the data

Default budget and tolerance. In the order of time a hundred days of weather are a season: the alarm is right about the
reference and useless to a person; what helps is a reference of more than a year and season cells.

{table}"""


def _costs(cost: dict[str, Any] | None) -> str:
    if cost is None:
        return ""
    rows = [
        (
            r["table"],
            r["rows"],
            *(f"{r['us_per_row'][tool]:.1f}" for tool in ("onguard", "whylogs", "evidently", "nannyml")),
        )
        for r in cost["rows"]
    ]
    primitives = _table(("step", "ms"), ((name, f"{ms:.3f}") for name, ms in cost["primitives_ms"].items()))
    head = ("table", "rows a verdict", "OnGuard", "whylogs", "Evidently", "NannyML")
    return f"""## Cost

Microseconds of processor time a row from memory to a verdict: OnGuard counts bins, atoms, exponents and moments and
judges drift and data quality; whylogs only profiles; Evidently makes its drift report; NannyML calculates univariate
drift. Least of several runs, fitting and imports left out. The figures above
use 100 rows a verdict, the protocol's step.

{_table(head, rows)}

{primitives}"""


def _merge(found: dict[str, Any]) -> str:
    rows = [(replicas, f"{exact_}/{runs}") for replicas, (exact_, runs) in found.items()]
    return f"""## Merging

Rows dealt to replicas at random, read in random order over the wire's format, each replica restarting now and then:
runs in which all counts, the evidence and the alarm step are equal, bit by bit, to those of one process that saw
everything.

{_table(("replicas", "exact"), rows)}"""


def _losses(results: dict[str, Any]) -> str:
    return "## Where we lose\n\n" + "\n".join(f"- {line}" for line in losses(results))


def losses(results: dict[str, Any]) -> list[str]:
    """Every comparison that a peer wins and every target that is missed."""
    lines = [
        f"{name} is {_number(value)}, the target is {' '.join(map(str, figures.TARGETS[name]))}."
        for name, value in figures.figures_of(results).items()
        if not figures.is_met(name, value)
    ]
    if found := results.get("delay"):
        for cell, _ in _cells(found):
            ratio = cell.compared(longest=delay_study.AFTER)
            if ratio is not None and ratio > 1.0:
                lines.append(f"{cell.name}: {_number(cell.ours)} steps, {cell.best_peer} {_number(cell.best)}.")
    for row in (results.get("cost") or {"rows": []})["rows"]:
        for tool, cost in row["us_per_row"].items():
            times = cost / row["us_per_row"]["onguard"]
            if tool != "onguard" and times < SPEED:
                lines.append(
                    f"{tool} at {row['rows']} rows a verdict ({row['table']}): {times:.1f} times our cost, not 10."
                )
    if found := results.get("cause"):
        lines += _missed_kinds(found)
    return lines or ["Nowhere in this run."]


def _missed_kinds(found: dict[str, Any]) -> list[str]:
    lines = []
    for fault in KINDS:
        row = found["confusion"].get(fault.kind, {})
        wrong = {c: n for c, n in row.items() if Cause(c) not in fault.causes}
        if wrong:
            said = ", ".join(f"{cause} {n}" for cause, n in wrong.items())
            lines.append(f"{fault.kind}: {said} of {sum(row.values())}.")
    return lines
