"""`onguard profile`: outputs of held-out rows only, JSON lines, and what a ConfigMap can't hold."""

import base64
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from onguard.cli import references
from onguard.profile import Group, decode_profile, encode_profile
from onguard.spec import parse_spec
from onguard_operator import reference as operators
from onguard_operator.observe import Observed
from onguard_sidecar.analyst.watched import Watched
from tests.unit.cli.shop_rows import rows, run, written


def made(path: Path, *options: object):
    out = path.with_name("p.json")
    result = run("profile", path, "-o", out, *options)
    assert result.exit_code == 0, result.output
    return result.output, references.read_profile(out)


def half_trained() -> pa.Table:
    table = rows(4000)
    held = np.arange(4000) % 4 == 0
    score = np.where(held, table["score"].to_numpy(), 0.999)  # what a model says of rows that it knows by heart
    return table.set_column(5, "score", pa.array(score)).append_column("held", pa.array(held))


def test_outputs_without_a_word_on_held_out_rows_are_not_profiled(tmp_path: Path) -> None:
    output, profile = made(written(rows(4000), tmp_path / "t.parquet"), "--output-column", "score")
    assert profile.outputs == ()
    assert "score" not in profile.layout.names
    assert "outputs: none" in output


def test_outputs_are_of_the_rows_that_are_marked(tmp_path: Path) -> None:
    path = written(half_trained(), tmp_path / "t.parquet")
    _, profile = made(path, "--output-column", "score", "--held-out-column", "held")
    (score,) = profile.outputs
    assert 800 < sum(score.counts) < 1000 < profile.rows
    assert score.numeric.maximum < 0.999
    assert "held" not in profile.layout.names
    assert decode_profile(encode_profile(profile)).hash == profile.hash


def test_too_few_held_out_rows_are_refused(tmp_path: Path) -> None:
    table = rows(4000).append_column("held", pa.array(np.arange(4000) < 10))
    path = written(table, tmp_path / "t.parquet")
    result = run("profile", path, "--output-column", "score", "--held-out-column", "held", "-o", tmp_path / "p")
    assert (result.exit_code, "at least 40 held-out rows, got 10" in result.output) == (2, True)


def test_json_lines_make_the_bins_that_parquet_makes(tmp_path: Path) -> None:
    table = rows(2000)
    _, parquet = made(written(table, tmp_path / "t.parquet"), "--drop", "score", "--name", "t")
    _, lines = made(written(table, tmp_path / "t.jsonl"), "--drop", "score", "--name", "t")
    assert lines.hash == parquet.hash
    (tmp_path / "z.jsonl.gz").write_bytes(gzip.compress((tmp_path / "t.jsonl").read_bytes()))
    assert made(tmp_path / "z.jsonl.gz", "--drop", "score", "--name", "t")[1].hash == parquet.hash


@pytest.mark.parametrize("options", [(), ("t.csv", "--from-live", "r.ogr")])
def test_either_rows_or_a_recording(options) -> None:
    result = run("profile", *options)
    assert (result.exit_code, "either a file of rows or --from-live" in result.output) == (2, True)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("wide")
    table = pa.table({f"feature_{i}": rng.normal(size=500) for i in range(1200)})
    out = folder / "profile.json"
    result = run("profile", written(table, folder / "t.parquet"), "-o", out)
    assert result.exit_code == 0, result.output
    assert "Compressed to fit" in result.output
    return out


def test_it_is_compressed_and_fits(wide: Path) -> None:
    packed = wide.read_bytes()
    assert packed.startswith(b"\x1f\x8b")
    assert references.fits(len(packed))
    assert not references.fits(len(gzip.decompress(packed)))


def test_operator_and_sidecar_read_it(wide: Path) -> None:
    expected = references.read_profile(wide).hash
    assert decode_profile(Watched(wide, 8 << 20).changed().data).hash == expected
    encoded = base64.b64encode(wide.read_bytes()).decode()
    profile, condition = operators.read(seen(encoded))
    assert (profile.hash, condition.status) == (expected, "True")


@pytest.mark.parametrize("cut", [slice(0, -10), slice(0, 40)])
def test_damage_is_a_condition(wide: Path, cut: slice) -> None:
    profile, condition = operators.read(seen(base64.b64encode(wide.read_bytes()[cut]).decode()))
    assert (profile, condition.reason) == (None, "ReferenceInvalid")


def seen(encoded: str) -> Observed:
    spec = {"targetRef": {"name": "x"}, "reference": {"configMap": {"name": "p"}}, "objectives": {"drift": {}}}
    config_map = {"metadata": {"name": "p"}, "binaryData": {"profile.json": encoded}}
    mdep = {"metadata": {"name": "x", "namespace": "n", "uid": "u"}, "spec": spec}
    return Observed(mdep=mdep, spec=parse_spec(spec), profile_map=config_map)


def test_outputs_group(tmp_path: Path) -> None:
    _, profile = made(written(rows(400), tmp_path / "t.csv"), "--output-column", "score", "--outputs-held-out")
    assert [f.group for f in profile.features] == [Group.INPUT] * 5 + [Group.OUTPUT]
