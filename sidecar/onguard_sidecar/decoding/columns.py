"""Column-oriented JSON -> Batch: ``{"age": [31, 40], "x": [[1, 2], [3, 4]]}``, as TF Serving and MLflow have it."""

from collections.abc import Mapping, Sequence

from onguard_sidecar.decoding import rows
from onguard_sidecar.decoding.batch import MAX_COLUMNS, Batch, Column, Decoded, Reason, Undecodable


def of_columns(value: object) -> Decoded:
    """
    An object of columns, or one nameless tensor whose first axis is its rows.

    Each column is a list with a value for each row; of an inner list of k values come k columns ``name[0]`` to
    ``name[k-1]``, and by position if there is no other column. Where all values are scalars there is one row.

    >>> of_columns({"age": [31, 40], "x": [[1, 2], [3, 4]]}).names
    ('age', 'x[0]', 'x[1]')
    >>> of_columns([[1, 2], [3, 4]]).names
    """
    if isinstance(value, list):
        return rows.of_rows(value)
    if not isinstance(value, dict):
        return Undecodable(Reason.BAD_SHAPE)
    if not any(isinstance(column, list) for column in value.values()):
        return rows.of_rows([value])
    if len(value) > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    return _joined(value)


def _joined(columns: Mapping[str, object]) -> Decoded:
    names: list[str] = []
    values: list[Column] = []
    for name, column in columns.items():
        inner = rows.of_rows(column) if isinstance(column, list) else Undecodable(Reason.BAD_SHAPE)
        if isinstance(inner, Undecodable) or inner.names is not None:
            return inner if isinstance(inner, Undecodable) else Undecodable(Reason.BAD_SHAPE)
        if len(columns) == 1 and inner.width > 1:
            return inner
        names += _names(name, inner)
        values += [inner.column(i) for i in range(inner.width)]
    return _checked(names, values)


def _names(name: str, inner: Batch) -> list[str]:
    return [name] if inner.width == 1 else [f"{name}[{i}]" for i in range(inner.width)]


def _checked(names: Sequence[str], values: Sequence[Column]) -> Decoded:
    if len({len(column) for column in values}) != 1:
        return Undecodable(Reason.BAD_SHAPE)
    if len(values) > MAX_COLUMNS:
        return Undecodable(Reason.TOO_LARGE)
    return Batch(len(values[0]), tuple(names), tuple(values))
