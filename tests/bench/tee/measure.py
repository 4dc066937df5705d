"""One run of wrk against one proxy, with the CPU time of every process involved."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from onguard import contract
from onguard_sidecar.ledger import ANALYST_ACCOUNT, Ledger
from tests.bench.tee.programs import Proxy

LUA = Path(__file__).with_name("load.lua")
PATH = "/v1/models/churn:predict"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
CLIENTS = 32


class Load(NamedTuple):
    """What wrk sends."""

    rows: int
    seconds: int
    clients: int = CLIENTS


class Run(NamedTuple):
    """What one run showed."""

    requests_per_s: float
    p50_us: float
    p99_us: float
    proxy_us: tuple[float, ...]
    """CPU a request of each of the proxy's processes."""
    model_us: float
    client_us: float
    analysed: float = 1.0
    """Share of the requests that the analyst read."""


def run(proxy: Proxy, load: Load, *, model_pid: int, core: int) -> Run:
    """Drive the load from ``core``."""
    pids = (*proxy.pids, model_pid)
    before, known = [cpu_us(pid) for pid in pids], _account(proxy)
    children = os.times()
    command = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{load.clients}", f"-d{load.seconds}", "--timeout", "20s"]
    command += ["--latency", "-s", str(LUA), f"http://127.0.0.1:{proxy.port}{PATH}"]
    env = {"ONGUARD_ROWS": str(load.rows), "ONGUARD_PATH": PATH}
    out = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=True).stdout
    ended = os.times()
    after, last = [cpu_us(pid) for pid in pids], _account(proxy)
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"requests failed:\n{out}")
    requests = int(_found(r"(\d+) requests in", out))
    each = [(b - a) / requests for a, b in zip(before, after, strict=True)]
    client = (ended.children_user + ended.children_system - children.children_user - children.children_system) * 1e6
    analysed = 1.0
    if last:
        taken = sum(last[name] - known[name] for name in ANALYST_ACCOUNT)
        analysed = taken / max(last["inference"] - known["inference"], 1)
    return Run(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", out)),
        p50_us=_quantile_us(out, "50%"),
        p99_us=_quantile_us(out, "99%"),
        proxy_us=tuple(each[:-1]),
        model_us=each[-1],
        client_us=client / requests,
        analysed=analysed,
    )


def _account(proxy: Proxy) -> Mapping[str, int]:
    if proxy.shared is None:
        return {}
    ledger = Ledger.open_reader(proxy.shared / contract.FILE_LEDGER)
    counters = ledger.snapshot().counters
    ledger.close()
    return counters


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk said something else than expected:\n{text}")
    return found[1]


def _quantile_us(out: str, name: str) -> float:
    found = re.search(rf"{name}\s+([\d.]+)(us|ms|s)", out)
    return float(found[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[found[2]] if found else float("nan")


def cpu_us(pid: int) -> float:
    """CPU time of a process and all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def resident_mib(pid: int) -> float:
    """Memory of a process, shared pages by their share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) / 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
