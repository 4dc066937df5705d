"""``onguard simulate``: what a policy would decide about traffic that is made up, or taken from files."""

import contextlib
from pathlib import Path
from typing import Annotated, Final

import msgspec
import numpy as np
import typer

from onguard.cli import cells, policies, recordings, references, tables, told
from onguard.cli.backtesting import ACTED, tell
from onguard.cli.faults import fail
from onguard.cli.generating import FaultError, FromFile, FromProfile, Rows, fault_of
from onguard.cli.replay import Engine, Turn
from onguard.cli.traffic import Script, Traffic, Weather
from onguard.concept import COVERAGE
from onguard.decide import Phase
from onguard.performance import baseline_of
from onguard.profile import Profile, ProfileError
from onguard.quantities import Duration, Ratio

START: Final = 1_767_225_600.0
"""2026-01-01: a simulation has no clock."""


def simulate(
    policy: Annotated[Path, typer.Option("--policy", "-f", help="YAML with the ModelDeployment to try.")],
    profile: Annotated[Path, typer.Option("--profile", "-p", help="The reference, made by onguard profile.")],
    data: Annotated[
        Path | None, typer.Option(help="Rows that are served, in order; without it they are drawn from the reference.")
    ] = None,
    then: Annotated[Path | None, typer.Option(help="Rows that are served after the change.")] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="A column of --data and --then with the truth, 0 or 1: it is known as soon as rows are served."
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FEATURE=KIND",
            help="What happens to a column at the change: shift:X, scale:X, set:X[:SHARE], missing:SHARE, "
            "unseen:SHARE, stuck, swap:FEATURE. May be repeated.",
        ),
    ] = None,
    errors: Annotated[str, typer.Option(help="Bad answers after the change.")] = "",
    slow: Annotated[str, typer.Option(help="Answers slower than the latency objectives after the change.")] = "",
    release: Annotated[
        bool, typer.Option("--release", help="The change is a new revision: it has the faults, the old one does not.")
    ] = False,
    at: Annotated[str, typer.Option(help="When the change is.")] = "30m",
    duration: Annotated[str, typer.Option("--for", help="How long to simulate.")] = "2h",
    rate: Annotated[float, typer.Option(min=0.001, max=100_000, help="Requests a second, over all pods.")] = 20.0,
    pods: Annotated[int, typer.Option(min=1, max=1000, help="Pods that serve.")] = 2,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    record: Annotated[Path | None, typer.Option(help="Write the counts as a recording for onguard backtest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a turn.")] = False,
) -> None:
    """
    Run a policy on traffic that goes through the sidecar's counting and the operator's evaluation, on a fake clock.

    Before the change nothing is wrong. A rollback that the policy would start by itself puts the old revision back.
    Exit code 0: no act was decided. 1: at least one. 2: bad input.
    """
    try:
        model, reference = policies.read_policy(policy), references.read_profile(profile)
        calm = Weather(rows=_rows(data, reference, label))
        after = Weather(
            rows=_rows(then, reference, label) if then is not None else calm.rows,
            faults=[fault_of(text, reference) for text in fault or ()],
            errors=Ratio.parse(errors) if errors else 0.0,
            slow=Ratio.parse(slow) if slow else None,
        )
        script = Script(
            rate=rate,
            pods=pods,
            seconds=Duration.parse(duration),
            change_s=Duration.parse(at),
            before=calm,
            after=after,
            is_release=release,
            start=START,
        )
        traffic = Traffic(script, reference, model.spec, np.random.default_rng(seed))
        engine = Engine(model, reference)
        opening = recordings.Opening(model.name, reference)
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(recordings.Writer(record, opening)) if record is not None else None
            turns = _run(engine, traffic, writer, as_json=as_json)
    except (policies.PolicyError, ProfileError, FaultError, tables.TableError, ValueError, OSError) as error:
        fail(str(error))
    if not as_json:
        tell(engine, turns, title=f"{model.name}, change at {at}", start=START, end=START + script.seconds)
    if any(turn.verdict and turn.verdict.action.value != "Hold" for turn in turns):
        raise typer.Exit(ACTED)


def _rows(file: Path | None, reference: Profile, label: str | None) -> Rows:
    if file is None:
        if label is not None:
            raise tables.TableError("expected --data with --label: rows that are drawn have no label")
        return FromProfile(reference)
    table, labels = tables.with_truth(tables.read(file), label)
    read = cells.batch_of(reference, table).cells
    if not len(read):
        raise tables.TableError(f"{file}: expected at least 1 row, got 0")
    if labels is None:
        return FromFile(read)
    if baseline_of(reference) is None:
        raise ProfileError("expected a reference with labels (onguard profile --label), got one without")
    known = float(np.mean(np.isfinite(labels)))
    if known < COVERAGE:
        raise tables.TableError(f"{file}: expected a label in {COVERAGE:.0%} of the rows, got one in {known:.1%}")
    return FromFile(read, labels)


def _run(engine: Engine, traffic: Traffic, writer: recordings.Writer | None, *, as_json: bool) -> list[Turn]:
    turns = []
    for frame in traffic.frames():
        if writer is not None:
            writer.add(frame)
        turn = engine.visit(frame)
        if turn is None:
            continue
        turns.append(turn)
        if as_json:
            typer.echo(msgspec.json.encode(told.document(turn)).decode())
        if turn.verdict and turn.verdict.phase is Phase.ACTING and turn.verdict.action.value == "Rollback":
            traffic.roll_back(frame.at)
    return turns
