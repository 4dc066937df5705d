"""Entry point ``onguard``: one command a module."""

from typing import Annotated

import typer

import onguard
from onguard.cli.backtesting import backtest
from onguard.cli.checking import check
from onguard.cli.guarded import approve, status
from onguard.cli.profiling import profile
from onguard.cli.recording import record
from onguard.cli.simulating import simulate

app = typer.Typer(
    name="onguard",
    help="Keeps deployed machine-learning models on guard.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (profile, check, simulate, backtest, record, status, approve):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onguard {onguard.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keeps deployed machine-learning models on guard."""
