"""What the load generator sends: customers, shifted or with holes on demand, as KServe v1 or v2 bodies. Pure."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from tests.models.customers import FEATURES, NUMERIC, as_rows, draw

DATATYPES: Final = {**dict.fromkeys(NUMERIC, "FP64"), "contract": "BYTES", "autopay": "BOOL"}
BLOCK: Final = 500
"""Customers that are drawn at a time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mix:
    """
    How live customers differ from the reference; the default is not at all.

    Attributes:
        shift: added to a numeric feature.
        missing: share of requests in which a feature is null.
        rows: customers in one request.
        protocol: ``v1`` or ``v2``.
    """

    shift: Mapping[str, float] = dataclasses.field(default_factory=dict)
    missing: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rows: int = 1
    protocol: str = "v1"


def path(model: str, protocol: str) -> str:
    """Where a request of this protocol goes."""
    return f"/v1/models/{model}:predict" if protocol == "v1" else f"/v2/models/{model}/infer"


def encode(rows: list[dict[str, Any]], protocol: str) -> bytes:
    """The request's body."""
    if protocol == "v1":
        return json.dumps({"instances": rows}).encode()
    inputs = [
        {"name": name, "shape": [len(rows)], "datatype": DATATYPES[name], "data": [row[name] for row in rows]}
        for name in FEATURES
    ]
    return json.dumps({"inputs": inputs}).encode()


def customers(rng: np.random.Generator, mix: Mix) -> list[dict[str, Any]]:
    """Draw a block of customers as ``mix`` says."""
    table = draw(rng, BLOCK)
    for name, delta in mix.shift.items():
        table[name] = np.round(table[name] + delta, 2)
    rows = as_rows(table)
    for name, share in mix.missing.items():
        holes = rng.random(BLOCK) < share
        rows = [row | {name: None} if hole else row for row, hole in zip(rows, holes, strict=True)]
    return rows


def bodies(rng: np.random.Generator, mix: Mix) -> Iterator[bytes]:
    """
    Request bodies without end.

    >>> json.loads(next(bodies(np.random.default_rng(0), Mix(missing={"data_gb": 1.0}))))["instances"][0]["data_gb"]

    """
    while True:
        block = customers(rng, mix)
        for start in range(0, BLOCK - mix.rows + 1, mix.rows):
            yield encode(block[start : start + mix.rows], mix.protocol)
