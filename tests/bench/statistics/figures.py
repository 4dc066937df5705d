"""The figures that a run ends with, from the results of its phases."""

import math
from typing import Any, Final

from tests.bench.statistics import delay_study

NAMES: Final = (
    "false_alarm_ratio_to_budget",
    "delay_ratio_geomean",
    "delay_ratio_small_shifts",
    "cause_top1",
    "abstention_rate",
    "wrong_action_rate",
    "speed_vs_whylogs",
    "speed_vs_evidently",
    "speed_vs_nannyml",
    "evaluate_ms_50x20",
)
TARGETS: Final[dict[str, tuple[str, float]]] = {
    "false_alarm_ratio_to_budget": ("<=", 1.0),
    "delay_ratio_geomean": ("<=", 1.0),
    "delay_ratio_small_shifts": ("<=", 0.5),
    "cause_top1": (">=", 0.85),
    "abstention_rate": ("<=", 0.15),
    "wrong_action_rate": ("<=", 0.02),
    "speed_vs_whylogs": (">=", 10.0),
    "speed_vs_evidently": (">=", 10.0),
    "speed_vs_nannyml": (">=", 10.0),
    "evaluate_ms_50x20": ("<=", 0.3),
}
STEP_ROWS: Final = 100
"""The protocol's step: a verdict each 100 requests."""


def figures_of(results: dict[str, Any]) -> dict[str, float]:
    """
    Every figure by name; NaN where its phase was not run.

    >>> list(figures_of({})) == list(NAMES), math.isnan(figures_of({})["cause_top1"])
    (True, True)
    """
    found = dict.fromkeys(NAMES, math.nan)
    if "nulls" in results:
        found["false_alarm_ratio_to_budget"] = max(test["ratio"] for test in results["nulls"])
    if "delay" in results:
        found["delay_ratio_geomean"], found["delay_ratio_small_shifts"] = delay_study.ratios(results["delay"])
    if "cause" in results:
        found["cause_top1"] = results["cause"]["top1"]["rate"]
        found["abstention_rate"] = results["cause"]["abstention"]["rate"]
        found["wrong_action_rate"] = results["cause"]["wrong_action"]["rate"]
    if "cost" in results:
        found |= _cost(results["cost"])
    return found


def _cost(cost: dict[str, Any]) -> dict[str, float]:
    """Speed at a verdict each step; of several tables the one that is worst for us."""
    rows = [row["us_per_row"] for row in cost["rows"] if row["rows"] == STEP_ROWS]
    found = {
        f"speed_vs_{peer}": min(row[peer] / row["onguard"] for row in rows)
        for peer in ("whylogs", "evidently", "nannyml")
    }
    return found | {"evaluate_ms_50x20": cost["primitives_ms"]["evaluate drift, 50 x 20"]}


def is_met(name: str, value: float) -> bool:
    """Whether a figure reaches its target; an unknown one does not."""
    sense, target = TARGETS[name]
    return value <= target if sense == "<=" else value >= target
