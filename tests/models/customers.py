"""
The sample data: customers of a phone company, drawn with a seed. Synthetic, and said so.

A public table would be nicer to look at, but those that packages ship have a few hundred rows, and a reference of
a few hundred rows cannot show a shift below ten points. Drawn rows also make the null hypothesis true by
construction: what the load generator sends has exactly the reference's distribution until it is told to shift.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Table = dict[str, npt.NDArray[Any]]

NUMERIC: Final = ("tenure_months", "monthly_charge", "support_calls", "data_gb")
CONTRACTS: Final = ("monthly", "yearly", "two-year")
FEATURES: Final = (*NUMERIC, "contract", "autopay")
TARGET: Final = "churned"
MISSING_DATA_GB: Final = 0.02
"""Share of customers whose usage is not known, in the reference as in live traffic."""


def draw(rng: np.random.Generator, rows: int) -> Table:
    """
    Draw ``rows`` customers with their label.

    Returns:
        Columns of length ``rows``; ``data_gb`` is NaN where it is missing.

    >>> table = draw(np.random.default_rng(1), 3)
    >>> sorted(table) == sorted((*FEATURES, TARGET)), len(table["contract"])
    (True, 3)
    """
    table: Table = {
        "tenure_months": np.round(np.minimum(rng.gamma(2.0, 14.0, rows), 120.0), 1),
        "monthly_charge": np.round(np.clip(rng.normal(60.0, 18.0, rows), 10.0, 140.0), 2),
        "support_calls": rng.poisson(1.3, rows).astype(np.float64),
        "data_gb": np.round(rng.lognormal(2.0, 0.7, rows), 2),
        "contract": rng.choice(CONTRACTS, rows, p=(0.55, 0.30, 0.15)),
        "autopay": rng.random(rows) < 0.6,
    }
    table["data_gb"][rng.random(rows) < MISSING_DATA_GB] = np.nan
    table[TARGET] = rng.random(rows) < _chance_of_leaving(table)
    return table


def _chance_of_leaving(table: Table) -> npt.NDArray[np.float64]:
    gigabytes = np.nan_to_num(table["data_gb"], nan=7.4)
    score = (
        -0.9
        - 0.045 * (table["tenure_months"] - 28.0)
        + 0.030 * (table["monthly_charge"] - 60.0)
        + 0.45 * (table["support_calls"] - 1.3)
        - 0.020 * (gigabytes - 9.4)
        + 0.9 * (table["contract"] == "monthly")
        - 0.6 * table["autopay"]
    )
    return 1.0 / (1.0 + np.exp(-score))


def as_rows(table: Table) -> list[dict[str, Any]]:
    """
    One JSON-ready object a customer, without the label; a missing value is ``None``.

    >>> as_rows({"data_gb": np.array([1.5, np.nan]), "contract": np.array(["yearly", "monthly"])})
    [{'data_gb': 1.5, 'contract': 'yearly'}, {'data_gb': None, 'contract': 'monthly'}]
    """
    columns = {name: [_plain(v) for v in table[name].tolist()] for name in FEATURES if name in table}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _plain(value: object) -> object:
    return None if isinstance(value, float) and np.isnan(value) else value
