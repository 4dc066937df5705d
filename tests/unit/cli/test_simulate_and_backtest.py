"""`onguard simulate` and `onguard backtest`: a policy on made-up and on recorded traffic."""

import gzip
import json
import re
from pathlib import Path

import pytest

from onguard.cli import recordings
from onguard.learning import Source, learn
from onguard.profile import Group, ProfileError
from tests.unit.cli.shop_rows import policy, reference, rows, run, written

SHORT = ("--for", "24m", "--at", "12m", "--rate", "20")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    return reference(tmp_path_factory.mktemp("reference"))


def turns_of(*args: object) -> list[dict]:
    result = run(*args, "--json")
    assert result.exit_code in (0, 1), result.output
    turns = [json.loads(line) for line in result.stdout.splitlines()]
    acted = any(t.get("decision", {}).get("action") not in (None, "Hold") for t in turns)
    assert result.exit_code == acted
    return turns


def decisions_of(*args: object) -> list[tuple[str, str, str]]:
    made = [t["decision"] for t in turns_of(*args) if "decision" in t]
    return [(d["cause"], d["action"], d["phase"]) for d in made]


def test_quiet_traffic_is_quiet_and_says_what_would_be_found(known, tmp_path: Path) -> None:
    result = run("simulate", "-f", policy(tmp_path), "-p", known[0], *SHORT)
    assert result.exit_code == 0, result.output
    assert "96 visits over 0:24:00: 0 decisions" in result.output
    assert "shift of a typical feature's distribution" in result.output


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (("--fault", "age=shift:8"), ("population", "Retrain", "Acting")),
        (("--fault", "income=missing:0.3"), ("upstream-data", "Hold", "Held")),
        (("--fault", "town=unseen:0.2"), ("upstream-data", "Hold", "Held")),
        (("--fault", "age=stuck"), ("upstream-data", "Hold", "Held")),
        (("--errors", "20%", "--release"), ("release", "Rollback", "Acting")),
        (("--errors", "20%"), ("unknown", "Hold", "Held")),
    ],
)
def test_each_kind_of_change_has_its_decision(known, tmp_path: Path, options, first) -> None:
    made = decisions_of("simulate", "-f", policy(tmp_path), "-p", known[0], *SHORT, *options)
    assert made[:1] == [first]


def test_nothing_is_found_before_the_change(known, tmp_path: Path) -> None:
    turns = turns_of("simulate", "-f", policy(tmp_path), "-p", known[0], *SHORT, "--fault", "age=shift:8")
    assert turns[0]["at"] > "2026-01-01T00:12:00Z"


def test_after_a_rollback_the_old_revision_serves_and_nothing_more_is_decided(known, tmp_path: Path) -> None:
    turns = turns_of("simulate", "-f", policy(tmp_path), "-p", known[0], *SHORT, "--errors", "20%", "--release")
    decision = next(t["decision"] for t in turns if "decision" in t)
    assert (decision["revision"], decision["targetRevision"], decision["control"]) == ("new", "old", "arm")
    assert sum("decision" in t for t in turns) == 1


def test_rows_of_files_are_served_before_and_after_the_change(known, tmp_path: Path) -> None:
    before = written(rows(4000, seed=4), tmp_path / "before.parquet")
    after = written(rows(4000, seed=5, older=8), tmp_path / "after.parquet")
    made = decisions_of("simulate", "-f", policy(tmp_path), "-p", known[0], *SHORT, "--data", before, "--then", after)
    assert made == [("population", "Retrain", "Acting")]


def test_a_backtest_says_bit_by_bit_what_the_simulation_said(known, tmp_path: Path) -> None:
    recording, where = tmp_path / "counts.ogr", ("-f", policy(tmp_path))
    first = turns_of("simulate", *where, "-p", known[0], *SHORT, "--fault", "income=missing:0.3", "--record", recording)
    assert first
    assert turns_of("backtest", recording, *where) == first


def test_another_policy_decides_otherwise_on_the_same_counts(known, tmp_path: Path) -> None:
    recording = tmp_path / "counts.ogr"
    run("simulate", "-f", policy(tmp_path), "-p", known[0], *SHORT, "--fault", "age=shift:8", "--record", recording)
    lax = policy(tmp_path, objectives={"drift": {"tolerance": "60%", "retrainAt": "80%"}})
    assert decisions_of("backtest", recording, "-f", lax) == []
    dry = policy(tmp_path, actions={"retrain": {"mode": "DryRun", "from": {"name": "t"}}})
    assert decisions_of("backtest", recording, "-f", dry)[0] == ("population", "Retrain", "DryRun")


