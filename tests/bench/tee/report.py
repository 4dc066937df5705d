"""The figures of a run as named values, as a page, and as one more file of the history."""

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from tests.bench.tee.measure import Run

DOCS = Path(__file__).resolve().parents[3] / "docs" / "benchmarks"
Results = Mapping[str, Mapping[str, Run]]
NAMES = {
    "direct": "direct",
    "nginx": "nginx",
    "envoy": "Envoy, no filters",
    "aiohttp": "a proxy in aiohttp",
    "wire": "OnGuard's wire alone",
    "tee": "OnGuard, everything decoded and counted",
}
TARGETS = {
    "wire_cpu_vs_nginx": "at most 1.15",
    "total_cpu_vs_envoy": "at most 0.4",
    "total_cpu_vs_nginx": "at most 1.4",
    "added_p50_ms": "at most 0.1",
    "added_p99_ms": "at most 0.5",
    "rss_mib": "at most 80",
    "rows_per_s": "at least 400,000",
}


ABOUT = """\
Proxies are pinned to the first core, model and wrk (32 keep-alive connections) to the last; all in one run, the
cheapest of alternating rounds of each. CPU times are the kernel's, a request. Every request carries rows of 16 numbers,
no two requests alike; the model answers at once. Ratios travel from machine to machine, absolute times do not. Where
the analyst shed some exchanges, its cost is scaled up to all of them: shedding is no saving.
"""


def total_us(run: Run) -> float:
    """
    CPU a request of a proxy's processes, as if every request had been analysed.

    Where the analyst shed some, what it spent is scaled up: shedding is no saving.
    """
    first, *others = run.proxy_us
    return first + sum(others) / (run.analysed or 1.0)


def figures(results: Results, latency: Mapping[str, Run], resident_mib: float, rows: float) -> dict[str, float]:
    """The named values, in the order of their targets."""
    small = results["small"]
    nginx, envoy, tee = (total_us(small[key]) for key in ("nginx", "envoy", "tee"))
    values = (
        total_us(small["wire"]) / nginx,
        tee / envoy,
        tee / nginx,
        (latency["tee"].p50_us - latency["direct"].p50_us) / 1e3,
        (latency["tee"].p99_us - latency["direct"].p99_us) / 1e3,
        resident_mib,
        rows,
    )
    return dict(zip(TARGETS, values, strict=True))


def page(
    results: Results, latency: Mapping[str, Run], resident: Mapping[str, float], values: Mapping[str, float]
) -> str:
    """Markdown."""
    today = dt.datetime.now(dt.UTC).date()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    parts = [
        "# Benchmark of the tee\n",
        f"Written by `make bench` on {today}; {machine}.\n{ABOUT}",
        "| figure | value | target |\n|---|---|---|",
        *(f"| `{key}` | {value:,.3g} | {TARGETS[key]} |" for key, value in values.items()),
    ]
    parts += [_table(size, runs) for size, runs in results.items()]
    parts.append(
        "\n## At half of the tee's capacity, small bodies\n\n| | requests/s | p50 us | p99 us |\n|---|---|---|---|"
    )
    parts += [
        f"| {NAMES[key]} | {each.requests_per_s:,.0f} | {each.p50_us:.0f} | {each.p99_us:.0f} |"
        for key, each in latency.items()
    ]
    memory = ", ".join(f"{NAMES[key]} {mib:.0f}" for key, mib in resident.items())
    parts.append(f"\nMemory at the end, MiB (proportional): {memory}.\n")
    return "\n".join(parts)


def _table(size: str, runs: Mapping[str, Run]) -> str:
    direct = runs["direct"]
    head = "| | requests/s | p50 added us | p99 added us | CPU us | analyst of it | model us | wrk us | analyst read |"
    lines = [f"\n## {size}, at saturation\n", head, "|---" * 9 + "|"]
    for key, each in runs.items():
        own = f"{total_us(each):.1f}" if each.proxy_us else ""
        analyst = f"{total_us(each) - each.proxy_us[0]:.1f}" if len(each.proxy_us) > 1 else ""
        share = f"{100 * each.analysed:.0f} %" if len(each.proxy_us) > 1 else ""
        added = f"{each.p50_us - direct.p50_us:.0f} | {each.p99_us - direct.p99_us:.0f}" if each.proxy_us else "|"
        cost = f"{own} | {analyst} | {each.model_us:.1f} | {each.client_us:.1f} | {share}"
        lines.append(f"| {NAMES[key]} | {each.requests_per_s:,.0f} | {added} | {cost} |")
    return "\n".join(lines)


def keep(text: str, results: Results, values: Mapping[str, float]) -> None:
    """Write the page and one more file of the history."""
    (DOCS / "history").mkdir(parents=True, exist_ok=True)
    (DOCS / "tee.md").write_text(text)
    runs = {size: {key: each._asdict() for key, each in of.items()} for size, of in results.items()}
    now = dt.datetime.now(dt.UTC)
    kept = {"time": now.isoformat(timespec="seconds"), "figures": dict(values), "runs": runs}
    (DOCS / "history" / f"tee-{now:%Y-%m-%d-%H%M}.json").write_text(json.dumps(kept, indent=1) + "\n")
