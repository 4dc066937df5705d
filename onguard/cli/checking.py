"""``onguard check``: one batch of rows against a reference."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

from onguard import batch
from onguard.cli import cells, checked, labelled, references, tables
from onguard.cli.faults import fail
from onguard.columns import Floats
from onguard.profile import Profile, ProfileError

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
    label: Annotated[
        str | None,
        typer.Option(help="A column with the truth, 0 or 1, where it is known: tells how often it is wrong."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file with plots.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """
    Look once at a batch of rows: has it moved away from the reference, is its quality worse, is the model wrong more.

    Exit code 0: quiet. 1: drift, worse quality or, with labels, worse performance found. 2: bad input. Where no
    probability has moved further than the tolerance, anything is found with probability alpha at most, over all
    features together (Bonferroni); with labels, half of it is theirs. Outputs are judged if the file has them.
    """
    try:
        reference = references.read_profile(profile)
        if label in reference.layout.names:
            fail(f'expected a label, got "{label}", which is a feature of the reference')
        table, labels = tables.with_truth(tables.read(file), label)
        seen = _look(file.name, reference, cells.batch_of(reference, table), labels, (alpha, tolerance))
    except (tables.TableError, ProfileError, ValueError, OSError) as error:
        fail(
            f"{file}: {error}" if isinstance(error, ValueError) and not isinstance(error, ProfileError) else str(error)
        )
    if html is not None:
        from onguard.cli import checked_page  # draws, and is slow to load

        html.write_text(checked_page.page(seen))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(checked.document(seen)), indent=1))
    else:
        _tell(seen, html)
    if not seen.is_quiet:
        raise typer.Exit(FOUND)


def _look(
    name: str, reference: Profile, read: cells.Batch, labels: Floats | None, limits: tuple[float, float]
) -> checked.Checked:
    counter = cells.Counter(reference)
    counter.add(read.cells)
    without = frozenset(f.name for f in reference.outputs if f.name in read.absent)
    alpha, tolerance = limits[0] / (1 if labels is None else 2), limits[1]
    return checked.Checked(
        file=name,
        profile=reference,
        batch=read,
        report=batch.judge(reference, counter.total(), alpha=alpha, tolerance=tolerance, without=without),
        performance=labelled.performance_of(reference, read, labels, alpha=alpha, tolerance=tolerance),
    )


def _tell(seen: checked.Checked, html: Path | None) -> None:
    console = Console()
    console.print(checked.table_of(seen))
    for line in checked.sentences(seen):
        console.print(f"• {line}", highlight=False)
    if html is not None:
        console.print(f"Wrote {html}.", highlight=False)
