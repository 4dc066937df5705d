"""
Columns -> Profile: how a reference is made from a file. Pure; the randomness is a seed.

A random 10 % of the rows (at most 50,000) chooses edges, ranges, categories, atoms and bases, the other 90 % are
counted: so the counted rows are an independent sample of the bins, and their limits hold. Identifiers and clocks keep
nothing but how often they are there and readable.
"""

import dataclasses
import difflib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard import binning, reference_sums
from onguard.calibrating import calibration, truth
from onguard.columns import Column, Floats, Ints, codes_of, numbers_of, rows_of, with_role
from onguard.profile import (
    MAX_ATOMS,
    SENTINELS,
    Feature,
    Group,
    Kind,
    Numeric,
    Profile,
    ProfileError,
    Role,
)

Mask = npt.NDArray[np.bool_]

QUANTILES: Final = 20
MAX_CATEGORIES: Final = 50
MIN_CATEGORY_ROWS: Final = 5
"""A name that fewer rows of the file have may be somebody's own: it is counted as other and does not leave the file."""
MAX_NAME: Final = 200
"""Longer names are counted as other: they are no categories."""
EDGE_SHARE: Final = 0.1
EDGE_ROWS: Final = (200, 50_000)
"""At least so many rows choose the edges, unless that is over half of the file; at most so many."""
MIN_ROWS: Final = 40
ATOM_SHARE: Final = 0.01
_ALL: Final = sys.float_info.max
_LARGE: Final = 1e150
"""Squares of larger values are no numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What a person said about the file.

    Attributes:
        outputs: columns that the model answers, of held-out rows.
        label: column with the truth (0 or 1) of held-out rows: it calibrates the first numeric output.
        threshold: the model means the positive class from this score on.
        held_out: column that marks the held-out rows (0 or 1); None: all are. Outputs and calibration are of these.
        roles: roles by column, where the guess is wrong.
        seed: of the split.
        source: where the rows came from, for people.
        created: RFC 3339 time.
    """

    outputs: tuple[str, ...] = ()
    label: str | None = None
    threshold: float = 0.5
    held_out: str | None = None
    roles: Mapping[str, Role] = dataclasses.field(default_factory=dict)
    seed: int = 0
    source: str = ""
    created: str | None = None


def build(
    columns: Sequence[Column],
    plan: Plan,
    *,
    track: Callable[[Sequence[Column]], Iterable[Column]] = iter,
) -> Profile:
    """
    Make a reference.

    Args:
        columns: of equal length.
        plan: what a person said about them.
        track: wraps the iteration over columns, to show progress.

    Raises:
        ProfileError: for too few rows, a column that is not there, or a label that is not binary.

    >>> from onguard.columns import of_numbers
    >>> profile = build([of_numbers("age", np.random.default_rng(1).normal(40, 9, 1000))], Plan(seed=7))
    >>> profile.rows, profile.edge_rows, len(profile.features[0].edges), sum(profile.features[0].counts)
    (800, 200, 19, 800)
    """
    _check(columns, plan)
    columns = [with_role(c, plan.roles[c.name]) if c.name in plan.roles else c for c in columns]
    chooses, held = split(columns[0].rows, plan.seed), _held_out(columns, plan)
    kept = [c for c in columns if c.name not in (plan.label, plan.held_out)]
    features = tuple(_feature(c, chooses, plan, held) for c in track(kept))
    effects = reference_sums.design_effects(kept, features, ~chooses)
    features = tuple(_replace(f, design_effect=e) for f, e in zip(features, effects, strict=True))
    return Profile(
        source=plan.source,
        created=plan.created,
        rows=int(np.count_nonzero(~chooses)),
        edge_rows=int(np.count_nonzero(chooses)),
        design_effect=reference_sums.overall(effects),
        features=features,
        moments=reference_sums.moments(kept, features, ~chooses),
        calibration=calibration(columns, features, ~chooses & held, label=plan.label, threshold=plan.threshold),
        seed=plan.seed,
    )


