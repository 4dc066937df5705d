"""The sample model: logistic regression over six features. Pure; the server and the trainer share it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from tests.models.customers import CONTRACTS, NUMERIC

SANE_LOGIT: Final = 18.0
"""Beyond this a score is nonsense (chance under 1 in 60 million): the model answers with an error instead."""


class ScoringError(RuntimeError):
    """The model can't score this row; the server answers 500, as an uncaught fault would."""


class Bug(StrEnum):
    """What is wrong with a release."""

    NONE = ""
    SCALING = "scaling"
    """The preprocessing forgets to divide by the standard deviation: answers differ, a part fails."""
    GROSS = "gross"
    """The preprocessing takes euros for cents as well: nearly all fail."""
    SLOW = "slow"
    """Each request takes SLOW_S longer."""
    CRASH = "crash"
    """The process ends while it starts."""
    NEVER_READY = "never-ready"
    """The process runs, but its readiness check never passes."""


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """
    A trained model.

    Attributes:
        intercept: log-odds at the mean of each numeric feature, first contract, no autopay.
        weights: weight by encoded column (see :func:`encode`).
        means: mean of each numeric feature in training; also stands in for a missing value.
        sds: standard deviation of each numeric feature in training.
    """

    intercept: float
    weights: Mapping[str, float]
    means: Mapping[str, float]
    sds: Mapping[str, float]


def encode(row: Mapping[str, Any], model: Coefficients, bug: Bug = Bug.NONE) -> dict[str, float]:
    """
    Turn a customer into model columns.

    Raises:
        ValueError: if a field is absent or is not what it should be.
    """
    columns = {name: _standardised(name, row, model, bug) for name in NUMERIC}
    contract = row.get("contract")
    if contract is not None and contract not in CONTRACTS:
        raise ValueError(f"expected a contract of {', '.join(CONTRACTS)}")
    columns |= {f"contract={name}": float(contract == name) for name in CONTRACTS[1:]}
    columns["autopay"] = float(bool(row.get("autopay")))
    return columns


def _standardised(name: str, row: Mapping[str, Any], model: Coefficients, bug: Bug) -> float:
    value = row.get(name)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number for {name}, got {type(value).__name__}")
    distance = float(value) - model.means[name]
    match bug:
        case Bug.SCALING:
            return distance
        case Bug.GROSS:
            return 100.0 * float(value) - model.means[name]
        case _:
            return distance / model.sds[name]


def chance(row: Mapping[str, Any], model: Coefficients, bug: Bug = Bug.NONE) -> float:
    """
    Probability that the customer leaves, rounded to 6 digits.

    Raises:
        ValueError: the row is malformed (the client's fault).
        ScoringError: the score is not sane (the model's fault).
    """
    columns = encode(row, model, bug)
    logit = model.intercept + sum(model.weights[name] * value for name, value in columns.items())
    if not abs(logit) <= SANE_LOGIT:
        raise ScoringError(f"expected a log-odds within {SANE_LOGIT:g}, got {logit:.1f}")
    return round(1.0 / (1.0 + math.exp(-logit)), 6)


def chances(rows: Sequence[Mapping[str, Any]], model: Coefficients, bug: Bug = Bug.NONE) -> list[float]:
    """Score every row; the first that can't be scored fails the whole request."""
    return [chance(row, model, bug) for row in rows]
