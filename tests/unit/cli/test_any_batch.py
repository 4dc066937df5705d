"""Any table of values makes a report or a sentence, never a traceback."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard import batch
from onguard.building import Plan, build
from onguard.cli.cells import Counter, batch_of
from onguard.cli.generating import FromProfile
from onguard.columns import of_names, of_numbers

N = 400


def profile_of(seed=1):
    rng = np.random.default_rng(seed)
    return build(
        [
            of_numbers("x", rng.normal(size=N)),
            of_numbers("constant", np.full(N, 7.0)),
            of_numbers("gone", np.full(N, math.nan)),
            of_numbers("unreadable", np.full(N, math.inf)),
            of_names("town", rng.integers(0, 3, N), ("a", "b", "c")),
            of_numbers("order_id", np.arange(N, dtype=float)),
        ],
        Plan(seed=seed),
    )


PROFILE = profile_of()
NAMES = [f.name for f in PROFILE.features]
VALUES = (st.floats(), st.integers(-(2**62), 2**62), st.text(max_size=5), st.booleans())
COLUMN = st.one_of(*(st.lists(st.one_of(st.none(), values), min_size=3, max_size=3) for values in VALUES))


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from([*NAMES, "extra"]), COLUMN, min_size=1))
def test_any_values_have_a_place(columns):
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    counter = Counter(PROFILE)
    counter.add(batch_of(PROFILE, table).cells)
    counts = counter.total()
    report = batch.judge(PROFILE, counts)
    assert report.rows == 3
    assert all(sum(one.live) == 3 for one in report.features)
    assert all(0 <= f.low <= f.observed <= f.high <= 1 for f in report.found)


def test_a_reference_of_odd_columns_knows_its_own_rows():
    counter = Counter(PROFILE)
    counter.add(FromProfile(PROFILE).draw(5000, np.random.default_rng(3)))
    assert batch.judge(PROFILE, counter.total()).found == ()


@pytest.mark.parametrize("column", ["constant", "gone", "unreadable"])
def test_an_odd_column_that_comes_to_life_is_found(column):
    cells = FromProfile(PROFILE).draw(2000, np.random.default_rng(3))
    cells[:, NAMES.index(column)] = 1.0
    counter = Counter(PROFILE)
    counter.add(cells)
    assert {f.feature for f in batch.judge(PROFILE, counter.total()).found} == {column}


@pytest.mark.parametrize(("alpha", "tolerance"), [(0, 0.01), (1, 0.01), (0.01, -0.1), (0.01, 1), (math.nan, 0.1)])
def test_levels_that_are_none_are_refused(alpha, tolerance):
    counter = Counter(PROFILE)
    counter.add(np.zeros((1, len(NAMES))))
    with pytest.raises(ValueError, match="expected alpha"):
        batch.judge(PROFILE, counter.total(), alpha=alpha, tolerance=tolerance)


def test_a_larger_batch_sees_smaller_shifts():
    found = []
    for n in (200, 2000, 20_000):
        cells = FromProfile(PROFILE).draw(n, np.random.default_rng(5))
        cells[:, 0] += 0.4
        counter = Counter(PROFILE)
        counter.add(cells)
        found.append(len(batch.judge(PROFILE, counter.total()).found))
    assert found == sorted(found)
    assert found[-1] > 0
