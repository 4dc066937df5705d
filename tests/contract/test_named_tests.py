"""Documentation names the tests that show what it says; they exist."""

import re

from tests.stage.kube import ROOT

NAMED = re.compile(r"`([\w/]*test_\w+\.py)(?:::(test_\w+))?`")


def test_each_test_that_the_documentation_names_is_there() -> None:
    files = {file.name: file for file in (ROOT / "tests").rglob("test_*.py")}
    named = [
        match.groups() for page in sorted((ROOT / "docs").rglob("*.md")) for match in NAMED.finditer(page.read_text())
    ]
    assert len(named) > 20
    wrong = [
        f"{file}::{name}"
        for file, name in named
        if (found := files.get(file.rpartition("/")[2])) is None
        or (name and f"def {name}(" not in found.read_text())
        or not str(found).endswith(file)
    ]
    assert wrong == []
