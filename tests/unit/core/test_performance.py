"""The change of the error is split exactly, intervals hold what they say, and estimates are true where scores are."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard.building import Plan, build
from onguard.columns import of_names, of_numbers
from onguard.counts import Counts
from onguard.performance import Baseline, Errors, baseline_of, change, estimate, score_rows
from onguard.profile import Kind, Profile, ProfileError, decode_profile, encode_profile

Floats = npt.NDArray[np.float64]
RATES = np.array([0.02, 0.1, 0.3, 0.45, 0.3, 0.15, 0.05, 0.01])
MIX = np.array([0.2, 0.15, 0.1, 0.05, 0.1, 0.1, 0.1, 0.2])
OTHER_MIX = np.array([0.05, 0.1, 0.2, 0.15, 0.2, 0.1, 0.1, 0.1])


def baseline(errors: Errors, *, effect: float = 1.0) -> Baseline:
    edges = np.arange(errors.rows.size - 1, dtype=np.float64)
    return Baseline(edges, errors.thinned(effect), threshold=0.5, effect=effect)


def draw(rng: np.random.Generator, size: int, mix: Floats = MIX, rates: Floats = RATES) -> Errors:
    rows = rng.multinomial(size, mix)
    return Errors(rows.astype(np.float64), rng.binomial(rows, rates).astype(np.float64))


@st.composite
def counted(draw_: st.DrawFn) -> Errors:
    rows = np.array(draw_(st.lists(st.integers(0, 5000), min_size=8, max_size=8).filter(any)), np.float64)
    shares = np.array(draw_(st.lists(st.floats(0, 1), min_size=8, max_size=8)))
    return Errors(rows, np.floor(rows * shares))


@given(counted(), counted(), st.sampled_from([1.0, 4.0]))
def test_the_two_terms_sum_to_the_change(old: Errors, new: Errors, effect: float) -> None:
    found = change(baseline(old, effect=effect), new)
    assert found.by_mix.value + found.at_equal_scores.value == pytest.approx(new.rate - old.rate, abs=5e-6)
    for interval in (found.before, found.now, found.by_mix, found.at_equal_scores):
        assert -1.0 <= interval.low <= interval.value <= interval.high <= 1.0


@given(counted(), counted())
def test_errors_add_and_thin(a: Errors, b: Errors) -> None:
    both = a + b
    assert both.total == a.total + b.total
    thin = both.thinned(3.0)
    assert thin.rate == pytest.approx(both.rate)
    np.testing.assert_allclose(thin.mix, both.mix)


def test_the_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(7)
    worse = np.minimum(RATES + 0.05, 1.0)
    true_mix = float((OTHER_MIX - MIX) @ RATES)
    true_rest = float(OTHER_MIX @ (worse - RATES))
    hits, runs = np.zeros(4), 1500
    for _ in range(runs):
        found = change(baseline(draw(rng, 8000)), draw(rng, 1500, OTHER_MIX, worse))
        truths = (float(MIX @ RATES), float(OTHER_MIX @ worse), true_mix, true_rest)
        intervals = (found.before, found.now, found.by_mix, found.at_equal_scores)
        hits += [i.low <= t <= i.high for i, t in zip(intervals, truths, strict=True)]
    # 0.95 at 1,500 runs: 0.934 to 0.966 at four standard errors is 0.9275 to 0.9725.
    assert np.all((hits / runs > 0.9275) & (hits / runs < 0.9725)), hits / runs


def test_an_estimate_holds_the_error_that_the_labels_show() -> None:
    rng = np.random.default_rng(8)
    hits, runs = 0, 1500
    for _ in range(runs):
        live = draw(rng, 1000, OTHER_MIX)
        found = estimate(baseline(draw(rng, 8000)), live.rows)
        hits += found.error.low <= live.rate <= found.error.high
    assert 0.9275 < hits / runs < 0.9725


def test_more_rows_narrow_an_interval_and_a_design_effect_widens_it() -> None:
    old, new = Errors(1000 * MIX, 1000 * MIX * RATES), Errors(500 * MIX, 500 * MIX * RATES)
    widths = [i.high - i.low for i in (change(baseline(old), new).now, change(baseline(old, effect=9.0), new).now)]
    assert widths[1] > 2.5 * widths[0]
    many = Errors(50_000 * MIX, 50_000 * MIX * RATES)
    assert change(baseline(old), many).now.high - change(baseline(old), many).now.low < widths[0] / 5


@pytest.mark.parametrize(
    ("rows", "wrong"), [([1.0], [2.0]), ([1.0], [-1.0]), ([1.0, 2.0], [1.0]), ([-1.0, 2.0], [-2.0, 1.0])]
)
def test_impossible_counts_are_refused(rows: list[float], wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="each from 0 to the rows"):
        Errors(np.array(rows), np.array(wrong))


def test_nothing_and_other_bins_are_refused() -> None:
    old = baseline(Errors(np.ones(3), np.zeros(3)))
    with pytest.raises(ValueError, match="in 3 score bins, got 0"):
        change(old, Errors(np.zeros(3), np.zeros(3)))
    with pytest.raises(ValueError, match="in 3 score bins, got 2"):
        change(old, Errors(np.ones(2), np.zeros(2)))
    with pytest.raises(ValueError, match="score bins"):
        estimate(old, np.zeros(3))


def scored(seed: int, rows: int, *, days: int = 0, swing: float = 0.0) -> Iterator[tuple[str, Floats]]:
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 5, rows)
    day = np.arange(rows) * max(days, 1) // rows
    moved = np.clip(score + swing * rng.normal(size=max(days, 1))[day], 0, 1)
    yield "x", score + rng.normal(size=rows)
    yield "score", score
    yield "truth", (rng.random(rows) < moved).astype(np.float64)
    if days:
        yield "at", 1.7e9 + day * 86_400.0 + rng.uniform(0, 80_000, rows)


def reference(seed: int, rows: int, *, days: int = 0, swing: float = 0.0, threshold: float = 0.5) -> Profile:
    kinds = {"at": Kind.DATETIME}
    columns = [
        of_numbers(name, values, kind=kinds.get(name, Kind.NUMERIC))
        for name, values in scored(seed, rows, days=days, swing=swing)
    ]
    return build(columns, Plan(outputs=("score",), label="truth", threshold=threshold))


def test_a_reference_counts_its_own_errors() -> None:
    profile = reference(1, 20_000, threshold=0.3)
    found = baseline_of(decode_profile(encode_profile(profile)))
    assert found is not None
    values = dict(scored(1, 20_000))
    all_rows = found.counted(values["score"], values["truth"])
    assert all_rows.rate == pytest.approx(float(((values["score"] >= 0.3) != (values["truth"] > 0)).mean()))
    assert found.errors.rate == pytest.approx(all_rows.rate, abs=0.01)
    assert found.errors.total == profile.rows


def test_days_that_differ_at_equal_scores_are_noticed() -> None:
    steady, swinging = (baseline_of(reference(2, 20_000, days=30, swing=swing)) for swing in (0.0, 0.15))
    assert steady is not None
    assert swinging is not None
    assert steady.effect == 1.0
    assert swinging.effect > 3
    assert swinging.errors.total == pytest.approx(steady.errors.total / swinging.effect)


def test_a_reference_without_labels_has_no_errors() -> None:
    values = dict(scored(3, 1000))
    columns = [of_numbers(name, values[name]) for name in ("x", "score")]
    assert baseline_of(build(columns, Plan(outputs=("score",)))) is None


def test_a_label_needs_a_numeric_output() -> None:
    values = dict(scored(3, 1000))
    names = of_names("answer", np.zeros(1000, np.int64), ("yes",))
    columns = [of_numbers("x", values["x"]), names, of_numbers("truth", values["truth"])]
    with pytest.raises(ProfileError, match="expected a numeric output"):
        build(columns, Plan(outputs=("answer",), label="truth"))


def test_scores_beyond_the_reference_fall_in_the_outermost_bins() -> None:
    profile = reference(4, 5000)
    at = profile.layout.names.index("score")
    bins = np.zeros_like(Counts.zero(profile).bins)
    block = profile.layout.block(at)
    bins[block] = np.arange(1, block.stop - block.start + 1)
    values = profile.features[at].value_bins
    rows, outside = score_rows(profile, bins)
    assert rows.size == values
    assert (rows[0], rows[-1]) == (1 + values + 3, values + values + 4)
    assert outside == pytest.approx((2 * values + 7) / rows.sum())


def test_a_damaged_calibration_is_refused() -> None:
    data = encode_profile(reference(5, 1000))
    damaged = data.replace(b'"wrong":[', b'"wrong":[1,')
    assert damaged != data
    with pytest.raises(ProfileError, match=r"counts from 0 to the bin's rows - at `profile\.calibration`\.wrong"):
        decode_profile(damaged)
