"""What a pod proposes as bins after its first requests: kinds, names, order, bounds, and no redacted value."""

import gzip
import json

import numpy as np
import pytest

from onguard.profile import Group, Kind, Profile, Role, decode_profile
from onguard.sidecar_config import SidecarConfig
from onguard.sidecar_config import Survey as Wanted
from onguard.spec import Redact, Redaction
from onguard_sidecar.analyst.analysis import Analysis
from onguard_sidecar.analyst.survey import MOST_CELLS, Survey
from onguard_sidecar.decoding.batch import Batch
from onguard_sidecar.exchange import Exchange

WANTED = Wanted(attempt=1, requests=200)


def proposed(survey: Survey) -> Profile:
    assert survey.said.profile_json, survey.said.error
    return decode_profile(gzip.decompress(survey.said.profile_json))


def fed(rows, *, redact=(), requests=200) -> Survey:
    """A survey of one row a request; ``rows`` gives the columns of the i-th."""
    survey = Survey(Wanted(attempt=1, requests=requests), redact)
    for i in range(requests):
        row = rows(i)
        survey.outputs(Batch(1, None, np.array([[i / requests]])))
        survey.inputs(Batch(1, tuple(row), [[value] for value in row.values()]))
    return survey


KINDS = [
    (lambda i: i % 50, Kind.NUMERIC, Role.FEATURE),
    (lambda i: i / 7, Kind.NUMERIC, Role.FEATURE),
    (lambda i: str(i % 50), Kind.NUMERIC, Role.FEATURE),
    (lambda i: i % 3 == 0, Kind.BOOLEAN, Role.FEATURE),
    (lambda i: ("Bern", "Chur")[i % 2], Kind.CATEGORICAL, Role.FEATURE),
    (lambda i: [i % 50], Kind.NUMERIC, Role.FEATURE),
    (lambda i: f"u-{i}", Kind.CATEGORICAL, Role.ID),
    (lambda i: f"2026-01-{1 + i % 28:02}T00:00:{i % 60:02}Z", Kind.DATETIME, Role.TIME),
    (lambda i: "word " * (3 + i), Kind.TEXT, Role.TEXT),
    (lambda i: None if i % 4 else i, Kind.NUMERIC, Role.FEATURE),
]


@pytest.mark.parametrize(("value", "kind", "role"), KINDS)
def test_a_column_of_json_values_gets_the_kind_that_a_file_of_them_would_have(value, kind, role) -> None:
    made = proposed(fed(lambda i: {"a": value(i)}))
    feature = made.features[0]
    assert (feature.name, feature.kind, feature.role, feature.group) == ("a", kind, role, Group.INPUT)
    assert not made.is_counted
    assert sum(feature.counts) == 0


def test_a_name_that_few_requests_have_does_not_leave_the_pod() -> None:
    made = proposed(fed(lambda i: {"town": "Mrs Miller" if i == 7 else ("Bern", "Chur")[i % 2]}))
    assert made.features[0].categories == ("Bern", "Chur")


@pytest.mark.parametrize("how", list(Redaction))
def test_a_redacted_field_is_not_looked_at(how) -> None:
    survey = fed(lambda i: {"age": i % 50, "email": "a@b.c"}, redact=[Redact(field="email", how=how)])
    assert [f.name for f in proposed(survey).inputs] == ["age"]
    assert b"a@b.c" not in gzip.decompress(survey.said.profile_json)


def test_outputs_are_numbered_where_they_have_no_name_and_left_out_where_names_clash() -> None:
    assert [f.name for f in proposed(fed(lambda i: {"age": i % 50})).outputs] == ["y0"]
    assert proposed(fed(lambda i: {"y0": i % 50})).outputs == ()


def test_a_column_that_comes_later_was_missing_before() -> None:
    made = proposed(fed(lambda i: {"a": i % 50} if i < 100 else {"b": i % 50, "a": i % 50}))
    assert [f.name for f in made.inputs] == ["a", "b"]


def test_too_few_rows_for_bins_are_said_and_not_tried_again() -> None:
    survey = fed(lambda i: {"a": i}, requests=20)
    assert "expected at least 40 rows" in survey.said.error
    assert not survey.is_open


def test_memory_is_bounded_whatever_names_clients_invent() -> None:
    survey = Survey(Wanted(attempt=1, requests=100_000), ())
    for i in range(3000):
        survey.inputs(Batch(1, (f"c{i}",), [[1.0]]))
    assert survey._inputs._count * len(survey._inputs._columns) <= MOST_CELLS


def test_an_analysis_without_a_reference_feeds_the_survey_and_one_with_it_goes_on_counting() -> None:
    survey = Survey(WANTED, ())
    first = Analysis(SidecarConfig(model="m"), None, b"k")
    first.survey = survey
    send(first, 0, 200)
    made = proposed(survey)
    assert [f.name for f in made.features] == ["x0", "x1", "y0"]
    assert made.edge_rows == 200
    second = Analysis(SidecarConfig(model="m"), made, b"k")
    second.survey = Survey(Wanted(attempt=2, requests=200), ())
    send(second, 200, 300)
    send(second, 500, 300)
    counts = second.counts()
    assert counts is not None
    assert counts.rows == 600
    assert int(counts.bins.sum()) == 3 * 600, "inputs and outputs of each row, by either way"
    assert second.survey.said.requests == 200


def send(analysis: Analysis, start: int, count: int) -> None:
    for i in range(start, start + count):
        body = json.dumps({"instances": [[i % 40 + 0.5, i % 17]]}).encode()
        exchange = Exchange(
            request_head=b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Type: application/json\r\n\r\n",
            request_body=body,
            response_head=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n",
            response_body=json.dumps({"predictions": [i % 10 / 10]}).encode(),
            connection=1,
            number=i,
            started_ns=0,
            ttfb_ns=1,
            duration_ns=1,
            status=200,
            flags=0,
            gap_ns=0,
            chunks=1,
        )
        assert analysis.take(exchange, now=float(100 * i)) == "analysed"