def test_a_recording_that_was_cut_off_is_read_to_its_last_whole_frame(known, tmp_path: Path) -> None:
    recording = tmp_path / "counts.ogr"
    run("simulate", "-f", policy(tmp_path), "-p", known[0], "--for", "5m", "--record", recording)
    whole = len(list(recordings.read(recording)[1]))
    recording.write_bytes(recording.read_bytes()[:-2000])
    assert 0 < len(list(recordings.read(recording)[1])) < whole


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "expected a recording"), (b"not gzip", "Not a gzipped file"), (gzip.compress(b"\xff" * 9), "at most")],
)
def test_what_is_no_recording_is_bad_input(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "counts.ogr"
    path.write_bytes(content)
    result = run("backtest", path, "-f", policy(tmp_path))
    assert (result.exit_code, message in re.sub(r"\s+", " ", result.output)) == (2, True), result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fault", "age=melt"), "expected FEATURE=shift|"),
        (("--fault", "agee=shift:1"), "expected a feature of the reference"),
        (("--fault", "age=missing:2"), "a share from 0 to 1"),
        (("--fault", "age=unseen:0.1"), "categorical"),
        (("--fault", "age=swap:nobody"), "expected a feature of the reference"),
        (("--fault", "age=shift"), "FEATURE=shift:NUMBER"),
        (("--for", "2 hours"), "expected a duration"),
        (("--errors", "x"), "expected a percentage"),
    ],
)
def test_a_script_that_makes_no_sense_is_bad_input(known, tmp_path: Path, options, message) -> None:
    result = run("simulate", "-f", policy(tmp_path), "-p", known[0], *options)
    assert (result.exit_code, message in re.sub(r"\s+", " ", result.output)) == (2, True), result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "expected YAML"),
        ("kind: Deployment", "expected one ModelDeployment, got 0"),
        ("kind: ModelDeployment\nspec: {targetRef: {name: x}, objectives: {errors: {below: 1}}}", "objectives.errors"),
    ],
)
def test_a_policy_that_is_none_is_bad_input(known, tmp_path: Path, text, message) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    result = run("simulate", "-f", path, "-p", known[0])
    assert (result.exit_code, message in re.sub(r"\s+", " ", result.output)) == (2, True), result.output


@pytest.fixture(scope="module")
def recording(known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    path = folder / "counts.ogr"
    served = written(rows(20_000, seed=6, older=5), folder / "served.parquet")
    run("simulate", "-f", policy(folder), "-p", known[0], *SHORT, "--data", served, "--record", path)
    return path


def test_a_learned_reference_has_the_bins_of_the_old_and_the_counts_of_live_traffic(
    known, recording, tmp_path: Path
) -> None:
    out = tmp_path / "learned.json"
    result = run("profile", "--from-live", recording, "-o", out, "--allow-short", "--requests", 10_000)
    assert result.exit_code == 0, result.output
    assert "Learned from live traffic" in result.output
    same = written(rows(3000, seed=7, older=5), tmp_path / "b.parquet")
    assert run("check", "-p", out, same).exit_code == 0
    assert run("check", "-p", known[0], same).exit_code == 1


def test_it_says_that_it_is_learned_and_keeps_outputs(recording) -> None:
    opening, frames = recordings.read(recording)
    profile = learn(Source(opening.profile, "r"), frames, requests=10_000, least_days=0)
    assert profile.learned
    assert 10_000 <= profile.rows < 10_500
    assert [f.name for f in profile.features if f.group is Group.OUTPUT] == ["score"]
    assert profile.hash != opening.profile.hash


def test_a_week_and_the_requests_are_needed(recording) -> None:
    opening, frames = recordings.read(recording)
    with pytest.raises(ProfileError, match=r"10,000 requests over at least 7 days, got .* over 0.02 days"):
        learn(Source(opening.profile, "r"), frames, requests=10_000)
    result = run("profile", "--from-live", recording, "--requests", 10**9, "--allow-short")
    assert result.exit_code == 2
