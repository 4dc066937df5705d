"""
The eight situations without drift, breach or worse release in which an alarm would be false.

Each returns how many of its runs alarmed and the probability that was promised for one run. Data are drawn anew, the
reference included, so that its error counts as ours.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard import arms, bounded, contract, detectors
from onguard.budget import Objective, Threshold
from onguard.cause import Arms
from onguard.counts import Epoch
from onguard.profile import Profile
from onguard.states import State
from onguard_sidecar.analyst.accumulate import unit_shares
from tests.bench.statistics import exact, ours, reference

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ALPHA: Final = 0.05
FALSE_ROLLBACK: Final = 0.01
DAY_EPOCHS: Final = 86_400 // contract.EPOCH_S
DAY_SCRAPES: Final = 86_400 // contract.SCRAPE_S


@dataclasses.dataclass(frozen=True, kw_only=True)
class NullResult:
    """
    One null test.

    Attributes:
        budget: promised probability of a false alarm in one run; 0 where silence is certain.
    """

    key: str
    title: str
    alarms: int
    runs: int
    budget: float

    @property
    def upper(self) -> float:
        """Upper 95 % limit of the probability of a false alarm in one run; for a certain silence the observed rate."""
        if self.budget == 0.0:
            return float(self.alarms > 0)
        return exact.upper_limit(self.alarms, self.runs)

    @property
    def ratio(self) -> float:
        """Upper limit over the budget; 0 or infinity where silence is certain."""
        if self.budget == 0.0:
            return float("inf") if self.alarms else 0.0
        return self.upper / self.budget


def _normal_profile(rng: np.random.Generator, *, features: int, rows: int = 20_000) -> Profile:
    columns = {f"x{i}": rng.normal(size=rows) for i in range(features)}
    return reference.profile_of(columns, seed=int(rng.integers(1 << 30)))


def _alarms(detector: detectors.Detector, steps: Iterable[Ints]) -> bool:
    state = detectors.start(detector)
    for unit_bins in steps:
        state = detectors.step(detector, state, unit_bins)
        if state.episodes:
            return True
    return False


def correlated_batches(rng: np.random.Generator) -> bool:
    """(a) 10 requests of 32 rows a scrape, correlation .2 within a request, 1,000 scrapes."""
    profile = _normal_profile(rng, features=3)
    shares = unit_shares(32)

    def steps() -> Iterable[Ints]:
        for _ in range(ours.STEPS):
            shared = np.repeat(rng.normal(size=(10, 3)), 32, axis=0)
            rows = np.sqrt(0.2) * shared + np.sqrt(0.8) * rng.normal(size=(320, 3))
            bins = reference.bins_of(profile, rows)
            weights = np.repeat(np.tile(shares, 10).astype(np.float64), 3)
            yield np.bincount(bins.ravel(), weights, profile.layout.total).astype(np.int64)

    return _alarms(ours.detector_of(profile), steps())


def bursty_errors(rng: np.random.Generator) -> bool:
    """(b) A day of 50 requests/s with .3 % bad in bursts of 10, against 1 %."""
    log_alarm = float(np.log(DAY_EPOCHS / ALPHA))
    threshold = Threshold(objective=Objective.ERRORS, share=1.0, log_alarm=log_alarm, log_naming=log_alarm)
    detector = bounded.BoundedDetector(threshold, at_most=0.01)
    total = 50 * contract.EPOCH_S
    bad = np.minimum(rng.poisson(0.003 * total / 10, DAY_EPOCHS) * 10, total)
    state = bounded.steps(detector, bounded.start(detector), [(int(b), total) for b in bad])
    return state.episodes > 0


def _compared(epochs: Iterable[tuple[int, arms.Cell]]) -> bool:
    """Whether identical arms were ever called worse."""
    rules, state = arms.Rules(alpha=FALSE_ROLLBACK), arms.ArmsState()
    for epoch, cell in epochs:
        state = arms.steps(state, [(epoch, cell)], rules)
        if arms.compare(state, rules).verdict is Arms.WORSE:
            return True
    return False


def _bad_share(rng: np.random.Generator, rates: Floats, requests: int) -> int:
    """Sum over connections of the share of their first requests that was bad, fixed point."""
    return int((rng.binomial(requests, rates) * (contract.UNIT // requests)).sum())


def pinned_clients(rng: np.random.Generator) -> bool:
    """(c) An hour of identical arms; clients hold connections and fail at rates from 0 to 60 %."""
    client_rates = rng.beta(0.15, 2.0, 40)

    def epochs() -> Iterable[tuple[int, arms.Cell]]:
        for epoch in range(720):
            new, old = (rng.choice(client_rates, rng.poisson(1.5)) for _ in range(2))
            yield epoch, arms.Cell(len(new), _bad_share(rng, new, 8), len(old), _bad_share(rng, old, 8))

    return _compared(epochs())


def idle_quarter(rng: np.random.Generator) -> bool:
    """(d) 90 days of scrapes without traffic, after evidence that stopped short of an alarm."""
    profile = _normal_profile(rng, features=3)
    detector = ours.detector_of(profile, log_alarm=float(np.log(90 * DAY_SCRAPES / ALPHA)))
    state = detectors.start(detector)
    while detectors.log_mean(state.log_d) < 6.0:
        state = detectors.step(detector, state, ours.weights(_binned(profile, rng.normal(size=(20, 3)) + 0.5)))
    nothing, before = np.zeros(profile.layout.total, np.int64), state
    for _ in range(90 * DAY_SCRAPES):
        state = detectors.step(detector, state, nothing)
    return state.episodes > 0 or state.steps != before.steps


def _binned(profile: Profile, cells: Floats) -> Ints:
    return np.bincount(reference.bins_of(profile, cells).ravel(), minlength=profile.layout.total)


def killed_operator(rng: np.random.Generator) -> bool:
    """
    (e) Checkpoints each 20 scrapes, a kill now and then between two of them; 1,000 scrapes without drift.

    After a kill the evidence is that of the checkpoint; the scrapes since are lost.
    """
    profile = _normal_profile(rng, features=2)
    detector = ours.detector_of(profile)
    saved = state = detectors.start(detector)
    for scrape in range(ours.STEPS):
        state = detectors.step(detector, state, ours.weights(_binned(profile, rng.normal(size=(100, 2)))))
        if rng.random() < 0.01:
            state = saved
        elif scrape % 20 == 0:
            saved = State.decode(state.encode())
        if state.episodes:
            return True
    return False


def lost_polls(rng: np.random.Generator) -> bool:
    """(f) Bursts of failures shared by both arms, and polls of the new arm that are missed together with them."""

    def pod(*, loses: bool) -> dict[int, Epoch]:
        found = {}
        for epoch in range(720):
            if not (loses and burst[epoch] and lost[epoch]):
                connections = int(rng.poisson(2.0))
                bad = _bad_share(rng, np.full(connections, 0.5 if burst[epoch] else 0.01), 8)
                found[epoch] = Epoch(epoch, 8 * connections, 0, (), connections, bad)
        return found

    burst = np.repeat(rng.random(72) < 0.15, 10)
    lost = rng.random(720) < 0.7
    # The old arm's polls are the ones that are missed, which would make the new arm look worse.
    return _compared(arms.joined([pod(loses=False)], [pod(loses=True)]))


def clock_column(rng: np.random.Generator) -> bool:
    """(g) A column that is the time of the request, beside one that does not move; 1,000 scrapes."""
    began, rows = 1.7e9, 20_000
    times = began + np.sort(rng.uniform(0.0, 30 * 86_400.0, rows))
    columns = {"x0": rng.normal(size=rows), "requested_at": np.floor(times)}
    profile = reference.profile_of(columns, seed=int(rng.integers(1 << 30)))

    def steps() -> Iterable[Ints]:
        for scrape in range(ours.STEPS):
            now = began + 30 * 86_400.0 + scrape * contract.SCRAPE_S + np.sort(rng.uniform(0, contract.SCRAPE_S, 100))
            yield ours.weights(_binned(profile, np.stack([rng.normal(size=100), now], axis=1)))

    return _alarms(ours.detector_of(profile), steps())


def doubled_client(rng: np.random.Generator) -> bool:
    """
    (h) Twenty clients with laws of their own, the unit is client and scrape (`spec.traffic.client`); one doubles.

    The weight of a client in a scrape is 1 however many requests it sends.
    """
    means = rng.normal(size=20)
    rows = rng.normal(size=20_000) + rng.choice(means, 20_000)
    profile = reference.profile_of({"x0": rows}, seed=int(rng.integers(1 << 30)))

    def steps() -> Iterable[Ints]:
        for scrape in range(ours.STEPS):
            requests = rng.poisson(5.0, 20) + 1
            requests[0] *= 2 if scrape > 100 else 1
            weights = np.concatenate([unit_shares(int(n)) for n in requests]).astype(np.float64)
            cells = np.repeat(means, requests) + rng.normal(size=int(requests.sum()))
            bins = reference.bins_of(profile, cells[:, None]).ravel()
            yield np.bincount(bins, weights, profile.layout.total).astype(np.int64)

    return _alarms(ours.detector_of(profile), steps())


Test = Callable[[np.random.Generator], bool]
TESTS: Final[dict[str, tuple[Test, str, float]]] = {
    "a": (correlated_batches, "correlated batches of 32 rows, 1,000 scrapes", ALPHA),
    "b": (bursty_errors, "bursts of errors at .3 % against 1 %, one day", ALPHA),
    "c": (pinned_clients, "pinned clients with unequal failure rates, identical arms, one hour", FALSE_ROLLBACK),
    "d": (idle_quarter, "90 idle days", 0.0),
    "e": (killed_operator, "operator killed between checkpoint and scrape, 1,000 scrapes", ALPHA),
    "f": (lost_polls, "polls of one arm lost together with shared bursts, one hour", FALSE_ROLLBACK),
    "g": (clock_column, "a timestamp column, 1,000 scrapes", ALPHA),
    "h": (doubled_client, "one of 20 clients doubles its traffic, 1,000 scrapes", ALPHA),
}
"""Test, what it is, and what was promised for one run of it."""
FULL_RUNS: Final = {"a": 100, "b": 100, "c": 600, "d": 1, "e": 100, "f": 600, "g": 100, "h": 100}
SHORT_RUNS: Final = {"a": 4, "b": 1, "c": 40, "d": 1, "e": 4, "f": 40, "g": 4, "h": 4}


def run(key: str, runs: int, *, seed: int = 7) -> NullResult:
    """One null test, ``runs`` times, each with a seed of its own."""
    test, title, budget = TESTS[key]
    alarms = sum(test(np.random.default_rng([seed, ord(key), i])) for i in range(runs))
    return NullResult(key=key, title=title, alarms=alarms, runs=runs, budget=budget)
