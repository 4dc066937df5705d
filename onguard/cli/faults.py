"""How a command ends on bad input: one line on stderr, exit code 2."""

from typing import Final, Never

import typer
from rich.console import Console

BAD_INPUT: Final = 2


def fail(text: str) -> Never:
    """
    End the program with what was expected, what came and where.

    Raises:
        typer.Exit: always.
    """
    Console(stderr=True).print(f"error: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(BAD_INPUT)
