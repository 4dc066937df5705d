"""``onguard profile``: a file of reference rows -> profile.json, and a table of what was seen."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Never

import typer
from rich.console import Console
from rich.progress import Progress

from onguard import building
from onguard.cli import seen, tables
from onguard.profile import Profile, ProfileError, Role, decode_profile, encode_profile

CONFIG_MAP_BYTES: Final = 1 << 20
"""A ConfigMap holds 1 MiB in all."""


def profile(
    file: Annotated[Path, typer.Argument(help="Reference rows: .csv, .tsv (also .gz) or .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the profile goes.")] = Path("profile.json"),
    output_column: Annotated[
        list[str] | None,
        typer.Option(help="A column that the model answers, of held-out rows. May be repeated."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="A column with the truth, 0 or 1, of held-out rows: calibrates the output.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out. May be repeated.")] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=ROLE", help="feature, id or time, where the guess is wrong. May be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the split that chooses the bins.")] = 0,
    name: Annotated[str, typer.Option(help="What the reference is called; by default the file's name.")] = "",
) -> None:
    """
    Make the reference that live traffic is compared with.

    No row is kept: the profile holds bins, counts and moments. Put it into a ConfigMap and name it in
    spec.reference.configMap.
    """
    plan = building.Plan(
        outputs=tuple(output_column or ()),
        label=label,
        roles=_roles(role or ()),
        seed=seed,
        source=name or file.name,
        created=_created(),
    )
    console = Console(stderr=True)
    try:
        made = _make(file, plan, drop or (), console)
        encoded = encode_profile(made)
        decode_profile(encoded)
        output.write_bytes(encoded)
    except (tables.TableError, ProfileError, OSError) as error:
        _fail(str(error))
    _tell(Console(), made, output, len(encoded))


def _roles(texts: Sequence[str]) -> dict[str, Role]:
    roles = {}
    for text in texts:
        column, _, role = text.rpartition("=")
        if not column or role not in (Role.FEATURE, Role.ID, Role.TIME):
            _fail(f'expected --role COLUMN=feature|id|time, got "{text}"')
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


def _tell(console: Console, made: Profile, output: Path, size: int) -> None:
    console.print(seen.table_of(made))
    for remark in seen.remarks(made):
        console.print(f"• {remark}", highlight=False)
    console.print(f"Wrote {output} ({size / 1000:,.1f} kB, reference {made.hash}).", highlight=False)
    if size > CONFIG_MAP_BYTES:
        console.print(f"This is over the {CONFIG_MAP_BYTES:,} bytes of a ConfigMap: drop columns.", style="bold red")


def _fail(text: str) -> Never:
    Console(stderr=True).print(f"error: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(2)
