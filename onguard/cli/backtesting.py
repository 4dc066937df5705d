"""``onguard backtest``: what a policy would have decided on recorded counts."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from onguard.cli import policies, recordings, references, told
from onguard.cli.faults import fail
from onguard.cli.replay import Engine, Turn
from onguard.counts import CountsError
from onguard.profile import ProfileError

ACTED = 1


def backtest(
    recording: Annotated[Path, typer.Argument(help="Recorded by onguard record.")],
    policy: Annotated[Path, typer.Option("--policy", "-f", help="YAML with the ModelDeployment to try.")],
    profile: Annotated[
        Path | None, typer.Option("--profile", "-p", help="The reference, if not the one in the recording.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a turn.")] = False,
) -> None:
    """
    Run a policy over recorded counts: what would have been decided, and when.

    The operator's own code evaluates: on the same readings it gives the same verdicts. Latency bounds and error
    statuses are cut into the recording: under a policy with others, errors and latency have no data. Exit code 0: no
    act was decided. 1: at least one. 2: bad input.
    """
    try:
        opening, frames = recordings.read(recording)
        model = policies.read_policy(policy)
        reference = references.read_profile(profile) if profile is not None else opening.profile
        engine, turns, start, end = Engine(model, reference), [], None, 0.0
        for frame in frames:
            start, end = frame.at if start is None else start, frame.at
            turn = engine.visit(frame)
            if turn is not None:
                turns.append(turn)
                if as_json:
                    typer.echo(msgspec.json.encode(told.document(turn)).decode())
    except (recordings.RecordingError, policies.PolicyError, ProfileError, CountsError, OSError) as error:
        fail(str(error))
    if not as_json:
        tell(engine, turns, title=f"{model.name} on {recording.name}", start=start or 0.0, end=end)
    if any(turn.verdict and turn.verdict.action.value != "Hold" for turn in turns):
        raise typer.Exit(ACTED)


def tell(engine: Engine, turns: list[Turn], *, title: str, start: float, end: float) -> None:
    """Print a replay for people."""
    console = Console()
    if turns:
        console.print(told.table_of(title, turns, start))
    for line in told.sentences(engine, turns, end - start):
        console.print(f"• {line}", highlight=False)
