"""
What a decoder returns: rows in columns, or the reason why there are none.

A column is a float64 vector where everything in it is a number (NaN: missing, an infinity: not a number), else a
list of the JSON values as they came (None: missing). Nothing here keeps the payload alive longer than the Batch.
"""

import dataclasses
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Column = Floats | list[object]

MAX_ROWS: Final = 1 << 16
"""Rows of one payload; more than a capped body can hold at two bytes a value is a hostile shape."""
MAX_COLUMNS: Final = 4096
"""Columns of one payload: above it are images and embeddings, which are not tables."""


class Reason(StrEnum):
    """Why a payload could not be decoded; a closed set, since it is a label and a counter of the ledger."""

    NO_DECODER = "no_decoder"
    """Of no format that is known, or not of the one that was configured."""
    BAD_JSON = "bad_json"
    BAD_SHAPE = "bad_shape"
    """No rows, ragged rows, a tensor whose data do not fill its shape, tensors of unequal length."""
    BAD_UTF8 = "bad_utf8"
    TOO_LARGE = "too_large"
    """Over a limit of copied or expanded bytes, rows or columns."""
    TOO_DEEP = "too_deep"
    """Nested deeper than any table is."""
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    """A content-encoding that is not understood, or a broken one."""
    MISMATCH = "mismatch"
    """Not the reference's columns: rows without names of another width, or no known name among them."""
    RESPONSE = "response"
    """The request was counted; the answer could not be decoded."""
    LOST = "lost"
    """Some of its HTTP/2 connection's bytes are missing or can't be followed: what was under way then."""
    INTERNAL = "internal"
    """An unexpected error of ours; logged once per kind."""


@dataclasses.dataclass(frozen=True, slots=True)
class Undecodable:
    """Not a table; ``reason`` is all that is kept of it."""

    reason: Reason


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """
    Rows of one payload.

    Attributes:
        rows: number of rows, at least 1.
        names: a name for each column; None where the format has none and columns go by position.
        values: a float64 matrix of shape (rows, columns) where all is numeric, else one Column each.
    """

    rows: int
    names: tuple[str, ...] | None
    values: Floats | Sequence[Column]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.values.shape[1] if isinstance(self.values, np.ndarray) else len(self.values)

    def column(self, index: int) -> Column:
        """Column ``index``, a view where the values are a matrix."""
        return self.values[:, index] if isinstance(self.values, np.ndarray) else self.values[index]


Decoded = Batch | Undecodable
