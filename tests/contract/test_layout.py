"""The house rules about files and folders."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (ROOT / "onguard", ROOT / "operator" / "onguard_operator", ROOT / "sidecar" / "onguard_sidecar")
SOURCE_ROOTS = (ROOT, ROOT / "operator", ROOT / "sidecar")
NO_PACKAGE = (ROOT / "operator", ROOT / "sidecar", ROOT / "charts")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
NO_BRANCHES = {"handlers.py", "__main__.py", "contract.py"}
BRANCHES = (ast.If, ast.For, ast.While, ast.Try, ast.Match, ast.IfExp)


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted(package.rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("folder", NO_PACKAGE, ids=lambda path: path.name)
def test_a_source_root_is_never_a_package(folder: Path) -> None:
    """A package called operator hides the standard library's module, and Python dies at `import collections`."""
    assert not (folder / "__init__.py").exists()


def test_no_folder_of_tests_is_a_package() -> None:
    assert sorted((ROOT / "tests").rglob("__init__.py")) == []


def test_no_module_is_called_operator() -> None:
    named = [path for root in SOURCE_ROOTS for path in root.glob("*/operator.py")]
    named += [path for package in PACKAGES for path in package.rglob("operator*") if path.stem == "operator"]
    assert named == []


def test_nothing_at_a_source_root_hides_the_standard_library() -> None:
    folders = {"operator"}  # a namespace portion always loses to a real module
    hidden = [
        path
        for root in SOURCE_ROOTS
        for path in root.iterdir()
        if path.stem in sys.stdlib_module_names and path.name not in folders and path.suffix in {"", ".py"}
    ]
    assert hidden == []


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{function.name}": (function.end_lineno or 0) - function.lineno + 1 - docstring_lines(function)
        for path in modules()
        for function in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_entry_points_and_names_have_no_branch() -> None:
    branching = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules()
        if path.name in NO_BRANCHES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, BRANCHES) and not is_main_guard(node)
    ]
    assert branching == []


def docstring_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0


def is_main_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and ast.unparse(node.test.left) == "__name__"
