"""The parts of the benchmark, each a function from how much to run to plain JSON."""

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from tests.bench.statistics import (
    cause_study,
    cost_study,
    delay_study,
    estimation_study,
    merge_study,
    naming_study,
    natural_study,
    null_tests,
    streams,
)

Phase = Callable[[bool], Any]


def nulls(short: bool) -> list[dict[str, Any]]:
    """The eight null tests."""
    runs = null_tests.SHORT_RUNS if short else null_tests.FULL_RUNS
    found = []
    for key in null_tests.TESTS:
        delay_study.say(f"null test {key}: {runs[key]} runs")
        result = null_tests.run(key, runs[key])
        found.append(dataclasses.asdict(result) | {"upper": result.upper, "ratio": result.ratio})
    return found


def delay(short: bool) -> dict[str, Any]:
    """Delays against the peers."""
    if short:
        size = delay_study.Size(tune=20, held_out=4, runs=3, steps=100, cells=2)
        return delay_study.study(size, [streams.schooling(), streams.wrong_answers()])
    size = delay_study.Size(tune=40, held_out=40, runs=11)
    chosen = [streams.synthetic(), streams.age(), streams.distance(), streams.schooling(), streams.wrong_answers()]
    return delay_study.study(size, chosen)


def cause(short: bool) -> dict[str, Any]:
    """Causes and actions."""
    return cause_study.study(runs=1 if short else 8)


def cost(short: bool) -> dict[str, Any]:
    """Cost a row, and of the primitives."""
    repeats = 3 if short else 15
    steps = (100,) if short else (100, 1000, 20_000)
    tables = {"20 numbers": cost_study.numbers} | ({} if short else {"employment": cost_study.mixed})
    rows: list[dict[str, Any]] = []
    for name, make in tables.items():
        for size in steps:
            delay_study.say(f"cost: {name}, a verdict each {size} rows")
            measured = cost_study.compared(
                make, reference_rows=10_000, rows=size, repeats=repeats if size < 5000 else 3
            )
            rows.append({"table": name, "rows": size, "us_per_row": measured})
    return {"rows": rows, "primitives_ms": cost_study.primitives(repeats=30 if short else 300)}


def merge(short: bool) -> dict[str, Any]:
    """Exactness over replicas."""
    return merge_study.study(runs=2 if short else 50)


def naming(short: bool) -> list[dict[str, Any]]:
    """Names of features."""
    return naming_study.study(runs=3 if short else 60)


def natural(short: bool) -> list[dict[str, Any]]:
    """Changes that are in the data."""
    return [] if short else natural_study.study()


def estimation(short: bool) -> dict[str, Any]:
    """Errors expected without labels."""
    return estimation_study.study(with_peer=not short)


PHASES: Final[dict[str, Phase]] = {
    "nulls": nulls,
    "merge": merge,
    "naming": naming,
    "natural": natural,
    "cost": cost,
    "cause": cause,
    "estimation": estimation,
    "delay": delay,
}
