"""Rows of a small shop, and files of them, for the command line's tests."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from pyarrow import csv, parquet
from typer.testing import CliRunner, Result

from onguard.cli.main import app
from onguard.cli.references import read_profile
from onguard.profile import Profile

OUTPUTS = ("--output-column", "score", "--outputs-held-out")


def run(*args: object) -> Result:
    env = {"COLUMNS": "160", "TERM": "dumb", "SOURCE_DATE_EPOCH": "0", "KUBECONFIG": "/nonexistent/kubeconfig"}
    return CliRunner().invoke(app, [str(a) for a in args], env=env)


def rows(n: int, *, seed: int = 1, older: float = 0.0, missing: float = 0.02) -> pa.Table:
    rng = np.random.default_rng(seed)
    age = rng.normal(40 + older, 9, n)
    income = np.where(rng.random(n) < missing, np.nan, rng.exponential(size=n))
    return pa.table(
        {
            "age": age,
            "kids": rng.integers(0, 4, n),
            "town": rng.choice(["Bern", "Chur", "Thun"], n),
            "vip": rng.random(n) < 0.1,
            "income": pa.array(income, from_pandas=True),
            "score": 1 / (1 + np.exp(-(age - 40) / 9)),
        }
    )


def written(table: pa.Table, path: Path) -> Path:
    match path.suffix:
        case ".parquet":
            parquet.write_table(table, path)
        case ".jsonl":
            import json

            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        case _:
            csv.write_csv(table, path)
    return path


def reference(folder: Path, n: int = 20_000) -> tuple[Path, Profile]:
    out = folder / "profile.json"
    result = run("profile", written(rows(n), folder / "train.parquet"), *OUTPUTS, "-o", out)
    assert result.exit_code == 0, result.output
    return out, read_profile(out)


def policy(folder: Path, **spec: object) -> Path:
    objectives = {
        "errors": {"below": "1%"},
        "drift": {"tolerance": "1%", "retrainAt": "10%"},
        "dataQuality": {"tolerance": "1%"},
    }
    retrain = {"mode": "Automatic", "from": {"name": "churn-train"}}
    body = {
        "targetRef": {"name": "churn"},
        "reference": {"configMap": {"name": "churn-profile"}},
        "objectives": objectives,
        "release": {"bake": {"for": "5m", "requests": 100}, "baseline": {"mode": "Serve"}},
        "actions": {"rollback": {"mode": "Automatic"}, "retrain": retrain},
        **spec,
    }
    meta = {"name": "churn", "namespace": "shop"}
    document = {"apiVersion": "onguard.dev/v1alpha1", "kind": "ModelDeployment", "metadata": meta, "spec": body}
    path = folder / "mdep.yaml"
    path.write_text(yaml.safe_dump_all([{"kind": "Namespace", "metadata": {"name": "shop"}}, document]))
    return path
