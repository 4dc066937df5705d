"""`onguard simulate --label`: a change of concept is a cause with an act, and is replayed bit by bit."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.cli.shop_rows import OUTPUTS, policy, reference, rows, run, written
from tests.unit.cli.test_check_with_labels import LABELLED, labelled

SHORT = ("--for", "24m", "--at", "12m", "--rate", "20")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    out = folder / "profile.json"
    assert (
        run("profile", written(labelled(20_000), folder / "t.parquet"), *OUTPUTS, *LABELLED, "-o", out).exit_code == 0
    )
    return out


def files(folder: Path, **after: float) -> tuple[object, ...]:
    before = written(labelled(15_000, seed=4), folder / "before.parquet")
    then = written(labelled(15_000, seed=5, **after), folder / "then.parquet")
    return ("--data", before, "--then", then)


def turns_of(*args: object) -> list[dict]:
    result = run(*args, "--json")
    assert result.exit_code in (0, 1), result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def decisions_of(turns: list[dict]) -> list[tuple[str, str, str]]:
    made = [turn["decision"] for turn in turns if "decision" in turn]
    return [(d["cause"], d["action"], d["phase"]) for d in made]


def test_a_change_of_concept_is_retrained(known: Path, tmp_path: Path) -> None:
    where = ("-f", policy(tmp_path), "-p", known, *SHORT)
    turns = turns_of("simulate", *where, *files(tmp_path, flipped=0.3), *LABELLED)
    assert decisions_of(turns)[-1] == ("concept", "Retrain", "Acting")
    assert all(turn["at"] > "2026-01-01T00:12:00Z" for turn in turns)
    assert turns[0]["began"] == ["performance"]
    decision = next(turn["decision"] for turn in turns if turn.get("decision", {}).get("cause") == "concept")
    assert decision["objective"] == "performance"
    figures = {figure["name"]: figure for figure in decision["evidence"]}
    assert figures["performance: at equal scores"]["low"] > 0
    assert abs(figures["performance: by the mix of scores"]["value"]) < 0.02


def test_without_the_labels_nobody_knows(known: Path, tmp_path: Path) -> None:
    where = ("-f", policy(tmp_path), "-p", known, *SHORT)
    assert turns_of("simulate", *where, *files(tmp_path, flipped=0.3)) == []


def test_labels_that_say_what_they_said_decide_nothing(known: Path, tmp_path: Path) -> None:
    assert turns_of("simulate", "-f", policy(tmp_path), "-p", known, *SHORT, *files(tmp_path), *LABELLED) == []


def test_labels_are_recorded_and_a_backtest_says_the_same(known: Path, tmp_path: Path) -> None:
    recording, where = tmp_path / "counts.ogr", ("-f", policy(tmp_path))
    first = turns_of(
        "simulate", *where, "-p", known, *SHORT, *files(tmp_path, flipped=0.3), *LABELLED, "--record", recording
    )
    assert first
    assert turns_of("backtest", recording, *where) == first


def test_labels_of_another_reference_say_nothing(known: Path, tmp_path: Path) -> None:
    recording, where = tmp_path / "counts.ogr", ("-f", policy(tmp_path))
    turns_of("simulate", *where, "-p", known, *SHORT, *files(tmp_path, flipped=0.3), *LABELLED, "--record", recording)
    other = tmp_path / "other.json"
    file = written(labelled(8000, seed=77), tmp_path / "t.parquet")
    assert run("profile", file, *OUTPUTS, *LABELLED, "-o", other).exit_code == 0
    assert decisions_of(turns_of("backtest", recording, *where, "-p", other)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected --data with --label"),
        (("--data", "few.parquet"), "expected a label in 95% of the rows, got one in"),
        (("--data", "none.parquet"), 'got "bought"'),
    ],
)
def test_what_is_no_use_is_bad_input(known: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    written(labelled(500, known=0.5), tmp_path / "few.parquet")
    written(rows(500), tmp_path / "none.parquet")
    paths = [tmp_path / o if o.endswith(".parquet") else o for o in options]
    result = run("simulate", "-f", policy(tmp_path), "-p", known, *SHORT, *paths, *LABELLED)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.output)


def test_a_reference_without_labels_is_no_use_either(tmp_path: Path) -> None:
    bare, _ = reference(tmp_path)
    result = run("simulate", "-f", policy(tmp_path), "-p", bare, *SHORT, *files(tmp_path), *LABELLED)
    assert result.exit_code == 2
    assert "expected a reference with labels" in result.output
