"""
One JSON value -> one float64 cell, as the reference's kind reads it.

A cell is a number or the index of a category. NaN is ``missing``, an infinity is ``unparseable``; both are bins.
"""

import datetime as dt
import math
from collections.abc import Callable, Mapping
from typing import Final

from onguard.binning import label

MISSING: Final = math.nan
UNPARSEABLE: Final = math.inf

Cell = Callable[[object], float]


def number(value: object) -> float:
    """
    A numeric feature's cell. A number written as a string is that number; a client may send either.

    >>> number(3), number("3.5"), number(True), number(None), number(" "), number("three"), number([1]), number([1, 2])
    (3.0, 3.5, 1.0, nan, nan, inf, 1.0, inf)
    """
    if isinstance(value, float):
        return value
    if value is None:
        return MISSING
    if isinstance(value, int):
        return _float(value)
    if isinstance(value, str):
        return _parsed(value)
    return number(value[0]) if isinstance(value, list) and _is_single(value) else UNPARSEABLE


def _is_single(value: list[object]) -> bool:
    """
    Whether it is a tensor's row of shape (1,), which is the value in it.

    >>> _is_single([3]), _is_single([]), _is_single([[3]])
    (True, False, False)
    """
    return len(value) == 1 and not isinstance(value[0], list | dict)


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return UNPARSEABLE


def _parsed(text: str) -> float:
    text = text.strip()
    if not text:
        return MISSING
    try:
        return UNPARSEABLE if "_" in text else float(text)
    except ValueError:
        return UNPARSEABLE


def instant(value: object) -> float:
    """
    A datetime feature's cell in seconds since 1970: a number as it is, an ISO 8601 text with UTC as default zone.

    >>> instant("1970-01-02T00:00:00Z"), instant(86400), instant("soon")
    (86400.0, 86400.0, inf)
    """
    if not isinstance(value, str) or not value.strip():
        return number(value)
    try:
        moment = dt.datetime.fromisoformat(value.strip())
    except ValueError:
        return number(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()


def length(value: object) -> float:
    """
    A text feature's cell: its length in characters.

    >>> length("abc"), length(None), length(3)
    (3.0, nan, inf)
    """
    if value is None:
        return MISSING
    return float(len(value)) if isinstance(value, str) else UNPARSEABLE


def truth(name: str) -> str:
    """
    A boolean's label where a client writes it as a number or with a capital.

    >>> truth("1"), truth("False"), truth("true"), truth("maybe")
    ('true', 'false', 'true', 'maybe')
    """
    lowered = name.lower()
    return {"1": "true", "0": "false"}.get(lowered, lowered)


def category(codes: Mapping[str, int], *, key: Callable[[str], str] = str) -> Cell:
    """
    The cell of a categorical feature: the index of the category, ``len(codes)`` for any other.

    Args:
        codes: index of each category, under ``key``.
        key: applied to every value before it is looked up, such as a keyed hash.

    >>> cell = category({"a": 0, "b": 1})
    >>> cell("b"), cell("z"), cell(None), cell([])
    (1.0, 2.0, nan, inf)
    """
    other = len(codes)

    def cell(value: object) -> float:
        if value is None or value != value:
            return MISSING
        name = label(value)
        if name is not None:
            return float(codes.get(key(name), other))
        return cell(value[0]) if isinstance(value, list) and _is_single(value) else UNPARSEABLE

    return cell
