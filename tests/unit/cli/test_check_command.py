"""`onguard check`: a batch against a reference, its report and its exit code."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onguard import batch
from onguard.cli.cells import Counter, batch_of
from onguard.cli.generating import FromProfile
from tests.unit.cli.shop_rows import reference, rows, run, written


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("reference"))


def test_a_batch_of_the_same_law_is_quiet(known, tmp_path: Path) -> None:
    result = run("check", "-p", known[0], written(rows(3000, seed=2), tmp_path / "b.parquet"))
    assert result.exit_code == 0, result.output
    assert "b.parquet: quiet" in result.output


@pytest.mark.parametrize("name", ["b.parquet", "b.csv", "b.jsonl"])
def test_what_moved_is_named_whatever_the_file(known, tmp_path: Path, name: str) -> None:
    moved = written(rows(3000, seed=2, older=3, missing=0.1), tmp_path / name)
    result = run("check", "-p", known[0], moved, "--json")
    assert result.exit_code == 1, result.output
    report = json.loads(result.stdout)
    assert report["verdict"] == "drift and data quality"
    assert [f["name"] for f in report["features"] if f["moved"]] == ["age", "income", "score"]
    assert {f["event"] for f in report["found"] if f["objective"] == "dataQuality"} == {"income missing"}
    age = next(f for f in report["features"] if f["name"] == "age")
    assert age["distances"]["ks"]["value"] > age["distances"]["ks"]["critical"]


def test_a_batch_of_requests_has_no_outputs_and_that_is_said(known, tmp_path: Path) -> None:
    asked = rows(3000, seed=3).drop_columns(["score"])
    result = run("check", "-p", known[0], written(asked, tmp_path / "b.csv"))
    assert result.exit_code == 0, result.output
    assert "The file has no outputs" in result.output


def test_an_input_column_that_is_gone_is_missing_in_every_row(known, tmp_path: Path) -> None:
    asked = rows(3000, seed=3).drop_columns(["town"])
    result = run("check", "-p", known[0], written(asked, tmp_path / "b.csv"))
    assert result.exit_code == 1
    assert "The file has no column town" in result.output
    assert "town missing: 0.0% -> 100.0%" in re.sub(r"\s+", " ", result.output)


def test_the_page_holds_everything_and_escapes_what_the_data_says(known, tmp_path: Path) -> None:
    evil = rows(3000, seed=3).append_column("<script>alert(1)</script>", pa.array(np.zeros(3000)))
    page = tmp_path / "r.html"
    result = run("check", "-p", known[0], written(evil, tmp_path / "b.parquet"), "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.count("<svg") == 6
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    outside = [link for link in re.findall(r'(?:src|href)="([^"]+)"', text) if not link.startswith("#")]
    assert outside == []


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("b.csv", "age\n", (), "expected at least 1 row, got 0"),
        ("b.csv", "age\n1\n", ("--alpha", "2"), "expected alpha in (0, 1)"),
        ("b.xml", "x", (), "expected a file .csv"),
        ("b.jsonl", '{"age": 1}\n{"age":', (), "b.jsonl"),
    ],
)
def test_bad_input_ends_with_two_and_a_sentence(known, tmp_path: Path, name, text, options, message) -> None:
    path = tmp_path / name
    path.write_text(text)
    result = run("check", "-p", known[0], path, *options)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.output)


def test_a_profile_that_is_none_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("{}")
    result = run("check", "-p", tmp_path / "p.json", written(rows(10), tmp_path / "b.csv"))
    assert (result.exit_code, "missing required field" in result.output) == (2, True)


def test_false_findings_stay_below_alpha(known) -> None:
    # At most alpha = 0.2 in the mean of all batches; conservative by construction (both limits, and the tolerance).
    profile, found = known[1], 0
    source = FromProfile(profile)
    for seed in range(60):
        counter = Counter(profile)
        counter.add(source.draw(2000, np.random.default_rng(seed)))
        found += bool(batch.judge(profile, counter.total(), alpha=0.2, tolerance=0.0).found)
    assert found <= 60 * 0.2


@pytest.mark.parametrize("n", [1, 2, 50])
def test_few_rows_find_nothing(known, n: int) -> None:
    profile = known[1]
    counter = Counter(profile)
    counter.add(batch_of(profile, rows(n, seed=5)).cells)
    report = batch.judge(profile, counter.total())
    assert (report.rows, report.found) == (n, ())


def test_values_are_read_as_live_traffic_is(known) -> None:
    profile = known[1]
    odd = pa.table(
        {
            "age": pa.array(["41", " ", "old", None]),
            "vip": pa.array([1, 0, 7, None]),
            "town": pa.array(["Bern", "Basel", None, "Chur"]),
            "income": pa.array([[1.0], [2.0], None, [3.0]]),
        }
    )
    cells = batch_of(profile, odd).cells
    by_name = {f.name: cells[:, i] for i, f in enumerate(profile.features)}
    np.testing.assert_array_equal(by_name["age"], [41.0, np.nan, np.inf, np.nan])
    np.testing.assert_array_equal(by_name["vip"][:3], [1.0, 0.0, 2.0])
    towns = next(f for f in profile.features if f.name == "town").categories
    np.testing.assert_array_equal(by_name["town"], [towns.index("Bern"), 3, np.nan, towns.index("Chur")])
    np.testing.assert_array_equal(by_name["income"], [np.inf, np.inf, np.nan, np.inf])
    assert np.isnan(by_name["kids"]).all()


def test_rows_count_as_their_pieces_do(known) -> None:
    profile = known[1]
    cells = batch_of(profile, rows(5000, seed=9)).cells
    whole, parts = Counter(profile), Counter(profile)
    whole.add(cells)
    for piece in np.array_split(cells, 37):
        parts.add(piece)
        parts.total()
    np.testing.assert_array_equal(whole.total().bins, parts.total().bins)
    np.testing.assert_array_equal(whole.total().products, parts.total().products)
