"""
Train the sample model and write it with its reference data: ``python -m tests.models.train OUT_DIR``.

The same seed gives the same files. ``model.json`` is what the server loads, ``reference.csv`` what ``onguard profile``
reads: rows that the training did not see, with the model's answer beside them (``prediction``).
"""

import argparse
import csv
import dataclasses
import json
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tests.models.customers import FEATURES, NUMERIC, TARGET, Table, as_rows, draw
from tests.models.scoring import Coefficients, chances, encode

SEED: Final = 20240229
TRAINING_ROWS: Final = 4_000
REFERENCE_ROWS: Final = 20_000
STEPS: Final = 25
RIDGE: Final = 1e-3


def fit(table: Table) -> Coefficients:
    """Fit by Newton's method on the ridge-penalised likelihood (Hastie, Tibshirani, Friedman, 4.4.1)."""
    means = {name: float(np.nanmean(table[name])) for name in NUMERIC}
    sds = {name: float(np.nanstd(table[name])) for name in NUMERIC}
    blank = Coefficients(0.0, {}, means, sds)
    encoded = [encode(row, blank) for row in as_rows(table)]
    names = list(encoded[0])
    x = np.array([[1.0, *(row[name] for name in names)] for row in encoded])
    beta = _newton(x, table[TARGET].astype(np.float64))
    weights = {name: round(float(b), 6) for name, b in zip(names, beta[1:], strict=True)}
    rounded = ({k: round(v, 6) for k, v in each.items()} for each in (means, sds))
    return Coefficients(round(float(beta[0]), 6), weights, *rounded)


def _newton(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    beta = np.zeros(x.shape[1])
    for _ in range(STEPS):
        p = 1.0 / (1.0 + np.exp(-x @ beta))
        curvature = (x * (p * (1.0 - p))[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
        beta = beta + np.linalg.solve(curvature, x.T @ (y - p) - RIDGE * beta)
    return beta


def trained(seed: int = SEED) -> Coefficients:
    """The sample model."""
    return fit(draw(np.random.default_rng(seed), TRAINING_ROWS))


def write_reference(path: Path, model: Coefficients, seed: int = SEED + 1) -> None:
    """Write held-out customers and the model's answers as CSV; a missing value is an empty cell."""
    rows = as_rows(draw(np.random.default_rng(seed), REFERENCE_ROWS))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*FEATURES, "prediction"))
        for row, answer in zip(rows, chances(rows, model), strict=True):
            values = ("" if row[name] is None else row[name] for name in FEATURES)
            writer.writerow((*(str(v).lower() if isinstance(v, bool) else v for v in values), answer))


def load(path: Path) -> Coefficients:
    """Read ``model.json``."""
    return Coefficients(**json.loads(path.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    model = trained()
    (out / "model.json").write_text(json.dumps(dataclasses.asdict(model), indent=1) + "\n")
    write_reference(out / "reference.csv", model)


if __name__ == "__main__":
    main()
