"""``onguard profile``: reference rows, or recorded live traffic -> profile.json, and a table of what was seen."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from onguard import building, learning
from onguard.cli import recordings, references, seen, tables
from onguard.cli.faults import fail
from onguard.counts import CountsError
from onguard.profile import Profile, ProfileError, Role


def profile(
    file: Annotated[
        Path | None, typer.Argument(help="Reference rows: .csv, .tsv, .jsonl, .ndjson (each also .gz) or .parquet.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the profile goes.")] = Path("profile.json"),
    output_column: Annotated[
        list[str] | None, typer.Option(help="A column that the model answers. May be repeated.")
    ] = None,
    held_out_column: Annotated[
        str | None,
        typer.Option(help="A column with 1 in rows that the model was not trained on: outputs are of these rows."),
    ] = None,
    outputs_held_out: Annotated[
        bool, typer.Option("--outputs-held-out", help="No row of the file was used in training.")
    ] = False,
    label: Annotated[
        str | None, typer.Option(help="A column with the truth, 0 or 1: calibrates the first numeric output.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="With --label: the model means 1 from this score on.")] = 0.5,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out. May be repeated.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=ROLE", help="feature, id or time, where the guess is wrong. May be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split that chooses the bins.")] = 0,
    name: Annotated[str, typer.Option(help="What the reference is called; by default the file's name.")] = "",
    from_live: Annotated[
        Path | None,
        typer.Option(help="In place of a file of rows: a recording of live traffic (onguard record), in its bins."),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="With --from-live: freeze after so many requests.")] = 10_000,
    allow_short: Annotated[
        bool, typer.Option("--allow-short", help="With --from-live: less than 7 days of traffic will do.")
    ] = False,
) -> None:
    """
    Make the reference that live traffic is compared with.

    No row is kept: the profile holds bins, counts and moments. Put it into a ConfigMap and name it in
    spec.reference.configMap. A profile that is too large for one is written compressed, which is read as it is.
    """
    if (file is None) == (from_live is None):
        fail("expected either a file of rows or --from-live, got both or neither")
    console = Console(stderr=True)
    try:
        if from_live is not None:
            made = _learned(from_live, requests, allow_short=allow_short, name=name)
        else:
            held_out_said = held_out_column is not None or outputs_held_out
            outputs = tuple(output_column or ())
            plan = building.Plan(
                outputs=outputs if held_out_said else (),
                label=label if held_out_said else None,
                threshold=threshold,
                held_out=held_out_column,
                roles=_roles(role or ()),
                seed=seed,
                source=name or (file.name if file else ""),
                created=_created(),
            )
            ignored = () if held_out_said else (*outputs, *([label] if label else []))
            made = _make(file or Path(), plan, (*(drop or ()), *ignored), console)
        encoded = references.packed(made)
        output.write_bytes(encoded)
    except (tables.TableError, ProfileError, CountsError, recordings.RecordingError, OSError) as error:
        fail(str(error))
    _tell(Console(), made, output, encoded)


def _roles(texts: Sequence[str]) -> dict[str, Role]:
    roles = {}
    for text in texts:
        column, _, role = text.rpartition("=")
        if not column or role not in (Role.FEATURE, Role.ID, Role.TIME):
            fail(f'expected --role COLUMN=feature|id|time, got "{text}"')
        roles[column] = Role(role)
    return roles


def _created() -> str:
    """Now, or SOURCE_DATE_EPOCH where a build has to be reproducible."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.fromtimestamp(int(fixed), UTC) if fixed else datetime.now(UTC)  # noqa: TID251 - an entry point
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _make(file: Path, plan: building.Plan, dropped: Sequence[str], console: Console) -> Profile:
    with Progress(console=console, transient=True) as progress:
        reading = progress.add_task(f"Reading {file.name}", total=None)
        table = tables.drop(tables.read(file), dropped)
        progress.update(reading, total=1, completed=1)
        columns = tables.columns_of(table, track=lambda names: progress.track(names, description="Columns"))
        return building.build(columns, plan, track=lambda some: progress.track(some, description="Counting"))


def _learned(path: Path, requests: int, *, allow_short: bool, name: str) -> Profile:
    header, frames = recordings.read(path)
    if header.profile is None:
        raise recordings.RecordingError(f"{path}: expected a recording with the reference whose bins it counts in")
    source = learning.Source(header.profile, name=name or path.name, created=_created())
    return learning.learn(source, frames, requests=requests, least_days=0.0 if allow_short else learning.LEAST_DAYS)


def _tell(console: Console, made: Profile, output: Path, encoded: bytes) -> None:
    console.print(seen.table_of(made))
    for remark in seen.remarks(made):
        console.print(f"• {remark}", highlight=False)
    console.print(f"Wrote {output} ({len(encoded) / 1000:,.1f} kB, reference {made.hash}).", highlight=False)
    if not encoded.startswith(b"{"):
        text = f"Compressed to fit: kubectl create configmap NAME --from-file=profile.json={output}"
        console.print(text, highlight=False, soft_wrap=True)
    if not references.fits(len(encoded)):
        limit = references.CONFIG_MAP_BYTES
        console.print(f"This is over the {limit:,} bytes of a ConfigMap: drop columns.", style="bold red")
