"""Columns become a profile that can be read, holds no row, and fits its place."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onguard import binning, columns
from onguard.building import Plan, build, edges_of, split
from onguard.columns import Column, of_flags, of_names, of_numbers, with_role
from onguard.profile import Group, Kind, Profile, ProfileError, Role, decode_profile, encode_profile

RNG = np.random.default_rng(1)


def names(name: str, values: list[str | None]) -> Column:
    distinct = sorted({v for v in values if v is not None})
    return of_names(name, np.array([distinct.index(v) if v is not None else -1 for v in values]), tuple(distinct))


def checked(profile: Profile) -> Profile:
    back = decode_profile(encode_profile(profile))
    assert back == profile
    assert back.hash == profile.hash
    return back


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float64, st.integers(40, 120), elements=st.floats(allow_nan=True, allow_infinity=True, width=64)),
    st.integers(0, 5),
)
def test_any_numbers_make_a_profile_that_can_be_read(values: np.ndarray, seed: int) -> None:
    feature = checked(build([of_numbers("x", values)], Plan(seed=seed))).features[0]
    assert sum(feature.counts) == np.count_nonzero(~split(values.size, seed))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=40, max_size=90))
def test_any_names_make_a_profile_that_can_be_read(values: list[str | None]) -> None:
    checked(build([names("x", values)], Plan()))


@pytest.mark.parametrize(
    ("column", "kind", "role"),
    [
        (of_numbers("age", RNG.normal(40, 9, 500)), Kind.NUMERIC, Role.FEATURE),
        (of_numbers("cents", RNG.integers(0, 10**9, 500).astype(float)), Kind.NUMERIC, Role.FEATURE),
        (of_numbers("customer_id", RNG.permutation(500).astype(float)), Kind.NUMERIC, Role.ID),
        (of_numbers("seq", np.arange(500.0)), Kind.NUMERIC, Role.ID),
        (of_numbers("ts", 1.7e12 + np.arange(500.0) * 6e4), Kind.NUMERIC, Role.TIME),
        (of_numbers("born", np.arange(500.0), kind=Kind.DATETIME), Kind.DATETIME, Role.TIME),
        (of_flags("vip", RNG.integers(0, 2, 500)), Kind.BOOLEAN, Role.FEATURE),
        (names("town", ["Bern", "Chur", None, "Thun"] * 50), Kind.CATEGORICAL, Role.FEATURE),
        (names("token", [f"t{i:04x}" for i in range(500)]), Kind.CATEGORICAL, Role.ID),
        (names("note", [f"the customer wrote {i}" for i in range(500)]), Kind.TEXT, Role.TEXT),
        (names("amount", [str(i % 90) for i in range(495)] + ["n.a."] * 5), Kind.NUMERIC, Role.FEATURE),
        (names("zip", [f"0{i % 90:03}" for i in range(500)]), Kind.CATEGORICAL, Role.FEATURE),
    ],
    ids=lambda value: value.name if isinstance(value, Column) else str(value),
)
def test_kinds_and_roles_are_guessed(column: Column, kind: Kind, role: Role) -> None:
    assert (column.kind, column.role) == (kind, role)
    checked(build([column], Plan()))


def test_a_wrong_guess_is_put_right_by_a_person() -> None:
    ids = of_numbers("customer_id", RNG.permutation(500).astype(float))
    assert build([ids], Plan(roles={"customer_id": Role.FEATURE})).features[0].edges != ()
    with pytest.raises(ProfileError, match="role feature, id or time"):
        with_role(ids, Role.VECTOR)


def test_identifiers_and_clocks_leave_no_value_in_the_profile() -> None:
    secret = [f"user-{i:05}" for i in range(500)]
    profile = build([names("token", secret), of_numbers("ts", 1.7e9 + np.arange(500.0))], Plan())
    text = encode_profile(profile)
    assert b"user-" not in text
    assert b"17000" not in text


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        (np.ones(50), ()),
        (np.array([0.0, 1.0] * 50), (0.0,)),
        (np.arange(1.0, 101.0), tuple(float(i) for i in range(5, 100, 5))),
        (np.array([0.0] * 95 + [7.0] * 5), (0.0,)),
    ],
)
def test_edges_are_values_without_repeats_below_the_largest(values: np.ndarray, edges: tuple[float, ...]) -> None:
    assert edges_of(values) == edges


def test_a_value_stays_in_its_bin_whether_a_client_holds_it_in_32_or_in_64_bits() -> None:
    prices = np.round(RNG.integers(1, 40, 4000) * 0.1, 1)
    for stored in (prices, prices.astype(np.float32).astype(np.float64)):
        feature = build([of_numbers("price", stored)], Plan()).features[0]
        wide, narrow = (binning.bin_numeric(feature, v) for v in (prices, np.float64(np.float32(prices))))
        np.testing.assert_array_equal(wide, narrow)
        assert np.all(wide < feature.value_bins)


def test_a_constant_a_missing_and_a_flag_column_are_described() -> None:
    features = build(
        [
            of_numbers("constant", np.full(100, 3.0)),
            of_numbers("gone", np.full(100, np.nan)),
            of_names("nothing", np.full(100, -1), ()),
            of_flags("flag", np.array([0, 1, -1, 1] * 25)),
        ],
        Plan(),
    ).features
    assert [f.counts for f in features[:3]] == [(50, 0, 0, 0, 0), (0, 50, 0, 0, 0), (0, 50, 0, 0, 0)]
    assert features[3].categories == ("false", "true")
    assert sum(features[3].counts) == 50


def test_at_most_fifty_categories_are_kept_and_long_ones_are_other() -> None:
    values = [f"c{i % 80}" for i in range(4000)] + ["x" * 300] * 40
    feature = build([names("c", values)], Plan()).features[0]
    assert len(feature.categories) == 50
    assert all(len(name) <= 200 for name in feature.categories)
    assert feature.counts[50] > 0


def test_a_name_of_fewer_than_five_rows_stays_in_other() -> None:
    values = ["Bern"] * 1000 + [f"only-{i // 4}@example.com" for i in range(400)] + ["Zug"] * 100
    feature = build([names("c", values)], Plan()).features[0]
    assert feature.categories == ("Bern", "Zug")
    assert feature.counts[2] > 300


def test_the_split_is_a_tenth_at_random_and_the_same_for_the_same_seed() -> None:
    assert [int(split(n, 3).sum()) for n in (40, 400, 10_000, 1_000_000)] == [20, 200, 1000, 50_000]
    np.testing.assert_array_equal(split(10_000, 3), split(10_000, 3))
    assert np.any(split(10_000, 3) != split(10_000, 4))
    values = RNG.normal(size=2000)
    assert build([of_numbers("x", values)], Plan(seed=3)).hash == build([of_numbers("x", values)], Plan(seed=3)).hash


def test_sums_atoms_and_moments_describe_the_counted_rows() -> None:
    x = RNG.normal(10, 2, 4000)
    x[::5] = 7.0
    y = 2 * x + RNG.normal(size=4000)
    profile = checked(build([of_numbers("x", x), of_numbers("y", y)], Plan()))
    numeric, counted = profile.features[0].numeric, x[~split(4000, 0)]
    assert numeric is not None
    assert numeric.atoms == (7.0,)
    assert numeric.atom_counts == (int(np.sum(counted == 7.0)), 0, 0, 0, 0, 0)
    assert numeric.repeats == int(np.sum(counted[1:] == counted[:-1]))
    assert sum(rows for _, rows in numeric.exponents) == counted.size
    z = np.clip((counted - numeric.mean) / numeric.sd, -8, 8)
    assert numeric.clipped_sum == pytest.approx(z.sum(), abs=1e-3)
    assert profile.moments is not None
    assert profile.moments.products[0][0] == pytest.approx(np.mean(z * z), abs=1e-5)
    assert profile.moments.products[0][1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=0.15)


def test_days_that_differ_by_more_than_chance_have_a_design_effect() -> None:
    days = np.repeat(np.arange(30), 200)
    clock = of_numbers("at", 1.7e9 + days * 86_400.0 + RNG.uniform(0, 80_000, days.size), kind=Kind.DATETIME)
    weather = RNG.normal(size=30)[days] + RNG.normal(size=days.size)
    profile = build([clock, of_numbers("steady", RNG.normal(size=days.size)), of_numbers("weather", weather)], Plan())
    steady, varying = (f.design_effect for f in profile.features[1:])
    assert steady == 1.0
    assert varying is not None
    assert varying > 20
    assert build([of_numbers("steady", RNG.normal(size=100))], Plan()).design_effect is None


def test_labels_calibrate_the_first_numeric_output() -> None:
    score = RNG.beta(2, 5, 5000)
    truth = (RNG.random(5000) < score).astype(float)
    plan = Plan(outputs=("score",), label="truth")
    profile = checked(build([of_numbers("x", score + 1), of_numbers("score", score), of_numbers("truth", truth)], plan))
    assert [f.name for f in profile.features] == ["x", "score"]
    assert [f.group for f in profile.features] == [Group.INPUT, Group.OUTPUT]
    calibration = profile.calibration
    assert calibration is not None
    assert sum(calibration.rows) == profile.rows
    predicted = np.array(calibration.score_sums) / np.array(calibration.rows)
    observed = np.array(calibration.positives) / np.array(calibration.rows)
    np.testing.assert_allclose(predicted, observed, atol=0.15)


@pytest.mark.parametrize(
    ("some", "plan", "message"),
    [
        ([], Plan(), "at least 40 rows, got 0"),
        ([of_numbers("x", np.ones(39))], Plan(), "at least 40 rows, got 39"),
        ([of_numbers("x", np.ones(40))], Plan(outputs=("y",)), 'got "y"'),
        ([of_numbers("x", np.ones(40))], Plan(outputs=("x",)), "at least one input column"),
        ([of_numbers("x", np.ones(40)), of_numbers("x", np.ones(40))], Plan(), 'at column "x"'),
        ([of_numbers("x", np.ones(40)), of_numbers("y", np.ones(41))], Plan(), 'at column "y"'),
        (
            [
                of_numbers("x", np.ones(40)),
                of_numbers("s", np.ones(40)),
                of_numbers("t", np.r_[np.ones(30), np.full(10, 2)]),
            ],
            Plan(outputs=("s",), label="t"),
            'at column "t", row 31',
        ),
        ([of_numbers("x", np.ones(40)), of_numbers("t", np.ones(40))], Plan(label="t"), "numeric output beside"),
    ],
)
def test_what_can_not_be_a_reference_is_refused_with_its_place(some: list[Column], plan: Plan, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        build(some, plan)


def test_fifty_features_stay_below_a_hundred_kilobytes() -> None:
    profile = build([of_numbers(f"feature_{i}", RNG.normal(i, i + 1, 20_000)) for i in range(50)], Plan())
    size = len(encode_profile(profile))
    assert size < 100_000
    assert math.isclose(len(msgspec.json.encode(profile)), size, rel_tol=0.02)


def test_a_column_of_neither_numbers_nor_names_is_refused() -> None:
    with pytest.raises(ProfileError, match="neither"):
        columns.Column(name="x", kind=Kind.NUMERIC).present  # noqa: B018
