"""`onguard profile`: from files to a profile, with faults that name their place."""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet
from typer.testing import CliRunner, Result

from onguard import __version__
from onguard.cli.main import app
from onguard.profile import Kind, Profile, Role, decode_profile


def run(*args: object) -> Result:
    return CliRunner().invoke(
        app, [str(a) for a in args], env={"COLUMNS": "160", "TERM": "dumb", "SOURCE_DATE_EPOCH": "0"}
    )


def made(*args: object, out: Path) -> Profile:
    result = run("profile", *args, "-o", out)
    assert result.exit_code == 0, result.output
    return decode_profile(out.read_bytes())


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(1)
    n = 2000
    score = rng.beta(2, 5, n)
    return pa.table(
        {
            "age": rng.normal(40, 9, n),
            "kids": rng.integers(0, 4, n),
            "town": rng.choice(["Bern", "Chur", "Thun"], n),
            "vip": rng.random(n) < 0.1,
            "income": pa.array(np.where(rng.random(n) < 0.2, np.nan, rng.exponential(size=n)), from_pandas=True),
            "at": pa.array((1.7e9 + np.arange(n) * 1000).astype("int64"), pa.timestamp("s")),
            "score": score,
            "churned": (rng.random(n) < score).astype(int),
        }
    )


def written(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".gz":
        plain = path.with_suffix("")
        csv.write_csv(table, plain)
        path.write_bytes(gzip.compress(plain.read_bytes()))
    else:
        csv.write_csv(table, path)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.csv.gz"])
def test_the_same_table_makes_the_same_bins_from_any_file(table: pa.Table, tmp_path: Path, name: str) -> None:
    path = written(table, tmp_path / name)
    profile = made(
        path, "--output-column", "score", "--outputs-held-out", "--label", "churned", out=tmp_path / "p.json"
    )
    assert [(f.name, f.kind, f.role) for f in profile.features] == [
        ("age", Kind.NUMERIC, Role.FEATURE),
        ("kids", Kind.NUMERIC, Role.FEATURE),
        ("town", Kind.CATEGORICAL, Role.FEATURE),
        ("vip", Kind.BOOLEAN, Role.FEATURE),
        ("income", Kind.NUMERIC, Role.FEATURE),
        ("at", Kind.DATETIME, Role.TIME),
        ("score", Kind.NUMERIC, Role.FEATURE),
    ]
    reference = made(
        written(table, tmp_path / "r.parquet"),
        "--outputs-held-out",
        "--output-column",
        "score",
        "--label",
        "churned",
        out=tmp_path / "q.json",
    )
    assert [f.counts for f in profile.features] == [f.counts for f in reference.features]
    assert profile.calibration is not None
    assert profile.created == "1970-01-01T00:00:00Z"


def test_it_prints_what_it_saw_and_what_a_person_should_know(table: pa.Table, tmp_path: Path) -> None:
    result = run("profile", written(table, tmp_path / "t.parquet"), "-o", tmp_path / "p.json")
    text = re.sub(r"\s+", " ", result.output)
    assert "1,800 rows counted, 200 rows chose the bins" in text
    assert "Bern" in text
    assert "outputs: none" in text
    assert "Wrote" in text


def test_values_of_another_type_far_down_a_csv_are_unparseable_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    path.write_text("a,b\n" + "".join(f"{i % 50},{i % 7}\n" for i in range(250_000)) + "oops,3\n" * 50)
    profile = made(path, out=tmp_path / "p.json")
    feature = profile.features[0]
    assert feature.kind is Kind.NUMERIC
    assert 0 < dict(zip(feature.bin_names, feature.counts, strict=True))["unparseable"] <= 50


def test_seed_name_drop_and_role_are_obeyed(table: pa.Table, tmp_path: Path) -> None:
    path = written(table, tmp_path / "t.parquet")
    options: Sequence[object] = (
        "--seed",
        7,
        "--name",
        "march",
        "--drop",
        "churned",
        "--drop",
        "score",
        "--role",
        "kids=id",
    )
    profile = made(path, *options, out=tmp_path / "p.json")
    assert (profile.seed, profile.source, len(profile.features)) == (7, "march", 6)
    assert next(f for f in profile.features if f.name == "kids").role is Role.ID


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("none.csv", None, (), "expected a file"),
        ("empty.csv", "", (), "Empty CSV file"),
        ("few.csv", "a,b\n1,2\n", (), "at least 40 rows, got 1"),
        ("ragged.csv", "a,b\n1,2\n3\n", (), "Row #3: Expected 2 columns, got 1"),
        ("twice.csv", "a,a\n" + "1,2\n" * 50, (), "unique column names, got a"),
        ("t.xlsx", "x", (), "expected a file .csv, .tsv, .jsonl, .ndjson or .parquet"),
        ("broken.parquet", "PAR1", (), "broken.parquet"),
        ("t.csv", "age,label\n" + "1,2\n" * 50, ("--label", "lable"), 'did you mean "label"?'),
        (
            "t.csv",
            "age,s,y\n" + "1,1,maybe\n" * 50,
            ("--output-column", "s", "--label", "y", "--outputs-held-out"),
            'at column "y", row 1',
        ),
        ("t.csv", "age\n" + "1\n" * 50, ("--role", "age=key"), "expected --role COLUMN=feature|id|time"),
        ("t.csv", "age\n" + "1\n" * 50, ("--drop", "agee"), 'did you mean "age"?'),
    ],
)
def test_faults_end_in_a_sentence_with_their_place(
    tmp_path: Path, name: str, text: str | None, options: tuple[str, ...], message: str
) -> None:
    path, out = tmp_path / name, tmp_path / "p.json"
    if text is not None:
        path.write_text(text)
    result = run("profile", path, *options, "-o", out)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.output)
    assert "Traceback" not in result.output
    assert not out.exists()


def test_a_column_that_has_no_bins_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"x": np.ones(50), "tags": [["a"]] * 50}), path)
    result = run("profile", path, "-o", tmp_path / "p.json")
    assert 'at column "tags" (leave it out with --drop tags)' in re.sub(r"\s+", " ", result.output)


def test_version_help_and_completion_exist() -> None:
    assert run("--version").output.strip() == f"onguard {__version__}"
    text = run("--help").output
    assert "profile" in text
    assert "--install-completion" in text
