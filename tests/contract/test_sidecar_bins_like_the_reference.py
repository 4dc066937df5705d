"""One binning: the sidecar's search over all features at once agrees with the functions that count a reference."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard import binning
from onguard.counts import Counts
from onguard.profile import Feature, Kind, Numeric, Profile
from onguard_sidecar.analyst.accumulate import Group, unit_shares

EDGES = st.lists(st.floats(-50, 50), max_size=19, unique=True).map(lambda xs: tuple(sorted(xs)))
NUMBERS = st.floats(-60, 60) | st.sampled_from([0.0, -1.0, 999.0, -999.0, 9999.0, math.nan, math.inf, -math.inf, 1e308])


@st.composite
def features(draw: st.DrawFn, name: str) -> Feature:
    edges = draw(EDGES)
    low, high = sorted((draw(st.floats(-50, 50)), draw(st.floats(-50, 50))))
    atoms = tuple(draw(st.lists(st.sampled_from([0.0, 1.0, 7.5, *edges]), max_size=8, unique=True)))
    numeric = Numeric(minimum=low, maximum=high, mean=0.0, sd=1.0, atoms=atoms)
    return Feature(name=name, kind=Kind.NUMERIC, edges=edges, counts=(0,) * (len(edges) + 5), numeric=numeric)


@settings(max_examples=60, deadline=None)
@given(features("x"), features("y"), st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40), st.data())
def test_every_value_falls_into_the_same_bin(
    x: Feature, y: Feature, rows: list[tuple[float, float]], data: st.DataObject
) -> None:
    town = Feature(name="town", kind=Kind.CATEGORICAL, categories=("Bern", "Chur"), counts=(0,) * 7)
    names = data.draw(st.lists(st.sampled_from(["Bern", "Chur", "Thun", None]), min_size=len(rows), max_size=len(rows)))
    profile = Profile(rows=0, features=(x, town, y))
    counts = Counts.zero(profile)
    codes = [math.nan if name is None else float({"Bern": 0, "Chur": 1}.get(name, 2)) for name in names]
    cells = np.array([(row[0], code, row[1]) for row, code in zip(rows, codes, strict=True)])
    group = Group(profile, ("x", "town", "y"), counts)
    group.add(cells, unit_shares(len(cells)))
    group.flush()
    assert_bins(counts, profile, 1, binning.bin_categories(town, names))
    for index, column in ((0, cells[:, 0]), (2, cells[:, 2])):
        feature = profile.features[index]
        assert feature.numeric is not None
        assert_bins(counts, profile, index, binning.bin_numeric(feature, column))
        own = len(feature.numeric.atoms)
        atoms = binning.atom_counts(feature.numeric.atoms, column)
        assert (*counts.atoms[index][:own], *counts.atoms[index][-5:]) == atoms


def assert_bins(counts: Counts, profile: Profile, index: int, bins: binning.Ints) -> None:
    expected = np.bincount(bins, minlength=profile.features[index].size)
    np.testing.assert_array_equal(counts.bins[profile.layout.block(index)], expected)
