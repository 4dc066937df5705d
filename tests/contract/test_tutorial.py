"""docs/tutorial.md: its files are written, its commands run in order, and what it shows is what they print."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from onguard.cli.main import MODULES, app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FRAME = re.compile(r"[│┃━┏┓┗┛┡┩└┘┬┴┳┻╇─•]")


def plain(text):
    return re.sub(r"\s+", " ", FRAME.sub(" ", text))


def test_everything_in_the_tutorial_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = 0
    for kind, text in BLOCKS:
        if named := re.match(r"# (\S+\.(?:py|yaml))\n", text):
            Path(named[1]).write_text(text)
            if kind == "python":
                subprocess.run([sys.executable, named[1]], check=True)
        elif kind == "console":
            command, *shown = text.splitlines()
            command, _, code = command.removeprefix("$ onguard ").partition("  # exit code ")
            result = CliRunner().invoke(app, shlex.split(command), env={"COLUMNS": "140", "TERM": "dumb"})
            assert result.exit_code == int(code or 0), (command, result.output)
            missing = [line for line in shown if plain(line).strip() not in plain(result.output)]
            assert not missing, (command, missing, result.output)
            ran += 1
    assert ran == PAGE.count("\n$ onguard ") == 10


def test_the_command_page_has_every_command_and_option():
    page = (ROOT / "docs" / "cli.md").read_text()
    for name in MODULES:
        assert f"## onguard {name}" in page
        text = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
        section = page.split(f"## onguard {name}\n")[1].split("\n## ")[0]
        for option in sorted(set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help"}):
            assert f"`{option}" in section, (name, option)
