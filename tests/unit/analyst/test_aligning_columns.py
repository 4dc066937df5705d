"""What each way of sending columns comes to, and what is counted of misfits."""

import math
from typing import Any

import numpy as np
import pytest

from onguard.profile import Feature, Kind
from onguard.spec import Redact, Redaction
from onguard_sidecar.analyst.align import Aligned, Columns
from onguard_sidecar.decoding import rows
from onguard_sidecar.decoding.batch import Batch, Reason, Undecodable
from tests.unit.analyst.references import categorical, numeric

FEATURES = (numeric("age"), numeric("spend"), categorical("city"))
NAN, INF = math.nan, math.inf


def align(data: list[Any], *redact: Redact, features: tuple[Feature, ...] = FEATURES) -> Aligned | Undecodable:
    batch = rows.of_rows(data)
    assert isinstance(batch, Batch)
    return Columns(features, redact, b"key").align(batch)


@pytest.mark.parametrize("copies", [1, 40])
@pytest.mark.parametrize(
    ("row", "cells", "missing", "extra", "coerced"),
    [
        ({"age": 31, "spend": 1.5, "city": "b"}, [31, 1.5, 1], 0, 0, 0),
        ({"city": "b", "spend": 1.5, "age": 31}, [31, 1.5, 1], 0, 0, 0),
        ({"age": 31, "city": "b"}, [31, NAN, 1], 1, 0, 0),
        ({"age": 31, "spend": 1, "city": "a", "x": 3}, [31, 1, 0], 0, 1, 0),
        ({"age": "31", "spend": " 1.5 ", "city": "a"}, [31, 1.5, 0], 0, 0, 2),
        ({"age": True, "spend": 1, "city": "a"}, [1, 1, 0], 0, 0, 1),
        ({"age": None, "spend": NAN, "city": None}, [NAN, NAN, NAN], 0, 0, 0),
        ({"age": "thirty", "spend": [1, 2], "city": {}}, [INF, INF, INF], 0, 0, 2),
        ({"age": "", "spend": "nan", "city": ""}, [NAN, NAN, 2], 0, 0, 2),
        ({"age": 10**400, "spend": "1_000", "city": 7}, [INF, INF, 2], 0, 0, 1),
        ({"age": INF, "spend": -INF, "city": "ü☃"}, [INF, -INF, 2], 0, 0, 0),
        ([31, 1.5, "b"], [31, 1.5, 1], 0, 0, 0),
        (["31", None, True], [31, NAN, 2], 0, 0, 1),
    ],
)
def test_a_row_comes_to_these_cells(
    row: Any, cells: list[float], missing: int, extra: int, coerced: int, copies: int
) -> None:
    aligned = align([row] * copies)
    assert isinstance(aligned, Aligned)
    np.testing.assert_array_equal(aligned.cells, np.array([cells] * copies))
    assert (aligned.missing, aligned.extra, aligned.coerced) == (missing, extra, coerced)


@pytest.mark.parametrize("copies", [1, 40])
@pytest.mark.parametrize(
    "row",
    [
        [1, 2],
        [1, 2, "a", 4],
        5.0,
        {"x": 1},
        {"x": 1, "y": 2, "z": 3},
        {"x": [1, 2]},
        {"x": [[1, 2, 3]]},
        {"x": {"y": 1}},
    ],
)
def test_what_cannot_be_these_columns_is_a_mismatch(row: Any, copies: int) -> None:
    assert align([row] * copies) == Undecodable(Reason.MISMATCH)


@pytest.mark.parametrize("copies", [1, 40])
def test_the_one_tensor_of_a_signature_goes_by_position(copies: int) -> None:
    aligned = align([{"dense_input": [1, 2, "b"]}] * copies)
    assert isinstance(aligned, Aligned)
    assert aligned.cells.tolist() == [[1, 2, 1]] * copies


@pytest.mark.parametrize("copies", [1, 40])
def test_a_single_column_of_another_name_is_the_single_feature(copies: int) -> None:
    aligned = align([{"predict": 4}] * copies, features=(numeric("score"),))
    assert isinstance(aligned, Aligned)
    assert aligned.cells.tolist() == [[4]] * copies


def test_a_matrix_of_numbers_is_read_for_categories_too() -> None:
    columns = Columns((numeric("x"), categorical("code", ("1", "2"))), (), b"k")
    aligned = columns.align(Batch(3, None, np.array([[5.0, 2.0], [NAN, NAN], [1.0, 2.5]])))
    assert isinstance(aligned, Aligned)
    np.testing.assert_array_equal(aligned.cells, [[5, 1], [NAN, NAN], [1, 2]])


def test_one_row_of_tensors_is_not_coerced() -> None:
    batch = Batch(1, ("age", "spend"), (np.array([3.0]), np.array([4.0])))
    aligned = Columns(FEATURES[:2], (), b"k").align(batch)
    assert isinstance(aligned, Aligned)
    assert (aligned.cells.tolist(), aligned.coerced) == ([[3.0, 4.0]], 0)


class TestRedaction:
    def test_a_dropped_field_is_in_no_matrix_but_keeps_its_position(self) -> None:
        aligned = align([[31, 1.5, "b"]], Redact(field="spend"))
        assert isinstance(aligned, Aligned)
        assert aligned.cells.tolist() == [[31, 1]]
        assert Columns(FEATURES, (Redact(field="spend"),), b"k").kept == ("age", "city")

    def test_a_field_that_is_dropped_and_not_sent_is_not_missing(self) -> None:
        aligned = align([{"age": 31, "city": "b"}], Redact(field="spend"))
        assert isinstance(aligned, Aligned)
        assert aligned.missing == 0

    def test_a_hashed_category_is_compared_by_its_hash(self) -> None:
        plain, hashed = align([["31", 1, "b"]]), align([["31", 1, "b"]], Redact(field="city", how=Redaction.HASH))
        assert isinstance(plain, Aligned)
        assert isinstance(hashed, Aligned)
        assert plain.cells.tolist() == hashed.cells.tolist()

    def test_a_hashed_number_has_no_order_and_is_dropped(self) -> None:
        assert Columns(FEATURES, (Redact(field="age", how=Redaction.HASH),), b"k").kept == ("spend", "city")


def test_dates_and_texts_have_cells_of_their_own() -> None:
    when = Feature(name="when", kind=Kind.DATETIME, counts=(0,) * 5, numeric=numeric("x").numeric)
    text = Feature(name="text", kind=Kind.TEXT, counts=(0,) * 5, numeric=numeric("x").numeric)
    aligned = align([["1970-01-02", "four"], [7, None]], features=(when, text))
    assert isinstance(aligned, Aligned)
    np.testing.assert_array_equal(aligned.cells, [[86400, 4], [7, NAN]])
