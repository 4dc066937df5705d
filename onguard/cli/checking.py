"""``onguard check``: one batch of rows against a reference."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from onguard import batch
from onguard.cli import cells, checked, references, tables
from onguard.cli.faults import fail
from onguard.profile import ProfileError

FOUND: Final = 1


def check(
    file: Annotated[
        Path, typer.Argument(help="Rows to check: .csv, .tsv, .jsonl, .ndjson (each also .gz) or .parquet.")
    ],
    profile: Annotated[Path, typer.Option("--profile", "-p", help="The reference, made by onguard profile.")],
    alpha: Annotated[
        float, typer.Option(help="Probability of finding anything where nothing moved further than the tolerance.")
    ] = batch.ALPHA,
    tolerance: Annotated[
        float, typer.Option(help="Widest change of a probability that does not matter: 0.01 is one point.")
    ] = batch.TOLERANCE,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Look once at a batch of rows: has it moved away from the reference, is its quality worse.

    Exit code 0: quiet. 1: drift or worse quality found. 2: bad input. Where no probability has moved further than the
    tolerance, anything is found with probability alpha at most, over all features together (Bonferroni). Outputs are
    judged if the file has them.
    """
    try:
        reference = references.read_profile(profile)
        read = cells.batch_of(reference, tables.read(file))
        counter = cells.Counter(reference)
        counter.add(read.cells)
        without = frozenset(f.name for f in reference.outputs if f.name in read.absent)
        report = batch.judge(reference, counter.total(), alpha=alpha, tolerance=tolerance, without=without)
    except (tables.TableError, ProfileError, ValueError, OSError) as error:
        fail(
            f"{file}: {error}" if isinstance(error, ValueError) and not isinstance(error, ProfileError) else str(error)
        )
    seen = checked.Checked(file=file.name, profile=reference, batch=read, report=report)
    if html is not None:
        from onguard.cli import checked_page  # draws, and is slow to load

        html.write_text(checked_page.page(seen))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(checked.document(seen)), indent=1))
    else:
        _tell(seen, html)
    if report.found:
        raise typer.Exit(FOUND)


def _tell(seen: checked.Checked, html: Path | None) -> None:
    console = Console()
    console.print(checked.table_of(seen))
    for line in checked.sentences(seen):
        console.print(f"• {line}", highlight=False)
    if html is not None:
        console.print(f"Wrote {html}.", highlight=False)
