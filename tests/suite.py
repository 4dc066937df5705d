"""
``make test``: every step that CI runs, in order, with its time; the cluster is taken down whatever happens.

The Go builds, by far the longest step on a fresh machine, run beside lint and unit tests. The output of each step is
kept below ``artifacts/``; its end is shown when the step fails. Standard library only: it makes the environment.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
ARTIFACTS: Final = ROOT / "artifacts"
HEARTBEAT_S: Final = 20.0
TAIL_LINES: Final = 60
STEPS: Final = ("lint", "unit", "tools", "contract", "images", "cluster", "e2e")
"""Targets of the Makefile; ``venv`` and ``packages`` come before them."""
NEEDED_BY_THE_NEXT: Final = {"tools", "images", "cluster"}


@dataclass
class Step:
    """A target of the Makefile, running or ended."""

    name: str
    process: subprocess.Popen[bytes]
    started: float

    @property
    def log(self) -> Path:
        return ARTIFACTS / f"{self.name}.log"

    def last_line(self) -> str:
        lines = tail(self.log, 5)
        return next((line.strip()[:140] for line in reversed(lines) if line.strip()), "")


def main() -> int:
    ARTIFACTS.mkdir(exist_ok=True)
    for old in ARTIFACTS.glob("*.log"):
        old.unlink()
    began = time.monotonic()
    failed = _run_all()
    took = f"{(time.monotonic() - began) / 60:.1f} min"
    names = ", ".join(failed)
    say(f"FAILED: {names} after {took}; all output is in {ARTIFACTS}" if failed else f"all passed in {took}")
    passed, not_passed = tests_of([ARTIFACTS / f"{name}.log" for name in STEPS])
    print(f"{passed} passed, {not_passed} failed", flush=True)
    return 1 if failed else 0


def tests_of(logs: Sequence[Path]) -> tuple[int, int]:
    """Tests that passed, and that failed or could not start, by the closing lines of pytest in the logs of this run."""
    closing = [line for log in logs for line in tail(log, 1_000_000) if re.search(r" in [0-9.]+s( \(|$| =)", line)]
    passed = sum(int(n) for line in closing for n in re.findall(r"(\d+) passed", line))
    failed = sum(int(n) for line in closing for n in re.findall(r"(\d+) (?:failed|errors?)\b", line))
    return passed, failed


def _run_all() -> Sequence[str]:
    """Run every step whose needs are met: one fault does not hide the next. Return the names of those that failed."""
    for name in ("venv", "packages"):
        if not finish(start(name)):
            return [name]
    tools = start("tools")
    failed: list[str] = []
    try:
        for name in STEPS:
            if NEEDED_BY_THE_NEXT & set(failed):
                break
            if not finish(tools if name == "tools" else start(name)):
                failed.append(name)
    finally:
        # A build that nobody waits for any more; its finished modules stay in the cache.
        if tools.process.poll() is None:
            tools.process.terminate()
            tools.process.wait()
        _keep_cluster_logs()
        finish(start("cluster-down"))
    return failed


def start(name: str) -> Step:
    say(f"{name} ...")
    with (ARTIFACTS / f"{name}.log").open("wb") as log:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        command = ["make", "--no-print-directory", name]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    return Step(name, process, time.monotonic())


def finish(step: Step) -> bool:
    """Wait with a sign of life every now and then; show the end of the output if the step failed."""
    while True:
        try:
            code = step.process.wait(HEARTBEAT_S)
            break
        except subprocess.TimeoutExpired:
            say(f"  {step.name}, {time.monotonic() - step.started:.0f} s: {step.last_line()}")
    outcome = "ok" if code == 0 else f"exit {code}"
    say(f"{step.name}: {outcome}, {time.monotonic() - step.started:.0f} s: {step.last_line()}")
    if code != 0:
        print("\n".join(tail(step.log, TAIL_LINES)), flush=True)
    return code == 0


def _keep_cluster_logs() -> None:
    """The programs' own words, for whoever must find out later why a run failed."""
    cache = (
        os.environ.get("ONGUARD_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onguard"
    )
    for log in (Path(cache) / "logs").glob("*.log"):
        (ARTIFACTS / f"cluster-{log.name}").write_text("\n".join(tail(log, 2000)) + "\n")


def tail(path: Path, lines: int) -> Sequence[str]:
    return path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
