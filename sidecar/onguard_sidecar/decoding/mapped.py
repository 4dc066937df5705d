"""
Any JSON, by a mapping of JSONPath queries (RFC 9535) to columns.

With ``rows``, each node that it finds is a row, and the columns' queries begin at that node: one that finds nothing is
missing there, one that finds several values is the list of them. Without ``rows``, a column's values are all that its
query finds in the document; columns that find something must agree on how many.

The library is loaded with the first mapping; it costs about 14 MiB.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from onguard.spec import MappedField, PayloadMapping
from onguard_sidecar.decoding import json_text, rows
from onguard_sidecar.decoding.batch import MAX_ROWS, Batch, Column, Decoded, Reason, Undecodable

MAX_VALUES: Final = 64
"""Values of one cell; more are cut, as a cell of several is no scalar anyway."""
_FUNCTIONS: Final = ("match(", "search(")
"""A regular expression over what a client sends could take for ever."""


Find = Callable[[object, int], list[object]]


class MappingError(ValueError):
    """A query is no JSONPath; the text names it."""


class Plan(NamedTuple):
    """One direction, ready to read."""

    rows: Find | None
    columns: Mapping[str, Find]


def requests(mapping: PayloadMapping) -> Callable[[bytes], Decoded]:
    """
    A decoder of requests.

    Raises:
        MappingError: a query can't be used.

    >>> fields = (MappedField(name="age", path="$.age"), MappedField(name="city", path="$.home.city"))
    >>> decode = requests(PayloadMapping(rows="$.people[*]", inputs=fields))
    >>> batch = decode(b'{"people": [{"age": 31, "home": {"city": "Bern"}}, {"age": 40}]}')
    >>> batch.column(0), batch.column(1)
    ([31, 40], ['Bern', None])
    """
    return _decoder(_plan("inputs", mapping.rows, mapping.inputs))


def answers(mapping: PayloadMapping) -> Callable[[bytes], Decoded]:
    """A decoder of answers, likewise."""
    return _decoder(_plan("outputs", mapping.output_rows, mapping.outputs))


def _plan(side: str, row_query: str | None, columns: Sequence[MappedField]) -> Plan:
    found = _compiled(f"the rows of {side}", row_query) if row_query else None
    return Plan(found, {field.name: _compiled(f"{side}.{field.name}", field.path) for field in columns})


def _compiled(where: str, query: str) -> Find:
    import jsonpath_rfc9535 as jsonpath

    if query.count("..") > 1 or any(name in query for name in _FUNCTIONS):
        raise MappingError(f"{where}: expected a JSONPath with at most one '..' and neither match() nor search()")
    try:
        compiled = jsonpath.compile(query)
    except (jsonpath.JSONPathError, ValueError, RecursionError):
        raise MappingError(f'{where}: expected a JSONPath (RFC 9535) such as "$.customer.age", got "{query}"') from None

    def find(document: object, limit: int) -> list[object]:
        if not isinstance(document, dict | list):
            return [document] if query == "$" else []
        return [node.value for node in islice(compiled.finditer(document), limit)]

    return find


def _decoder(plan: Plan) -> Callable[[bytes], Decoded]:
    def decode(body: bytes) -> Decoded:
        document = json_text.loose(body)
        if isinstance(document, Undecodable):
            return document
        if not plan.columns:
            return Undecodable(Reason.NO_DECODER)
        return _read(plan, document)

    return decode


def _read(plan: Plan, document: object) -> Decoded:
    import jsonpath_rfc9535 as jsonpath

    try:
        columns = _by_column(plan, document) if plan.rows is None else _by_row(plan, plan.rows, document)
    except (jsonpath.JSONPathRecursionError, RecursionError):
        return Undecodable(Reason.TOO_DEEP)
    except jsonpath.JSONPathError:
        return Undecodable(Reason.BAD_SHAPE)
    if isinstance(columns, Undecodable):
        return columns
    return Batch(len(next(iter(columns.values()))), tuple(columns), tuple(columns.values()))


def _by_row(plan: Plan, row_query: Find, document: object) -> dict[str, Column] | Undecodable:
    found = row_query(document, MAX_ROWS + 1)
    fault = _fault(len(found))
    if fault:
        return fault
    return {name: rows.column([_cell(find(row, MAX_VALUES)) for row in found]) for name, find in plan.columns.items()}


def _by_column(plan: Plan, document: object) -> dict[str, Column] | Undecodable:
    found = {name: find(document, MAX_ROWS + 1) for name, find in plan.columns.items()}
    count = max(map(len, found.values()))
    fault = _fault(count)
    if fault:
        return fault
    if any(len(values) not in (0, count) for values in found.values()):
        return Undecodable(Reason.BAD_SHAPE)
    return {name: rows.column(values or [None] * count) for name, values in found.items()}


def _fault(count: int) -> Undecodable | None:
    """A document in which no query finds anything is another document than the one that was mapped."""
    if count == 0:
        return Undecodable(Reason.NO_DECODER)
    return Undecodable(Reason.TOO_LARGE) if count > MAX_ROWS else None


def _cell(values: list[object]) -> object:
    if not values:
        return None
    return values[0] if len(values) == 1 else values
