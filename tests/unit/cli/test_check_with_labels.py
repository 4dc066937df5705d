"""`onguard check --label`: how often the model is wrong, why, and what scores alone let expect."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onguard.cli.references import read_profile
from tests.unit.cli.shop_rows import OUTPUTS, rows, run, written

LABELLED = ("--label", "bought")


def labelled(n: int, *, seed: int = 1, older: float = 0.0, flipped: float = 0.0, known: float = 1.0) -> pa.Table:
    """Rows whose truth follows the score, but for a share that is turned round, or not known."""
    table = rows(n, seed=seed, older=older)
    rng = np.random.default_rng(seed + 1000)
    truth = (rng.random(n) < np.asarray(table["score"])).astype(float)
    truth = np.where(rng.random(n) < flipped, 1.0 - truth, truth)
    column = pa.array(np.where(rng.random(n) < known, truth, np.nan), from_pandas=True)
    return table.append_column("bought", column)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    out = folder / "profile.json"
    result = run("profile", written(labelled(20_000), folder / "train.parquet"), *OUTPUTS, *LABELLED, "-o", out)
    assert result.exit_code == 0, result.output
    assert re.search(r"with 1 from a score of 0\.5 on: \d\d\.\d% of 18,000 rows", re.sub(r"\s+", " ", result.output))
    return out


def check(known: Path, table: pa.Table, folder: Path, *options: object) -> tuple[int, dict]:
    result = run("check", "-p", known, written(table, folder / "b.parquet"), "--json", *options)
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize(
    ("batch", "code", "verdict", "cause"),
    [
        ({}, 0, "quiet", "none"),
        ({"flipped": 0.25}, 1, "worse performance", "concept"),
        ({"older": -4.5, "flipped": 0.25}, 1, "drift and worse performance", "concept"),
        ({"older": -4.5}, 1, "drift", "population"),
        ({"flipped": 0.25, "known": 0.6}, 0, "quiet", "none"),
    ],
)
def test_the_cause_follows_from_inputs_and_labels(known: Path, tmp_path: Path, batch, code, verdict, cause) -> None:
    found_code, report = check(known, labelled(5000, seed=5, **batch), tmp_path, *LABELLED)
    assert (found_code, report["verdict"], report["cause"]["name"]) == (code, verdict, cause)


def test_the_terms_are_those_of_the_truth(known: Path, tmp_path: Path) -> None:
    _, report = check(known, labelled(5000, seed=6, flipped=0.25), tmp_path, *LABELLED)
    found, by_scores = report["performance"]["labelled"], report["performance"]["estimated"]
    assert found["rows"] == 5000
    assert found["coverage"] == 1.0
    assert found["byMix"]["low"] < 0 < found["byMix"]["high"]
    # A quarter turned round at an error e gives e 3/4 + (1 - e) / 4.
    before = report["performance"]["reference"]
    assert found["atEqualScores"]["low"] < 0.25 * (1 - 2 * before) < found["atEqualScores"]["high"]
    assert by_scores["error"]["low"] < before < by_scores["error"]["high"]


def test_without_labels_the_error_is_expected_from_scores(known: Path, tmp_path: Path) -> None:
    easy = labelled(5000, seed=7, older=-4.5)
    truth = (np.asarray(easy["score"]) >= 0.5) != (np.asarray(easy["bought"]) > 0)
    _, report = check(known, easy.drop_columns(["bought"]), tmp_path)
    assert report["performance"]["labelled"] is None
    error = report["performance"]["estimated"]["error"]
    assert error["low"] < truth.mean() < error["high"]
    assert report["performance"]["estimated"]["change"]["high"] < 0
    assert error["high"] < report["performance"]["reference"]


def test_people_read_the_same(known: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    file = written(labelled(5000, seed=5, flipped=0.25), tmp_path / "b.csv")
    result = run("check", "-p", known, file, *LABELLED, "--html", page)
    text = re.sub(r"\s+", " ", result.output)
    assert "Cause: concept. The error at equal scores is worse than the reference's" in text
    assert "Wrong by their labels: 4" in text
    assert "Whether they do, only labels tell" in text
    assert "bought" not in text
    assert "Errors at equal scores" in page.read_text()
    assert page.read_text().count("<tr><td>up to") == 19


def test_late_labels_are_shown_and_not_judged(known: Path, tmp_path: Path) -> None:
    file = written(labelled(5000, seed=5, flipped=0.25, known=0.6), tmp_path / "b.csv")
    result = run("check", "-p", known, file, *LABELLED)
    assert result.exit_code == 0
    assert "Labels are pending: " in re.sub(r"\s+", " ", result.output)


def test_a_reference_without_labels_estimates_nothing_and_says_why(known: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.json"
    table = labelled(2000, seed=8)
    file = written(table, tmp_path / "b.parquet")
    made = run("profile", written(table.drop_columns(["bought"]), tmp_path / "t.parquet"), *OUTPUTS, "-o", bare)
    assert made.exit_code == 0, made.output
    assert read_profile(bare).calibration is None
    result = run("check", "-p", bare, file)
    assert "The error is not estimated: the reference has no labels" in re.sub(r"\s+", " ", result.output)
    refused = run("check", "-p", bare, file, *LABELLED)
    assert refused.exit_code == 2
    assert "expected what labels can be compared with, but the reference has no labels" in refused.output


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("bougth", None, 'got "bougth"; did you mean "bought"?'),
        ("age", None, 'expected a label, got "age", which is a feature'),
        ("score", None, 'expected a label, got "score"'),
        ("days", ["1", "2", "3"], 'expected a label of 0 or 1 - at column "days", row 2'),
        ("other", ["0", "1", "maybe"], 'at column "other", row 3'),
    ],
)
def test_a_label_that_is_none_is_refused(known: Path, tmp_path: Path, column, values, message) -> None:
    table = labelled(3, seed=9)
    if values:
        table = table.append_column(column, pa.array(values))
    result = run("check", "-p", known, written(table, tmp_path / "b.parquet"), "--label", column)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.output)


def test_labels_without_a_single_row_that_has_one_judge_nothing(known: Path, tmp_path: Path) -> None:
    code, report = check(known, labelled(500, seed=9, known=0.0), tmp_path, *LABELLED)
    assert (code, report["performance"]["labelled"]) == (0, None)


def test_the_threshold_is_the_one_of_the_reference(tmp_path: Path) -> None:
    out = tmp_path / "strict.json"
    file = written(labelled(5000), tmp_path / "t.parquet")
    assert run("profile", file, *OUTPUTS, *LABELLED, "--threshold", "0.9", "-o", out).exit_code == 0
    _, report = check(out, labelled(2000, seed=3), tmp_path, *LABELLED)
    assert report["performance"]["threshold"] == 0.9
    table = labelled(2000, seed=3)
    wrong = (np.asarray(table["score"]) >= 0.9) != (np.asarray(table["bought"]) > 0)
    assert report["performance"]["labelled"]["error"]["value"] == pytest.approx(wrong.mean(), abs=1e-6)


@pytest.mark.parametrize(
    "score", [np.full(400, 0.7), np.where(np.arange(400) % 9, 0.2, np.nan), np.where(np.arange(400) % 2, 1e300, -1e300)]
)
@pytest.mark.parametrize("truth", [np.zeros(400), np.ones(400), np.where(np.arange(400) % 3, 1.0, np.nan)])
def test_any_scores_and_labels_have_a_result(tmp_path: Path, score: np.ndarray, truth: np.ndarray) -> None:
    table = pa.table({"x": np.arange(400.0), "score": pa.array(score), "truth": pa.array(truth, from_pandas=True)})
    file, out = written(table, tmp_path / "b.parquet"), tmp_path / "p.json"
    assert run("profile", file, *OUTPUTS, "--label", "truth", "-o", out).exit_code == 0
    code, report = check(out, table, tmp_path, "--label", "truth", "--html", tmp_path / "p.html")
    assert (code, report["verdict"]) == (0, "quiet")
    error = report["performance"]["estimated"]["error"]
    assert 0.0 <= error["low"] <= error["value"] <= error["high"] <= 1.0
