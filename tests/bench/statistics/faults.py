"""Faults that are put into traffic, and what would be right to say and to do about each."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onguard.cause import Cause
from onguard.decide import Action

Columns = dict[str, npt.NDArray[Any]]
TRUTH: Final = "truth"
Inject = Callable[[np.random.Generator, Columns], Columns]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fault:
    """
    One kind of fault.

    Attributes:
        kind: its name.
        causes: causes that are right.
        acts: actions that are right; holding always is.
        inject: rows -> faulty rows; None: the rows stay as they are.
        error_rates: share of bad requests (before, after).
        is_release: the fault comes with a new revision.
        has_arm: a baseline arm serves beside it.
        identifiable: what is counted can tell this fault from others, so that abstaining is not the only right answer.
        is_labelled: the truth of each row comes with it, as the column ``TRUTH``, and is judged.
    """

    kind: str
    causes: frozenset[Cause]
    acts: frozenset[Action] = frozenset()
    inject: Inject | None = None
    error_rates: tuple[float, float] = (0.002, 0.002)
    is_release: bool = False
    has_arm: bool = False
    identifiable: bool = True
    is_labelled: bool = False

    @property
    def is_nothing(self) -> bool:
        """Whether nothing is wrong, so that only a decision would be."""
        return self.causes == {Cause.NONE}


def numeric_names(columns: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """Columns of numbers with more than ten values."""
    return [n for n, v in columns.items() if v.dtype == np.float64 and len(np.unique(v[:2000])) > 10]


def text_names(columns: Mapping[str, npt.NDArray[Any]]) -> list[str]:
    """Columns of text."""
    return [n for n, v in columns.items() if v.dtype != np.float64]


def _one(rng: np.random.Generator, names: list[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _with(columns: Columns, **changed: npt.NDArray[Any]) -> Columns:
    return {**columns, **changed}


def missing_flood(rng: np.random.Generator, columns: Columns) -> Columns:
    """A third of one column is missing."""
    name = _one(rng, list(columns))
    values = columns[name].copy()
    values[rng.random(len(values)) < 1 / 3] = np.nan if values.dtype == np.float64 else None
    return _with(columns, **{name: values})


def default_flood(rng: np.random.Generator, columns: Columns) -> Columns:
    """A third of one column of numbers holds a default: 0, -1 or 999."""
    name = _one(rng, numeric_names(columns))
    values = columns[name].copy()
    values[rng.random(len(values)) < 1 / 3] = (0.0, -1.0, 999.0)[int(rng.integers(3))]
    return _with(columns, **{name: values})


def stuck_value(rng: np.random.Generator, columns: Columns) -> Columns:
    """One column of numbers keeps its last value."""
    name = _one(rng, numeric_names(columns))
    return _with(columns, **{name: np.full(len(columns[name]), columns[name][0])})


def unit_change(rng: np.random.Generator, columns: Columns) -> Columns:
    """One column of numbers comes in another unit: kilo, milli, feet, Fahrenheit."""
    name = _one(rng, numeric_names(columns))
    factor, offset = ((1000.0, 0.0), (0.001, 0.0), (3.28084, 0.0), (1.8, 32.0))[int(rng.integers(4))]
    return _with(columns, **{name: columns[name] * factor + offset})


def column_swap(rng: np.random.Generator, columns: Columns) -> Columns:
    """Two columns of numbers change places."""
    first, second = rng.choice(numeric_names(columns), 2, replace=False)
    return _with(columns, **{first: columns[second], second: columns[first]})


def rotation(_: np.random.Generator, columns: Columns) -> Columns:
    """All columns of numbers move by one place."""
    names = numeric_names(columns)
    if len(names) < 3:
        raise ValueError(f"expected at least 3 columns of numbers, got {len(names)}")
    return _with(columns, **{n: columns[names[i - 1]] for i, n in enumerate(names)})


def changed_encoding(rng: np.random.Generator, columns: Columns) -> Columns:
    """One column of text comes in lower case with a prefix."""
    name = _one(rng, text_names(columns))
    return _with(columns, **{name: np.array([None if v is None else f"c_{v}".lower() for v in columns[name]], object)})


def truncated_text(rng: np.random.Generator, columns: Columns) -> Columns:
    """One column of text keeps its first character."""
    name = _one(rng, [n for n in text_names(columns) if np.mean([len(str(v)) > 1 for v in columns[n][:500]]) > 0.3])
    return _with(columns, **{name: np.array([None if v is None else str(v)[:1] for v in columns[name]], object)})


def type_change(rng: np.random.Generator, columns: Columns) -> Columns:
    """One column of numbers comes as text with a unit."""
    name = _one(rng, numeric_names(columns))
    return _with(columns, **{name: np.array([f"{v:g} u" for v in columns[name]], object)})


def _resampled(rng: np.random.Generator, columns: Columns, share: float) -> Columns:
    """Rows from the upper half of one column come with probability ``share``."""
    name = _one(rng, numeric_names(columns))
    values = columns[name]
    upper = values > np.median(values)
    pools = np.flatnonzero(~upper), np.flatnonzero(upper)
    chosen = np.where(
        rng.random(len(values)) < share, rng.choice(pools[1], len(values)), rng.choice(pools[0], len(values))
    )
    return {n: v[chosen] for n, v in columns.items()}


def large_population_shift(rng: np.random.Generator, columns: Columns) -> Columns:
    """Four fifths of the users come from the upper half."""
    return _resampled(rng, columns, 0.8)


def small_population_shift(rng: np.random.Generator, columns: Columns) -> Columns:
    """The users shift by about six points, which is less than ``retrainAt``."""
    name = _one(rng, numeric_names(columns))
    share = float(np.mean(columns[name] > np.median(columns[name])))
    return _resampled(rng, columns, share + 0.06) if share < 0.9 else _resampled(rng, columns, share - 0.06)


def concept_change(rng: np.random.Generator, columns: Columns) -> Columns:
    """Three in ten labels turn round in the upper half of one column; no input moves."""
    values = columns[_one(rng, numeric_names(columns))]
    turns = (values > np.median(values)) & (rng.random(len(values)) < 0.3)
    return _with(columns, **{TRUTH: np.where(turns, 1.0 - columns[TRUTH], columns[TRUTH])})


_UPSTREAM: Final = frozenset({Cause.UPSTREAM_DATA})
_ABSTAINED: Final = frozenset({Cause.NONE, Cause.UNKNOWN})
_RELEASE: Final = frozenset({Cause.RELEASE})
_ROLLBACK: Final = frozenset({Action.ROLLBACK})
_RETRAIN: Final = frozenset({Action.RETRAIN})

KINDS: Final = (
    Fault(kind="nothing", causes=frozenset({Cause.NONE})),
    Fault(kind="missing flood", causes=_UPSTREAM, inject=missing_flood),
    Fault(kind="default-value flood", causes=_UPSTREAM, inject=default_flood),
    Fault(kind="stuck value", causes=_UPSTREAM, inject=stuck_value),
    Fault(kind="unit change", causes=_UPSTREAM, inject=unit_change),
    Fault(kind="column swap", causes=_UPSTREAM, inject=column_swap),
    Fault(kind="column rotation", causes=_UPSTREAM, inject=rotation),
    Fault(kind="changed encoding", causes=_UPSTREAM, inject=changed_encoding),
    Fault(kind="truncated strings", causes=_UPSTREAM, inject=truncated_text),
    Fault(kind="type change", causes=_UPSTREAM, inject=type_change),
    Fault(
        kind="release bug, baseline arm",
        causes=_RELEASE,
        acts=_ROLLBACK,
        error_rates=(0.002, 0.2),
        is_release=True,
        has_arm=True,
    ),
    Fault(kind="gross release bug, no arm", causes=_RELEASE, acts=_ROLLBACK, error_rates=(0.002, 0.7), is_release=True),
    Fault(kind="population shift", causes=frozenset({Cause.POPULATION}), acts=_RETRAIN, inject=large_population_shift),
    Fault(kind="small population shift", causes=frozenset({Cause.POPULATION_BENIGN}), inject=small_population_shift),
    Fault(kind="errors without release", causes=frozenset({Cause.UNKNOWN}), error_rates=(0.002, 0.2)),
    Fault(kind="concept, without labels", causes=_ABSTAINED, identifiable=False),
    Fault(
        kind="concept, with labels",
        causes=frozenset({Cause.CONCEPT}),
        acts=_RETRAIN,
        inject=concept_change,
        is_labelled=True,
    ),
    Fault(
        kind="population shift, with labels",
        causes=frozenset({Cause.POPULATION}),
        acts=_RETRAIN,
        inject=large_population_shift,
        is_labelled=True,
    ),
    Fault(kind="nothing, with labels", causes=frozenset({Cause.NONE}), is_labelled=True),
)
