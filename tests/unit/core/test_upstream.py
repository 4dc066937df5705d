"""Faults of the data's way that look like drift, and drift that must not be taken for one."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from onguard import binning, building, columns, upstream
from onguard.counts import SUM_SCALE, Counts
from onguard.profile import MAX_ATOMS, Profile
from onguard.reference_sums import standardised
from onguard.upstream import Kind

Floats = npt.NDArray[np.float64]
NAMES = ("age", "income", "visits", "balance")


def customers(seed: int, rows: int) -> Floats:
    """Four columns of different scales; income depends on age."""
    rng = np.random.default_rng(seed)
    age = np.round(rng.normal(45, 12, rows))
    income = age * 900 + rng.normal(0, 6000, rows)
    return np.stack([age, income, rng.poisson(3, rows).astype(np.float64), rng.normal(0, 1, rows)], axis=1)


@pytest.fixture(scope="module")
def profile() -> Profile:
    table = customers(1, 20_000)
    made = [columns.of_numbers(name, table[:, i]) for i, name in enumerate(NAMES)]
    return building.build(made, building.Plan(seed=2))


def counted(profile: Profile, rows: Floats) -> Counts:
    """Counts of rows, one request each, made with the reference's own functions."""
    counts = Counts.zero(profile)
    z = []
    for i, feature in enumerate(profile.features):
        values = rows[:, i]
        bins = binning.bin_numeric(feature, values)
        counts.bins[profile.layout.block(i)] += np.bincount(bins, minlength=feature.size)
        np.add.at(counts.exponents[i], binning.exponent_cells(values), 1)
        numeric = feature.numeric
        assert numeric is not None
        found = binning.atom_counts(numeric.atoms, values)
        own = len(numeric.atoms)
        counts.atoms[i, :own] = found[:own]
        counts.atoms[i, MAX_ATOMS:] = found[own:]
        counts.repeats[i] = np.count_nonzero(values[1:] == values[:-1])
        z.append(standardised(values, numeric.mean, numeric.sd))
        counts.clipped[i] = np.round(np.array([z[-1].sum(), np.square(z[-1]).sum()]) * SUM_SCALE)
    counts.products[:] = np.round(np.stack(z) @ np.stack(z).T * SUM_SCALE)
    return dataclasses.replace(counts, rows=len(rows))


def stuck(rows: Floats) -> Floats:
    rows[:, 1] = rows[0, 1]
    return rows


def defaulted(rows: Floats) -> Floats:
    rows[::3, 3] = 0.0
    return rows


def defaulted_in_range(rows: Floats) -> Floats:
    rows[::4, 2] = 0.0
    return rows


def scaled(rows: Floats) -> Floats:
    rows[:, 3] /= 1000
    return rows


def in_feet(rows: Floats) -> Floats:
    rows[:, 1] *= 3.28084
    return rows


def swapped(rows: Floats) -> Floats:
    return rows[:, [0, 1, 3, 2]]


def rotated(rows: Floats) -> Floats:
    return np.roll(rows, 1, axis=1)


@pytest.mark.parametrize(
    ("fault", "kind", "names"),
    [
        (stuck, Kind.STUCK, {"income"}),
        (defaulted, Kind.DEFAULT, {"balance"}),
        (defaulted_in_range, Kind.DEFAULT, {"visits"}),
        (scaled, Kind.SCALED, {"balance"}),
        (in_feet, Kind.SCALED, {"income"}),
        (swapped, Kind.EXCHANGED, {"visits", "balance"}),
        (rotated, Kind.EXCHANGED, set(NAMES)),
    ],
)
def test_a_fault_is_named_with_its_columns(profile: Profile, fault, kind: Kind, names: set[str]) -> None:  # type: ignore[no-untyped-def]
    found = upstream.explain(profile, counted(profile, fault(customers(3, 1500))))
    assert [(f.kind, set(f.features)) for f in found] == [(kind, names)]
    assert all(name in found[0].text for name in names)


def older(rows: Floats) -> Floats:
    rows[:, 0] += 6
    return rows


def richer(rows: Floats) -> Floats:
    return rows[rows[:, 1] > np.median(rows[:, 1])]


def busier(rows: Floats) -> Floats:
    rows[:, 2] += np.random.default_rng(5).poisson(2, len(rows))
    return rows


def test_a_value_that_most_had_before_may_become_more_frequent() -> None:
    rng = np.random.default_rng(4)
    made = [columns.of_numbers("flag", np.where(rng.random(5000) < 0.8, 0.0, rng.integers(1, 9, 5000)))]
    mostly = building.build(made, building.Plan(seed=1))
    rows = np.where(rng.random(2000) < 0.93, 0.0, rng.integers(1, 9, 2000))[:, None]
    assert upstream.explain(mostly, counted(mostly, rows)) == ()


@pytest.mark.parametrize("change", [lambda rows: rows, older, richer, busier])
@pytest.mark.parametrize("seed", range(10))
def test_a_new_population_is_not_taken_for_a_fault(profile: Profile, change, seed: int) -> None:  # type: ignore[no-untyped-def]
    rows = change(customers(100 + seed, 2000))
    assert upstream.explain(profile, counted(profile, rows)) == ()


def test_too_few_rows_explain_nothing(profile: Profile) -> None:
    rows = stuck(customers(3, upstream.LEAST_ROWS - 1))
    assert upstream.explain(profile, counted(profile, rows)) == ()


def test_no_rows_and_no_moments_are_no_fault(profile: Profile) -> None:
    assert upstream.explain(profile, Counts.zero(profile)) == ()
    column = columns.of_names("town", np.arange(400) % 3, ("a", "b", "c"))
    named = building.build([column], building.Plan())
    counts = dataclasses.replace(Counts.zero(named), rows=5000)
    counts.bins[0] = 5000
    assert upstream.explain(named, counts) == ()
