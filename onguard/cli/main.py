"""Entry point ``onguard``: one command a module, loaded when it is asked for (some are slow to load)."""

import importlib
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup

import onguard

MODULES: Final = {
    "profile": "onguard.cli.profiling",
    "check": "onguard.cli.checking",
    "simulate": "onguard.cli.simulating",
    "backtest": "onguard.cli.backtesting",
    "record": "onguard.cli.recording",
    "status": "onguard.cli.guarded",
    "approve": "onguard.cli.guarded",
}
_CONTEXT: Final[dict[Any, Any]] = {"help_option_names": ["-h", "--help"]}


class Commands(TyperGroup):
    """The commands, each in the function of its name."""

    def list_commands(self, _: Any) -> list[str]:
        """In the order in which a person needs them."""
        return list(MODULES)

    def get_command(self, _: Any, cmd_name: str) -> TyperCommand | None:
        """Load one."""
        if cmd_name not in MODULES:
            return None
        one = typer.Typer(add_completion=False)
        one.command(cmd_name, context_settings=_CONTEXT)(getattr(importlib.import_module(MODULES[cmd_name]), cmd_name))
        return cast(TyperCommand, typer.main.get_command(one))


app = typer.Typer(
    name="onguard",
    cls=Commands,
    help="Keeps deployed machine-learning models on guard.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings=_CONTEXT,
)


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
