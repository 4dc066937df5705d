"""Values that were cut short are told from another population, and no other population is taken for them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onguard import binning, building, columns, shortened
from onguard.profile import Feature

Texts = list[str]
ROWS = 8000


def reference(texts: Texts, *, are_numbers: bool) -> Feature:
    if are_numbers:
        made = columns.of_numbers("code", np.array(texts, float))
    else:
        names = sorted(set(texts))
        made = columns.of_names("code", np.array([names.index(text) for text in texts]), tuple(names))
    return building.build([made], building.Plan(seed=1)).features[0]


def counted(feature: Feature, texts: Texts) -> npt.NDArray[np.int64]:
    if feature.numeric is not None:
        bins = binning.bin_numeric(feature, np.array(texts, float))
    else:
        bins = binning.bin_categories(feature, texts)
    return np.bincount(bins, minlength=feature.size)


def drawn(rng: np.random.Generator, codes: Texts, weights: npt.NDArray[np.float64]) -> Texts:
    return rng.choice(codes, ROWS, p=weights / weights.sum()).tolist()


NUMBERS = [str(code) for code in range(25)]
YEARS = [str(year) for year in range(1960, 2024)]
NAMES = ["A", "AB", "AC", "B", "BA", "C", "CC", "D"]


@pytest.mark.parametrize(
    ("codes", "are_numbers", "length"),
    [(NUMBERS, True, 1), (YEARS, True, 1), (YEARS, True, 2), (YEARS, True, 3), (NAMES, False, 1)],
    ids=["codes", "years to one digit", "years to two", "years to three", "names"],
)
@pytest.mark.parametrize("seed", range(5))
def test_cut_values_are_found_with_their_length(codes: Texts, are_numbers: bool, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2.0, len(codes))
    feature = reference(drawn(rng, codes, weights), are_numbers=are_numbers)
    assert shortened.cut_to(feature, counted(feature, drawn(rng, codes, weights))) is None
    cut = [text[:length] for text in drawn(rng, codes, weights)]
    assert shortened.cut_to(feature, counted(feature, cut)) is not None


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([(NUMBERS, True), (YEARS, True), (NAMES, False)]), st.floats(0.3, 3.0)
)
def test_another_population_is_not_taken_for_cut_values(seed: int, kind: tuple[Texts, bool], spread: float) -> None:
    """Each code's share changes by a factor of its own; long codes stay, as they do where nothing is cut."""
    codes, are_numbers = kind
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2.0, len(codes))
    other = weights * np.exp(rng.normal(0.0, spread, len(codes)))
    long = np.array([len(code) == max(map(len, codes)) for code in codes])
    assume(other[long].sum() / other.sum() > 0.2)
    feature = reference(drawn(rng, codes, weights), are_numbers=are_numbers)
    assert shortened.cut_to(feature, counted(feature, drawn(rng, codes, other))) is None


def test_a_column_of_fractions_or_of_endless_range_is_not_judged() -> None:
    rng = np.random.default_rng(3)
    for values in (
        rng.normal(50.0, 9.0, ROWS),
        np.round(rng.uniform(0, 1e7, ROWS)),
        np.round(rng.normal(0, 9.0, ROWS)),
    ):
        feature = building.build([columns.of_numbers("x", values)], building.Plan(seed=1)).features[0]
        assert shortened.cut_to(feature, counted(feature, [f"{v / 10:g}" for v in values])) is None
