"""A deployed model on real rows: its reference, and traffic that a fault enters."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

from onguard import contract, performance
from onguard.counts import Counts
from onguard.performance import Errors
from onguard.profile import Profile
from onguard_sidecar.analyst.accumulate import Group
from tests.bench.statistics import reference
from tests.bench.statistics.datasets import Table
from tests.bench.statistics.faults import TRUTH, Columns

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A classifier trained on the first half of a table; text by the codes that it was trained with."""

    vocabulary: dict[str, dict[str, float]]
    fitted: HistGradientBoostingClassifier

    @classmethod
    def train(cls, table: Table, *, seed: int) -> "Model":
        """Fit, and remember the codes of text."""
        vocabulary = {
            name: {v: float(i) for i, v in enumerate(sorted({str(v) for v in values if v is not None}))}
            for name, values in table.columns.items()
            if values.dtype != np.float64
        }
        bare = cls(vocabulary, HistGradientBoostingClassifier(max_iter=40, random_state=seed))
        bare.fitted.fit(bare._matrix(dict(table.columns)), table.label)
        return bare

    def _matrix(self, columns: Columns) -> Floats:
        return np.stack([self._numbers(name, values) for name, values in columns.items()], axis=1)

    def _numbers(self, name: str, values: npt.NDArray[Any]) -> Floats:
        if (codes := self.vocabulary.get(name)) is not None:
            return np.array([np.nan if v is None else codes.get(str(v), np.nan) for v in values])
        return values if values.dtype == np.float64 else np.full(len(values), np.nan)

    def score(self, columns: Columns) -> Floats:
        """Probability of the positive class."""
        scores: Floats = self.fitted.predict_proba(self._matrix(columns))[:, 1]
        return scores


@dataclasses.dataclass(frozen=True, eq=False)
class Scenario:
    """A model, rows that it was not trained on, and a reference drawn from them."""

    name: str
    model: Model
    pool: Table
    profile: Profile

    @classmethod
    def of(cls, table: Table, *, seed: int, reference_rows: int = 20_000, train_rows: int = 20_000) -> "Scenario":
        """Train, and build the reference with the product's builder."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(table))
        cut = min(train_rows, len(table) // 2)
        model, pool = Model.train(table.take(order[:cut]), seed=seed), table.take(order[cut:])
        rows = pool.take(rng.integers(0, len(pool), reference_rows))
        columns = {**rows.columns, "score": model.score(dict(rows.columns)), TRUTH: rows.label}
        profile = reference.profile_of(columns, seed=seed, outputs=("score",), label=TRUTH)
        return cls(table.name, model, pool, profile)

    def rows(self, rng: np.random.Generator, count: int, *, is_labelled: bool = False) -> Columns:
        """Inputs of ``count`` requests, and if asked for their truth as the column ``TRUTH``."""
        chosen = self.pool.take(rng.integers(0, len(self.pool), count))
        return {**chosen.columns, TRUTH: chosen.label} if is_labelled else dict(chosen.columns)

    def errors(self, columns: Columns, *, rows_per_step: int) -> list[Errors]:
        """Right and wrong answers of each step by score bin, of rows with their truth."""
        baseline = performance.baseline_of(self.profile)
        if baseline is None:
            raise ValueError("expected a reference with labels")
        scores, truth = self.model.score(_inputs(columns)), columns[TRUTH]
        starts = range(0, len(truth), rows_per_step)
        return [baseline.counted(scores[i : i + rows_per_step], truth[i : i + rows_per_step]) for i in starts]

    def counted(self, columns: Columns, *, rows_per_step: int) -> list[Counts]:
        """What each step adds to the counts, as a sidecar makes them: one request a row."""
        inputs = _inputs(columns)
        answered = {**inputs, "score": self.model.score(inputs)}
        cells = reference.matrix_of(self.profile, answered)
        counts = Counts.zero(self.profile)
        group = Group(self.profile, [f.name for f in self.profile.features], counts)
        steps, before = [], _copy(counts)
        for start in range(0, len(cells), rows_per_step):
            rows = cells[start : start + rows_per_step]
            group.add(rows, np.full(len(rows), contract.UNIT, np.int64))
            group.flush()
            after = _copy(counts)
            added = dataclasses.replace(after - before, rows=len(rows), units=len(rows) * contract.UNIT)
            steps.append(added)
            before = after
        return steps


def _inputs(columns: Columns) -> Columns:
    return {name: values for name, values in columns.items() if name != TRUTH}


def _copy(counts: Counts) -> Counts:
    """The group adds to its arrays in place."""
    arrays: dict[str, Any] = {n: v.copy() for n, v in vars(counts).items() if isinstance(v, np.ndarray)}
    return dataclasses.replace(counts, **arrays)
