"""
What the tee costs: ``python -m tests.bench.tee.run [--short] [--keep]``; needs wrk, nginx, and Envoy from PyPI.

Proxies run one after another on the first core, model and wrk on the last. Rounds alternate between the candidates
and the cheapest round of each is kept: on a shared machine noise only adds. ``--keep`` writes the figures to
``docs/benchmarks``.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path

from onguard_sidecar.analyst.analysis import Analysis
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.handover import Exchanges
from tests.bench.tee import programs, report
from tests.bench.tee.measure import CLIENTS, Load, Run, resident_mib, run
from tests.bench.tee.programs import FEATURES, Proxy, reference

PROXIES = {
    "nginx": programs.nginx,
    "envoy": programs.envoy,
    "aiohttp": programs.aiohttp_proxy,
    "wire": programs.wire,
    "tee": programs.tee,
}
PROXY_CORE, CLIENT_CORE = 0, (os.cpu_count() or 1) - 1
SIZES = {"small": 1, "64 KiB": 960, "1 MiB": 15_300}
"""Rows of 16 features a request."""


def main() -> None:
    """Measure, print, and keep if asked to."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--short", action="store_true", help="fewer and shorter rounds")
    asked.add_argument("--keep", action="store_true", help="write docs/benchmarks")
    options = asked.parse_args()
    rounds, seconds = (1, 2) if options.short else (3, 3)
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), rounds, seconds)
        results = {size: bench.compare(rows) for size, rows in SIZES.items()}
        results["server-sent events"] = bench.compare(1, is_streaming=True)
        latency = bench.latency(results["small"]["tee"].requests_per_s / 2)
    figures = report.figures(results, latency, bench.resident_mib, rows_per_second())
    text = report.page(results, latency, bench.resident, figures)
    print(text)
    if options.keep:
        report.keep(text, results, figures)
    print("\n".join(f"{key}={value:.3f}" for key, value in figures.items()))


class Bench:
    """All candidates, in one folder."""

    def __init__(self, here: Path, rounds: int, seconds: int) -> None:
        self._here, self._rounds, self._seconds = here, rounds, seconds
        self.resident: dict[str, float] = {}
        """MiB of each proxy's processes after the largest bodies."""
        self.resident_mib = 0.0
        """The tee's after small bodies."""

    def compare(self, rows: int, *, is_streaming: bool = False) -> dict[str, Run]:
        """The cheapest round of each candidate at saturation."""
        kept: dict[str, list[Run]] = {}
        with self._model(is_streaming) as (port, pid), contextlib.ExitStack() as stack:
            proxies = {"direct": Proxy(port, ())}
            for key, start in PROXIES.items():
                proxies[key] = stack.enter_context(start(self._here, port, PROXY_CORE))
            time.sleep(1.0)
            load = Load(rows, self._seconds)
            for number in range(self._rounds):
                for key, proxy in proxies.items():
                    print(f"{rows} rows, round {number + 1}: {key}", file=sys.stderr, flush=True)
                    kept.setdefault(key, []).append(run(proxy, load, model_pid=pid, core=CLIENT_CORE))
                    time.sleep(0.3)  # for the analyst to finish
            self.resident = {key: sum(map(resident_mib, proxy.pids)) for key, proxy in proxies.items() if proxy.pids}
            self.resident_mib = self.resident_mib or self.resident["tee"]
        return {
            key: min(runs, key=lambda each: (sum(each.proxy_us), -each.requests_per_s)) for key, runs in kept.items()
        }

    def latency(self, rate: float) -> dict[str, Run]:
        """
        With the fewest connections that bring the tee to ``rate``: the round with the smallest p99 of each.

        Each connection sends its next request when it has the last answer: wrk's pauses have a grain of 1 ms, which
        makes bursts, and the queue of a burst is not what is asked for.
        """
        kept: dict[str, list[Run]] = {"direct": [], "nginx": [], "tee": []}
        with self._model(False) as (port, pid), contextlib.ExitStack() as stack:
            proxies = {"direct": Proxy(port, ())}
            for key in ("nginx", "tee"):
                proxies[key] = stack.enter_context(PROXIES[key](self._here, port, PROXY_CORE))
            time.sleep(1.0)
            clients = 1
            while clients < CLIENTS and self._rate(proxies["tee"], clients, pid) < rate:
                clients += 1
            load = Load(1, self._seconds, clients)
            for _ in range(self._rounds):
                for key, proxy in proxies.items():
                    kept[key].append(run(proxy, load, model_pid=pid, core=CLIENT_CORE))
        return {key: min(runs, key=lambda each: each.p99_us) for key, runs in kept.items()}

    def _rate(self, proxy: Proxy, clients: int, model_pid: int) -> float:
        return run(proxy, Load(1, 1, clients), model_pid=model_pid, core=CLIENT_CORE).requests_per_s

    @contextlib.contextmanager
    def _model(self, is_streaming: bool):
        (port,) = programs.free_ports(1)
        start = (
            programs.streaming_model(port, CLIENT_CORE)
            if is_streaming
            else programs.model(self._here, port, CLIENT_CORE)
        )
        with start as pid:
            yield port, pid


def rows_per_second(seconds: float = 2.0, rows: int = 64, bodies: int = 12) -> float:
    """Rows of 16 features that one core decodes and counts, from bodies as the wire hands them over, a batch a time."""
    from onguard.sidecar_config import SidecarConfig

    analysis = Analysis(SidecarConfig(model="churn"), reference(), b"key")
    head = b"POST /v1/models/churn:predict HTTP/1.1\r\nContent-Type: application/json\r\n\r\n"
    answer = b'{"predictions":[' + b",".join([b"0.5"] * rows) + b"]}"
    counted, number, spent = 0, 0, 0.0
    while spent < seconds:
        batch = []
        for _ in range(bodies):
            number += 1
            row = b"[%.7f" % (number * 1e-6) + b",3.5" * (FEATURES - 1) + b"]"
            body = b'{"instances":[' + b",".join([row] * rows) + b"]}"
            batch.append(Exchange(1, number, 0, 1, 2, 200, 0, 0, 1, head, body, b"HTTP/1.1 200 OK\r\n\r\n", answer))
        begin = time.process_time()
        outcomes = analysis.take_plain(Exchanges.of(batch), now=time.monotonic())
        spent += time.process_time() - begin
        counted += rows * (outcomes or []).count("analysed")
    return counted / spent


if __name__ == "__main__":
    main()
