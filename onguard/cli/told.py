"""What a replay would have told, for people and for programs. Pure but for the rich types."""

from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from onguard.cli.replay import Engine, Turn
from onguard.findings import Verdict

SCHEMA = "onguard.dev/replay"
STYLES = {"Rollback": "red", "Retrain": "yellow", "Hold": "cyan"}


def table_of(title: str, turns: list[Turn], start: float) -> Table:
    """One line a turn."""
    table = Table(title=title, title_style="bold")
    table.add_column("after", justify="right", no_wrap=True)
    table.add_column("alarms", overflow="fold")
    table.add_column("decision", min_width=12)
    table.add_column("why", overflow="fold", min_width=24)
    for turn in turns:
        verdict = turn.verdict
        decision = f"{verdict.action.value}\n{verdict.phase.value}" if verdict else ""
        alarms = [*(f"+{name}" for name in sorted(turn.began)), *(f"-{name}" for name in sorted(turn.ended))]
        style = STYLES.get(verdict.action.value) if verdict else None
        table.add_row(elapsed(turn.at - start), "\n".join(alarms), decision, _why(turn), style=style)
    return table


def elapsed(seconds: float) -> str:
    """
    A span for people.

    >>> elapsed(75), elapsed(3600 * 26 + 60)
    ('0:01:15', '1d 2:01:00')
    """
    days, rest = divmod(round(seconds), 86_400)
    clock = f"{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}d {clock}" if days else clock


def _why(turn: Turn) -> str:
    if turn.verdict is None:
        return ""
    loud = [figure for figure in turn.figures if not figure.detail.startswith(Verdict.QUIET.value)]
    shown = [f"{figure.name}: {figure.detail}" for figure in loud[:3]]
    return "\n".join([f"{turn.verdict.cause.value}: {turn.verdict.message}", *shown])


def sentences(engine: Engine, turns: list[Turn], span_s: float) -> list[str]:
    """What a person should know of the whole."""
    made = [turn.verdict for turn in turns if turn.verdict]
    acts = sum(verdict.action.value != "Hold" for verdict in made)
    done = f"{len(made)} decisions, {acts} of them to act"
    lines = [f"{engine.visits} visits over {elapsed(span_s)}: {done}. Nothing was done in any cluster."]
    if engine.evaluation is not None and not turns:
        lines += [
            f"{row['objective']}: within {row['within']}, {row['detail']}." for row in engine.evaluation.detectable
        ]
    return lines


def document(turn: Turn) -> dict[str, Any]:
    """One turn as JSON."""
    fields: dict[str, Any] = {
        "at": datetime.fromtimestamp(turn.at, UTC).isoformat().replace("+00:00", "Z"),
        "began": sorted(turn.began),
        "ended": sorted(turn.ended),
    }
    verdict = turn.verdict
    if verdict is not None:
        fields["decision"] = {
            "cause": verdict.cause.value,
            "action": verdict.action.value,
            "mode": verdict.mode.value,
            "phase": verdict.phase.value,
            "control": verdict.control.value,
            "objective": turn.objective,
            "revision": verdict.revision,
            "targetRevision": verdict.target_revision,
            "message": verdict.message,
            "blockers": [{"reason": b.reason, "message": b.message} for b in verdict.blockers],
            "alternatives": [{"cause": cause.value, "why": why} for cause, why in verdict.alternatives],
            "evidence": [figure.encode() for figure in turn.figures],
        }
    return fields
