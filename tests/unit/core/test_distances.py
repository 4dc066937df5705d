"""Distances agree with scipy, and pass their critical value as often as they should where nothing moved."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from onguard.distances import chi2, distances, jensen_shannon, kolmogorov_smirnov, pooled, psi, wasserstein
from onguard.profile import Feature, Kind, Numeric


def drawn(seed: int, bins: int = 20) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    law = rng.dirichlet(np.full(bins, 3.0))
    return rng.multinomial(5000, law) + 1.0, rng.multinomial(900, rng.dirichlet(np.full(bins, 3.0))) + 1.0


@pytest.mark.parametrize("seed", range(200))
def test_values_are_those_of_scipy(seed: int) -> None:
    p, q = drawn(seed)
    places, widths = np.cumsum(np.linspace(0.5, 2, 20)), np.linspace(0.5, 2, 20)[1:]
    assert jensen_shannon(p, q).value == pytest.approx(jensenshannon(p, q, base=2), rel=1e-9)
    assert chi2(p, q).value == pytest.approx(stats.chi2_contingency(np.array([p, q]), correction=False)[0], rel=1e-9)
    assert wasserstein(p, q, widths).value == pytest.approx(stats.wasserstein_distance(places, places, p, q), rel=1e-9)
    rows = (np.repeat(np.arange(20), c.astype(int)) for c in (p, q))
    assert kolmogorov_smirnov(p, q).value == pytest.approx(stats.ks_2samp(*rows, method="asymp").statistic, rel=1e-9)
    a, b = ((c + 0.5) / (c + 0.5).sum() for c in (p, q))
    assert psi(p, q).value == pytest.approx(stats.entropy(a, b) + stats.entropy(b, a), rel=1e-9)


@pytest.mark.parametrize(("bins", "n", "rows"), [(10, 200, 10_000), (20, 1000, 10_000), (20, 5000, 5000)])
def test_critical_values_are_passed_as_often_as_stated(bins: int, n: int, rows: int) -> None:
    """Level .05, 1,500 draws: PSI, chi-squared and W1 within .03 to .075, JS to .09 in thin bins, KS conservative."""
    rng, runs = np.random.default_rng(7), 1500
    law, widths = rng.dirichlet(np.full(bins, 5.0)), rng.uniform(0.1, 1, bins - 1)
    hits = np.zeros(5)
    for _ in range(runs):
        p, q = rng.multinomial(rows, law).astype(float), rng.multinomial(n, law).astype(float)
        a, b = pooled(p, q)
        every = (
            psi(a, b, alpha=0.05),
            chi2(a, b, alpha=0.05),
            wasserstein(p, q, widths, alpha=0.05),
            jensen_shannon(a, b, alpha=0.05),
            kolmogorov_smirnov(p, q, alpha=0.05),
        )
        hits += [d.is_significant for d in every]
    rates = hits / runs
    assert np.all((rates[:3] > 0.03) & (rates[:3] < 0.075))
    assert 0.03 < rates[3] < 0.09
    assert rates[4] < 0.05


def test_a_tolerated_index_moves_the_critical_value_by_its_sampling_law() -> None:
    p, q = np.full(20, 500.0), np.full(20, 50.0)
    noise = 1 / 10_000 + 1 / 1000
    expected = noise * stats.ncx2.isf(0.001, 19, 0.02 / noise)
    assert psi(p, q, alpha=0.001, tolerated=0.02).critical == pytest.approx(expected)


def age(counts: tuple[int, ...]) -> Feature:
    numeric = Numeric(minimum=0, maximum=40, mean=20, sd=10)
    return Feature(name="age", kind=Kind.NUMERIC, edges=(10.0, 20.0, 30.0), counts=counts, numeric=numeric)


def test_no_rows_are_no_distance() -> None:
    full, empty = (25, 25, 25, 25, 0, 0, 0, 0), np.zeros(8, np.int64)
    assert distances(age(full), empty) is None
    assert distances(age((0,) * 8), np.array(full)) is None


def test_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match='expected 8 counts for "age"'):
        distances(age((1,) * 8), np.ones(7, np.int64))


def test_an_ordered_feature_has_all_five_and_its_order_leaves_missing_values_out() -> None:
    found = distances(age((250, 250, 250, 250, 0, 0, 0, 0)), np.array([25, 25, 25, 25, 900, 0, 0, 0]))
    assert found is not None
    assert found.ks is not None
    assert found.w1 is not None
    assert (found.ks.value, found.w1.value) == (0.0, 0.0)
    assert found.psi.is_significant


def test_rows_that_depend_on_each_other_count_for_less() -> None:
    live = np.array([400, 200, 200, 200, 0, 0, 0, 0])
    plain = distances(age((250, 250, 250, 250, 0, 0, 0, 0)), live)
    batched = distances(age((250, 250, 250, 250, 0, 0, 0, 0)), live, design_effect=8.0)
    assert plain is not None
    assert batched is not None
    assert batched.chi2.value < plain.chi2.value
    assert batched.psi.critical > plain.psi.critical


@pytest.mark.parametrize("live", [(0, 0, 0, 0, 50, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0, 50), (1, 0, 0, 0, 0, 0, 0, 0)])
@pytest.mark.parametrize(
    "reference", [(100, 0, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0, 100, 0, 0, 0), (25, 25, 25, 25, 0, 0, 0, 0)]
)
def test_degenerate_histograms_have_defined_distances(reference: tuple[int, ...], live: tuple[int, ...]) -> None:
    found = distances(age(reference), np.array(live))
    assert found is not None
    assert all(d is None or (math.isfinite(d.value) and not math.isnan(d.critical)) for d in found)
