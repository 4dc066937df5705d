"""Bins, atoms, exponents, repeats and moments against a slow and obvious count of the same rows."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard import contract
from onguard.counts import ATOM_CELLS, SUM_SCALE, Counts
from onguard.profile import EXPONENT_CELLS, EXPONENT_LIMIT, MAX_ATOMS, SENTINELS, Feature, Profile
from onguard_sidecar.analyst.accumulate import Group, unit_shares
from tests.unit.analyst.references import CHURN, categorical, numeric, profile

ODD = [0.0, -0.0, 10.0, 20.0, 25.0, 30.0, 40.0, 40.000001, -1e-9, -1.0, 999.0, -999.0, 9999.0, 1e300, -1e300, 5e-324]
VALUES = st.sampled_from([*ODD, math.nan, math.inf, -math.inf]) | st.floats(width=32)
CODES = st.sampled_from([0.0, 1.0, 2.0, math.nan, math.inf])
ROWS = st.lists(st.tuples(VALUES, VALUES, CODES), min_size=1, max_size=12)
NAMES = ("age", "spend", "city")


def count(reference: Profile, names: tuple[str, ...], *batches: Any, weights: Any = None) -> Counts:
    counts = Counts.zero(reference)
    group = Group(reference, names, counts)
    for batch in batches:
        cells = np.array(batch, np.float64)
        group.add(cells, unit_shares(len(cells)) if weights is None else weights)
    group.flush()
    return counts


def bin_of(feature: Feature, x: float) -> int:
    missing, unparseable, below, above = range(feature.value_bins, feature.size)
    if math.isnan(x):
        return missing
    if math.isinf(x):
        return unparseable
    if feature.numeric is None:
        return int(x)
    if x < feature.numeric.minimum:
        return below
    return above if x > feature.numeric.maximum else sum(x > edge for edge in feature.edges)


def exponent_of(x: float) -> int:
    if x == 0:
        return 2 * EXPONENT_LIMIT
    # Squares and square roots of powers of two: exact where floor(2 log2|x|) would round.
    mantissa, exponent = math.frexp(abs(x))
    power = 2 * (exponent - 1) + (mantissa >= math.sqrt(0.5))
    power = max(-EXPONENT_LIMIT, min(EXPONENT_LIMIT - 1, power))
    return 2 * EXPONENT_LIMIT + int(math.copysign(power + EXPONENT_LIMIT + 1, x))


def slow(reference: Profile, rows: list[tuple[float, ...]]) -> Counts:
    counts = Counts.zero(reference)
    for i, name in enumerate(NAMES):
        index = [f.name for f in reference.features].index(name)
        feature, block = reference.features[index], reference.layout.block(index)
        atoms = (
            (*feature.numeric.atoms, *[math.nan] * (MAX_ATOMS - len(feature.numeric.atoms)), *SENTINELS)
            if feature.numeric
            else ()
        )
        before = math.nan
        for x in (row[i] for row in rows):
            counts.bins[block][bin_of(feature, x)] += 1
            if feature.numeric and math.isfinite(x):
                counts.exponents[index, exponent_of(x)] += 1
                counts.atoms[index] += np.array([x == atom for atom in atoms])
                counts.repeats[index] += x == before
            before = x
    return counts


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_rows_are_counted_as_a_plain_loop_counts_them(rows: list[tuple[float, ...]]) -> None:
    fast, plain = count(CHURN, NAMES, rows), slow(CHURN, rows)
    for name in ("bins", "exponents", "atoms", "repeats"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name), err_msg=name)


@settings(max_examples=30, deadline=None)
@given(ROWS, st.integers(0, 11))
def test_it_does_not_matter_how_rows_are_cut_into_batches(rows: list[tuple[float, ...]], cut: int) -> None:
    weights = np.ones(1, np.int64)
    whole = count(CHURN, NAMES, rows, weights=np.ones(len(rows), np.int64))
    halves = [half for half in (rows[:cut], rows[cut:]) if half]
    counts = Counts.zero(CHURN)
    group = Group(CHURN, NAMES, counts)
    for half in halves:
        for row in half:
            group.add(np.array([row]), weights)
        group.flush()
    for name in ("bins", "unit_bins", "exponents", "atoms", "repeats", "clipped", "products"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(counts, name), err_msg=name)


@given(st.integers(1, 5000))
def test_the_weight_of_a_request_is_one_in_all(rows: int) -> None:
    shares = unit_shares(rows)
    assert (len(shares), int(shares.sum())) == (rows, contract.UNIT)
    assert shares.max() - shares.min() <= 1


def test_each_request_adds_one_unit_to_each_feature_whatever_its_rows() -> None:
    one, many = [(1.0, 2.0, 0.0)], [(5.0, math.nan, 1.0)] * 7
    counts = count(CHURN, NAMES, one, many)
    for i in range(3):
        assert counts.unit_bins[CHURN.layout.block(i)].sum() == 2 * contract.UNIT
    assert counts.unit_bins[CHURN.layout.block(1)][-4] == contract.UNIT  # missing, by the second request


def test_a_batch_longer_than_the_buffer_is_counted_whole() -> None:
    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.normal(20, 10, 3000), rng.normal(20, 10, 3000), rng.integers(0, 3, 3000)])
    counts = count(CHURN, NAMES, rows)
    assert counts.bins[CHURN.layout.block(0)].sum() == 3000
    np.testing.assert_array_equal(counts.bins, slow(CHURN, [tuple(row) for row in rows.tolist()]).bins)
    assert counts.unit_bins[CHURN.layout.block(2)].sum() == contract.UNIT


def test_moments_are_sums_of_standardised_values() -> None:
    rng = np.random.default_rng(4)
    rows = np.column_stack([rng.normal(20, 10, 4000), rng.normal(20, 10, 4000), np.zeros(4000)])
    counts = count(CHURN, NAMES, rows)
    z = (rows[:, :2] - 20) / 10
    np.testing.assert_allclose(counts.clipped[:2, 0] / SUM_SCALE, z.sum(axis=0), atol=4000 / 256)
    np.testing.assert_allclose(counts.clipped[:2, 1] / SUM_SCALE, (z**2).sum(axis=0), rtol=1e-3)
    np.testing.assert_allclose(counts.products / SUM_SCALE, z.T @ z, atol=8)


def test_an_outlier_is_clipped_and_a_missing_value_adds_nothing() -> None:
    counts = count(CHURN, NAMES, [(1e30, math.nan, 0.0)])
    assert counts.clipped[0].tolist() == [8 * SUM_SCALE, 64 * SUM_SCALE]
    assert counts.clipped[1].tolist() == [0, 0]
    assert counts.products.tolist() == [[64 * SUM_SCALE, 0], [0, 0]]


def test_a_constant_feature_standardises_to_nothing() -> None:
    constant = numeric("c")
    reference = profile(
        Feature(
            **{f: getattr(constant, f) for f in constant.__struct_fields__}
            | {"numeric": type(constant.numeric)(minimum=5.0, maximum=5.0, mean=5.0, sd=0.0)}
        ),
        moments=("c",),
    )  # type: ignore[arg-type, union-attr, misc]
    counts = count(reference, ("c",), [[5.0], [6.0], [4.0]])
    assert counts.bins.tolist() == [1, 0, 0, 0, 0, 0, 1, 1]
    assert counts.clipped.sum() == 0


@pytest.mark.parametrize("cells", [-1e300, -2.0, -1.0, -0.75, -1e-300, 0.0, 1e-300, 0.75, 1.0, 2.0, 1e300])
def test_every_number_has_an_exponent_cell(cells: float) -> None:
    counts = count(profile(numeric("x")), ("x",), [[cells]])
    assert counts.exponents.sum() == 1
    assert counts.exponents[0].argmax() == exponent_of(cells)
    assert 0 <= exponent_of(cells) < EXPONENT_CELLS


def test_a_group_without_features_counts_nothing_and_does_not_mind() -> None:
    counts = count(profile(numeric("x"), categorical("c")), (), np.empty((3, 0)))
    assert counts.bins.sum() == 0
    assert counts.atoms.shape == (2, ATOM_CELLS)