def bins(inputs: Sequence[Column], outputs: Sequence[Column], *, source: str = "") -> Profile:
    """
    Bins that count nothing yet: every row chooses edges, ranges, categories, atoms and bases.

    Args:
        inputs: columns of equal length.
        outputs: likewise; their length may be another one.
        source: for people.

    Raises:
        ProfileError: for too few rows, or columns that do not fit.

    >>> from onguard.columns import of_numbers
    >>> made = bins([of_numbers("age", np.arange(100.0) % 40)], [])
    >>> made.rows, made.edge_rows, len(made.features[0].edges), sum(made.features[0].counts)
    (0, 100, 19, 0)
    """
    plan = Plan(outputs=tuple(c.name for c in outputs), source=source)
    _check(inputs, Plan())
    chosen = [_feature(c, np.ones(c.rows, np.bool_), plan, np.ones(c.rows, np.bool_)) for c in (*inputs, *outputs)]
    every = np.ones(inputs[0].rows, np.bool_)
    return Profile(
        source=source,
        rows=0,
        edge_rows=inputs[0].rows,
        features=tuple(chosen),
        moments=reference_sums.moments(inputs, chosen[: len(inputs)], every),
    )


def split(rows: int, seed: int) -> Mask:
    """
    The rows that choose the edges.

    >>> int(split(10_000, seed=0).sum()), int(split(100, seed=0).sum())
    (1000, 50)
    """
    least = min(EDGE_ROWS[0], rows // 2)
    chosen = np.random.default_rng(seed).permutation(rows)[: min(max(round(EDGE_SHARE * rows), least), EDGE_ROWS[1])]
    mask = np.zeros(rows, np.bool_)
    mask[chosen] = True
    return mask


def _check(columns: Sequence[Column], plan: Plan) -> None:
    names = [c.name for c in columns]
    if not columns or columns[0].rows < MIN_ROWS:
        raise ProfileError(f"expected at least {MIN_ROWS} rows, got {columns[0].rows if columns else 0}")
    wanted = [
        *plan.outputs,
        *plan.roles,
        *([plan.label] if plan.label else []),
        *([plan.held_out] if plan.held_out else []),
    ]
    for name in wanted:
        if name not in names:
            raise ProfileError(unknown_column(name, names))
    for column in columns:
        if names.count(column.name) > 1 or column.rows != columns[0].rows:
            raise ProfileError(f'expected unique columns of {columns[0].rows} rows - at column "{column.name}"')
    if set(names) <= {*plan.outputs, plan.label, plan.held_out}:
        raise ProfileError("expected at least one input column, got outputs and label only")


def unknown_column(name: str, names: Sequence[str]) -> str:
    """
    What to say of a column that is not there.

    >>> unknown_column("scor", ["age", "score"])
    'expected a column of the file, got "scor"; did you mean "score"?'
    """
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else f"; the file has {', '.join(names[:10])}"
    return f'expected a column of the file, got "{name}"{hint}'


def _held_out(columns: Sequence[Column], plan: Plan) -> Mask:
    if plan.held_out is None:
        return np.ones(columns[0].rows, np.bool_)
    held: Mask = truth(next(c for c in columns if c.name == plan.held_out)) == 1.0
    if plan.outputs and np.count_nonzero(held) < MIN_ROWS:
        got = int(np.count_nonzero(held))
        raise ProfileError(f'expected at least {MIN_ROWS} held-out rows, got {got} - at column "{plan.held_out}"')
    return held


def _feature(column: Column, chooses: Mask, plan: Plan, held: Mask) -> Feature:
    make = _named if column.codes is not None else _ordered
    group = Group.OUTPUT if column.name in plan.outputs else Group.INPUT
    if group is Group.OUTPUT:
        column, chooses = rows_of(column, held), chooses[held]
    blank = Feature(name=column.name, kind=column.kind, role=column.role, group=group, counts=())
    return make(blank, column, chooses)


def _replace(feature: Feature, **changes: object) -> Feature:
    fields = {name: getattr(feature, name) for name in feature.__struct_fields__}
    return Feature(**{**fields, **changes})


def _counts(feature: Feature, bins: Ints) -> tuple[int, ...]:
    return tuple(np.bincount(bins, minlength=feature.size).tolist())


def _named(blank: Feature, column: Column, chooses: Mask) -> Feature:
    codes = codes_of(column)
    shaped = _replace(blank, categories=_categories(column, codes, chooses))
    table = binning.bin_categories(shaped, [*column.names, None])
    return _replace(shaped, counts=_counts(shaped, table[codes[~chooses]]))


def _categories(column: Column, codes: Ints, chooses: Mask) -> tuple[str, ...]:
    """The most frequent names of the rows that choose; a boolean always has both."""
    if column.role in (Role.ID, Role.TIME):
        return ()
    if column.kind is Kind.BOOLEAN:
        return column.names
    known, width = codes >= 0, len(column.names)
    rows = np.bincount(codes[known & chooses], minlength=width)
    is_shared = np.bincount(codes[known], minlength=width) >= MIN_CATEGORY_ROWS
    usable = [i for i in np.flatnonzero((rows > 0) & is_shared).tolist() if len(column.names[i]) <= MAX_NAME]
    usable.sort(key=lambda i: (-rows[i], column.names[i]))
    return tuple(column.names[i] for i in usable[:MAX_CATEGORIES])


def _ordered(blank: Feature, column: Column, chooses: Mask) -> Feature:
    numbers = numbers_of(column)
    known = numbers[chooses & np.isfinite(numbers)]
    counted = numbers[~chooses]
    if column.role in (Role.ID, Role.TIME) or not known.size:
        shaped = _replace(blank, numeric=Numeric(minimum=-_ALL, maximum=_ALL, mean=0.0, sd=0.0))
    else:
        shaped = _replace(blank, edges=edges_of(known), numeric=_numeric(known, counted))
    return _replace(shaped, counts=_counts(shaped, binning.bin_numeric(shaped, counted)))


def edges_of(values: Floats) -> tuple[float, ...]:
    """
    At most 19 inner quantiles: values that occur, without repeats, below the largest, and with room for rounding.

    >>> edges_of(np.array([0.0, 0.0, 1.0, 1.0, 2.0] * 10))
    (0.0, 1.0)
    >>> np.float32(0.1) <= edges_of(np.array([0.1, 0.2]))[0] < 0.1000001
    True
    >>> edges_of(np.ones(9))
    ()
    """
    # Ranks in whole numbers: 0.55 * 100 is a little over 55.
    ranks = -(-np.arange(1, QUANTILES) * values.size // QUANTILES)
    distinct, of = np.unique(values, return_inverse=True)
    at = np.unique(np.sort(of)[np.maximum(ranks, 1) - 1])
    at = at[at < distinct.size - 1]
    loose = distinct[at] + rounding(distinct[at])
    edges = np.where(loose < distinct[at + 1], loose, distinct[at])
    # Adding 0.0 makes one of the two zeros, which JSON would tell apart.
    return tuple((edges + 0.0).tolist())


def rounding(values: Floats) -> Floats:
    """
    How far a value may come back from a client that holds it in 32 bits; whole numbers come back as they are.

    Without it a price of 0.7 would lie on one side of its own edge in a file and on the other in a tensor.
    """
    whole = values == np.floor(values)
    return np.where(whole, 0.0, np.abs(values) * 2.0**-22)


def _numeric(known: Floats, counted: Floats) -> Numeric:
    tame = np.clip(known, -_LARGE, _LARGE)
    mean, sd = float(tame.mean()), float(tame.std())
    finite = counted[np.isfinite(counted)]
    atoms = _atoms(known)
    cells, rows = np.unique(binning.exponent_cells(finite), return_counts=True)
    z = reference_sums.standardised(finite, mean, sd)
    return Numeric(
        minimum=max(float(known.min() - rounding(known.min())), -_ALL),
        maximum=min(float(known.max() + rounding(known.max())), _ALL),
        mean=mean,
        sd=sd,
        atoms=atoms,
        atom_counts=binning.atom_counts(atoms, finite),
        exponents=tuple(zip(cells.tolist(), rows.tolist(), strict=True)),
        repeats=int(np.count_nonzero((counted[1:] == counted[:-1]) & np.isfinite(counted[1:]))),
        clipped_sum=round(float(z.sum()), 4),
        clipped_squares=round(float(np.square(z).sum()), 4),
    )


def _atoms(known: Floats) -> tuple[float, ...]:
    values, rows = np.unique(known, return_counts=True)
    often = (rows >= max(2.0, ATOM_SHARE * known.size)) & ~np.isin(values, SENTINELS)
    order = np.argsort(-rows[often], kind="stable")[:MAX_ATOMS]
    return tuple(values[often][order].tolist())
