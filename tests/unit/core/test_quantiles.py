"""Quantiles without scipy agree with scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from onguard.quantiles import beta_lower_quantile, chi2_upper_quantile, clopper_pearson, ncx2_upper_quantile


@pytest.mark.parametrize("tail", [0.025, 1e-3, 1e-5, 1e-9])
def test_limits_of_a_share_are_those_of_scipy_up_to_a_million_trials(tail: float) -> None:
    rng = np.random.default_rng(3)
    trials = np.floor(10.0 ** rng.uniform(0, 6, 800))
    successes = np.floor(trials * rng.beta(0.3, 0.3, 800))
    lower, upper = clopper_pearson(successes, trials, tail)
    low = np.where(successes > 0, stats.beta.ppf(tail, successes, trials - successes + 1), 0.0)
    miss = np.where(successes < trials, stats.beta.ppf(tail, trials - successes, successes + 1), 0.0)
    np.testing.assert_allclose(lower, low, rtol=1e-8)
    np.testing.assert_allclose(1.0 - upper, miss, rtol=1e-8, atol=1e-15)


@given(st.floats(0.5, 1e5), st.floats(1.0, 1e6), st.floats(1e-12, 0.05))
def test_a_beta_quantile_of_fractional_shapes_lies_between_its_neighbours(a: float, b: float, p: float) -> None:
    # By the law's own function: scipy's inverse gives up at some corners (Beta(1/2, 2) at 1e-12).
    x = float(beta_lower_quantile(p, a, b))
    assert stats.beta.cdf(x * (1.0 - 1e-7), a, b) < p < stats.beta.cdf(x * (1.0 + 1e-7), a, b)


def test_no_trial_says_nothing() -> None:
    lower, upper = clopper_pearson(np.zeros(1), np.zeros(1), 0.01)
    assert (lower[0], upper[0]) == (0.0, 1.0)


@pytest.mark.parametrize("df", [1, 2, 5, 19, 60, 200, 7.31])
@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-6, 1e-9])
def test_chi_squared_quantiles_agree(df: float, alpha: float) -> None:
    assert chi2_upper_quantile(alpha, df) == pytest.approx(stats.chi2.isf(alpha, df), rel=1e-8)


@pytest.mark.parametrize("nc", [0.0, 0.1, 5.0, 100.0, 1e4])
@pytest.mark.parametrize("df", [1, 19, 60])
@pytest.mark.parametrize("alpha", [0.5, 0.05, 1e-3, 1e-6])
def test_non_central_quantiles_agree(df: int, nc: float, alpha: float) -> None:
    law = stats.ncx2(df, nc) if nc else stats.chi2(df)
    assert ncx2_upper_quantile(alpha, df, nc) == pytest.approx(law.isf(alpha), rel=1e-8)
