"""
Load generator: ``python -m tests.models.load http://10.96.12.34 --rate 50 --seconds 60 --shift monthly_charge=25``.

A Service balances connections, not requests, so it keeps several client connections and opens each anew after a few
requests. It counts every failure by what the client saw and never retries.
"""

import argparse
import asyncio
import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

import aiohttp
import numpy as np

from tests.models.traffic import Mix, bodies, path

TIMEOUT_S: Final = 30.0
MODEL_STATUSES: Final = frozenset({"200", "400", "404", "500"})
"""What the sample model answers by itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """
    One stream of traffic.

    Attributes:
        url: scheme, host and port of the Service.
        rate: requests started a second, over all connections.
        connections: client connections that are open at a time.
        per_connection: requests after which a connection is opened anew.
        mix: what is sent.
    """

    url: str
    model: str = "churn"
    rate: float = 50.0
    connections: int = 10
    per_connection: int = 5
    mix: Mix = dataclasses.field(default_factory=Mix)
    seed: int = 7


@dataclasses.dataclass
class Tally:
    """
    What the client saw. Read from other threads while it counts, so each figure is a number of its own.

    Attributes:
        sent: requests that have ended, in whatever way.
        failed: of these, those with any outcome but 200.
        not_by_model: of these, failures that the sample model cannot have made: broken connections, timeouts and
            statuses of a proxy.
        outcomes: requests by status code or name of the client's error.
    """

    sent: int = 0
    failed: int = 0
    not_by_model: int = 0
    outcomes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    latencies_s: list[float] = dataclasses.field(default_factory=list)

    def add(self, outcome: str, latency_s: float) -> None:
        """Count one finished request."""
        self.sent += 1
        self.failed += outcome != "200"
        self.not_by_model += outcome not in MODEL_STATUSES
        self.outcomes[outcome] += 1
        self.latencies_s.append(latency_s)

    def quantile(self, q: float) -> float:
        """Latency quantile in seconds; NaN before the first answer."""
        return float(np.quantile(self.latencies_s, q)) if self.latencies_s else float("nan")

    def __str__(self) -> str:
        outcomes = ", ".join(f"{key}: {value}" for key, value in sorted(self.outcomes.copy().items()))
        speed = f"p50 {self.quantile(0.5) * 1e3:.1f} ms, p99 {self.quantile(0.99) * 1e3:.1f} ms"
        return f"{self.sent} requests ({outcomes or 'none yet'}), {speed}"


class Load:
    """A running stream of traffic; ``mix`` may be changed on the way."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self._due = 0.0
        self._rng = np.random.default_rng(plan.seed)
        self._bodies: Iterator[bytes] = bodies(self._rng, plan.mix)

    def change(self, mix: Mix) -> None:
        """Send this from the next request on."""
        self._bodies = bodies(self._rng, mix)
        self.plan = dataclasses.replace(self.plan, mix=mix)

    async def run(self, stop: asyncio.Event) -> Tally:
        """Send until ``stop`` is set; requests that have begun are finished and counted."""
        self._due = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for _ in range(self.plan.connections):
                group.create_task(self._connection(stop))
        return self.tally

    async def _connection(self, stop: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        while not stop.is_set():
            connector = aiohttp.TCPConnector(limit=1)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                for _ in range(self.plan.per_connection):
                    if not await self._turn(stop):
                        return
                    await self._request(session)

    async def _turn(self, stop: asyncio.Event) -> bool:
        """Wait for the next free slot of the schedule; False when it is time to end."""
        now = asyncio.get_running_loop().time()
        # A stalled server must not be answered by a burst later: lost slots are given up.
        self._due = max(self._due, now - 1.0) + 1.0 / self.plan.rate
        try:
            await asyncio.wait_for(stop.wait(), max(self._due - now, 0.0))
        except TimeoutError:
            return True
        return False

    async def _request(self, session: aiohttp.ClientSession) -> None:
        url = self.plan.url.rstrip("/") + path(self.plan.model, self.plan.mix.protocol)
        start = time.perf_counter()
        headers = {"content-type": "application/json"}
        try:
            async with session.post(url, data=next(self._bodies), headers=headers) as response:
                await response.read()
                outcome = str(response.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
        self.tally.add(outcome, time.perf_counter() - start)


class Background:
    """Traffic from a thread of its own, for tests: ``with Background(plan) as load: ...``."""

    def __init__(self, plan: Plan) -> None:
        self.load = Load(plan)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="load", daemon=True)

    @property
    def tally(self) -> Tally:
        """Counts so far."""
        return self.load.tally

    def change(self, mix: Mix) -> None:
        """Send this from the next request on."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.load.change, mix)

    def stop(self) -> Tally:
        """End the traffic, wait for what is in flight."""
        if self._thread.is_alive() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(TIMEOUT_S + 5.0)
        if self._failure is not None:
            raise RuntimeError("the load generator broke") from self._failure
        return self.tally

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(5.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _main(self) -> None:
        async def body() -> None:
            self._loop = asyncio.get_running_loop()
            self._started.set()
            await self.load.run(self._stop)

        try:
            asyncio.run(body())
        except BaseException as error:  # noqa: BLE001 - carried to the thread that asks for the result
            self._failure = error


def pairs(texts: list[str]) -> dict[str, float]:
    """
    Read ``feature=number`` arguments.

    >>> pairs(["monthly_charge=25", "data_gb=-1.5"])
    {'monthly_charge': 25.0, 'data_gb': -1.5}
    """
    return {name: float(value) for name, _, value in (text.partition("=") for text in texts)}


async def send(plan: Plan, seconds: float, report: Callable[[str], None]) -> Tally:
    """Send for so long, reporting each ten seconds."""
    stop, load = asyncio.Event(), Load(plan)
    task = asyncio.create_task(load.run(stop))
    end = time.monotonic() + seconds
    while not task.done() and (rest := end - time.monotonic()) > 0:
        await asyncio.wait([task], timeout=min(rest, 10.0))
        report(str(load.tally))
    stop.set()
    return await task


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--model", default="churn")
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--per-connection", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--protocol", choices=("v1", "v2"), default="v1")
    parser.add_argument("--shift", action="append", default=[], metavar="FEATURE=BY")
    parser.add_argument("--missing", action="append", default=[], metavar="FEATURE=SHARE")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    mix = Mix(shift=pairs(args.shift), missing=pairs(args.missing), rows=args.rows, protocol=args.protocol)
    rates = {"rate": args.rate, "connections": args.connections, "per_connection": args.per_connection}
    plan = Plan(url=args.url, model=args.model, mix=mix, seed=args.seed, **rates)
    asyncio.run(send(plan, args.seconds, lambda text: print(text, flush=True)))


if __name__ == "__main__":
    main()
