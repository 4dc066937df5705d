"""Command line: run phases, keep their results, write page and history, end with the figures."""

import argparse
import datetime as dt
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.statistics import cache, delay_study, figures, phases, report, venvs

ROOT: Final = Path(__file__).parents[3]
DOCS: Final = ROOT / "docs" / "benchmarks"
KEPT: Final = ROOT / "artifacts" / "bench-statistics"


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0, also where a target is missed (that is a result); 1 if something could not be run."""
    asked = _parsed(arguments)
    folder = KEPT / ("short" if asked.short else "full")
    try:
        for name in () if asked.report else asked.only or phases.PHASES:
            _run(name, folder, short=asked.short)
    except cache.FetchError as error:
        print(f"bench-statistics: {error}", file=sys.stderr)
        return 1
    results = {
        name: json.loads(file.read_text()) for name in phases.PHASES if (file := folder / f"{name}.json").exists()
    }
    results = {name: result["result"] for name, result in results.items()}
    _write(results, asked.day or dt.datetime.now(dt.UTC).date().isoformat(), folder if asked.short else DOCS)
    for name, value in figures.figures_of(results).items():
        print(f"{name}={value:.4g}")
    return 0


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench-statistics", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a sample of everything in under three minutes")
    parser.add_argument("--only", nargs="+", choices=phases.PHASES, help="run these phases, keep the others' results")
    parser.add_argument("--report", action="store_true", help="run nothing, write the page from the results kept")
    parser.add_argument("--day", help="date on the page, today if not given")
    return parser.parse_args(arguments)


def _run(name: str, folder: Path, *, short: bool) -> None:
    start = time.monotonic()
    result = phases.PHASES[name](short)
    folder.mkdir(parents=True, exist_ok=True)
    seconds = round(time.monotonic() - start)
    (folder / f"{name}.json").write_text(json.dumps({"seconds": seconds, "result": result}, indent=1))
    delay_study.say(f"{name}: {seconds} s")


def machine() -> str:
    """The machine in general terms."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def _write(results: dict[str, Any], day: str, folder: Path) -> None:
    (folder / "history").mkdir(parents=True, exist_ok=True)
    plot = _plot(results, folder)
    text = report.page(results, machine=machine(), day=day, plot=plot)
    notes = folder / "history" / f"{day}-notes.md"
    (folder / "statistics.md").write_text(f"{text}\n{notes.read_text()}" if notes.exists() else text)
    record = {"day": day, "machine": machine(), "figures": figures.figures_of(results), "results": results}
    (folder / "history" / f"{day}-statistics.json").write_text(json.dumps(finite(record), indent=1) + "\n")


def finite(value: Any) -> Any:
    """
    Null in place of what JSON has no word for: a change that is never found, a phase that was not run.

    >>> finite({"delay": [1.0, float("inf")]})
    {'delay': [1.0, None]}
    """
    match value:
        case dict():
            return {key: finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [finite(inner) for inner in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def _plot(results: dict[str, Any], folder: Path) -> str | None:
    if "delay" not in results:
        return None
    file = folder / "statistics-delay.png"
    series = {
        label: [
            (cell.best, min(cell.ours, delay_study.AFTER))
            for cell in delay_study.cells_of(results["delay"], key)
            if cell.best <= delay_study.AFTER
        ]
        for label, key in (("tuned as the peers are", "ours"), ("as promised", "ours_at_budget"))
    }
    venvs.call("plots", "plot", {}, {"file": str(file), "series": series})
    return file.name
