"""Folders that must never become packages, and names that would shadow the standard library."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]
    return [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]


FILES = tracked()


@pytest.mark.parametrize("folder", ["operator", "sidecar", "charts", "docs"])
def test_a_source_root_is_no_package(folder):
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_package_lies_below_tests():
    assert [path for path in FILES if path.name == "__init__.py" and path.is_relative_to(ROOT / "tests")] == []


def test_nothing_importable_is_called_operator():
    named = [path for path in FILES if path.suffix == ".py" and path.stem == "operator"]
    packages = [path for path in FILES if path.name == "__init__.py" and path.parent.name == "operator"]
    assert named + packages == []


@pytest.mark.parametrize("root", ["operator", "sidecar"])
def test_a_source_root_holds_packages_only(root):
    # The folder is on sys.path: a module beside the package could shadow one of the standard library.
    assert [path.name for path in (ROOT / root).glob("*.py")] == []


def test_test_files_have_names_of_their_own():
    names = [path.name for path in FILES if path.name.startswith("test_") and path.suffix == ".py"]
    assert sorted(names) == sorted(set(names))


def test_python_starts_in_the_root_of_the_tree():
    done = subprocess.run(
        [sys.executable, "-c", "import collections, operator; print(operator.eq(1, 1))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n"


@pytest.mark.parametrize("limit", [400])
def test_no_source_file_is_a_chapter(limit):
    sources = [
        p for p in FILES if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in {"onguard", "operator", "sidecar"}
    ]
    assert [str(p.relative_to(ROOT)) for p in sources if len(p.read_text().splitlines()) > limit] == []
