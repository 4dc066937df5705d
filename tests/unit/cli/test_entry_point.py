"""`onguard` itself: help, completion, and what it does not load."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from onguard.cli.main import MODULES, app


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_and_each_has_its_own(option):
    everything = CliRunner().invoke(app, [option], env={"COLUMNS": "160", "TERM": "dumb"})
    assert everything.exit_code == 0
    for name in MODULES:
        assert f" {name} " in everything.output
        own = CliRunner().invoke(app, [name, option], env={"COLUMNS": "160", "TERM": "dumb"})
        assert (own.exit_code, f"Usage: onguard {name}" in own.output) == (0, True), own.output


def test_an_unknown_command_is_refused():
    result = CliRunner().invoke(app, ["chekc"], env={"TERM": "dumb"})
    assert (result.exit_code, "No such command" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("onguard ba", "backtest"), ("onguard check --to", "--tolerance"), ("onguard ap", "approve")],
)
def test_the_shell_completes_commands_and_options(words, expected):
    env = {
        **os.environ,
        "_ONGUARD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    command = [sys.executable, "-c", "from onguard.cli.main import app; app(prog_name='onguard')"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert expected in done.stdout.split(), done


def test_a_check_loads_neither_a_cluster_client_nor_a_plotter():
    code = (
        "import sys; from typer.testing import CliRunner; from onguard.cli.main import app\n"
        "CliRunner().invoke(app, ['check', '--help'])\n"
        "print([m for m in ('kubernetes', 'aiohttp', 'matplotlib', 'kopf', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done
