"""
Where nothing is wrong, alarms are as rare as promised: the null tests in short form, each with its bound.

The bound of a detector is P(alarm within T steps) <= alpha_ref + T/A. A test fails if the number of alarmed runs is
larger than a binomial with that probability explains (p < .001), so that an honest detector passes nearly always.
(a), (b), (c) and (f) also show that the naive way to count fails.
"""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from onguard import bounded, building, detectors
from onguard.arms import ArmsState, Cell, Rules, compare, joined, steps
from onguard.bounded import BoundedDetector
from onguard.budget import Objective
from onguard.cause import Arms
from onguard.columns import of_numbers
from onguard.contract import UNIT
from onguard.counts import Epoch
from onguard.detectors import Detector
from onguard.effects import finding
from onguard.findings import Verdict
from onguard.limits import limits_of
from onguard.profile import Role
from onguard.states import State
from tests.unit.core.detector_cases import BINS, FLAT, detector, flat_profile, requests, threshold

ALPHA = 0.05


def explained(alarms: int, runs: int, bound: float) -> bool:
    return bool(stats.binomtest(alarms, runs, bound, alternative="greater").pvalue > 0.001)


def correlated(rng: np.random.Generator, count: int, rows: int = 32, rho: float = 0.2) -> np.ndarray:
    """Bins of requests whose rows share a cause: (requests, rows), each row uniform over the bins."""
    shared = rng.normal(size=(count, 1)) * math.sqrt(rho)
    z = shared + rng.normal(size=(count, rows)) * math.sqrt(1 - rho)
    return np.minimum((stats.norm.cdf(z) * BINS).astype(np.int64), BINS - 1)


def counted(bins: np.ndarray, weight: int) -> np.ndarray:
    return np.concatenate([np.bincount(bins.ravel(), minlength=BINS), [0, 0, 0, 0]]).astype(np.int64) * weight


def test_a_correlated_rows_of_a_batch() -> None:
    """(a) 10 requests of 32 rows with correlation .2, 300 scrapes, exact reference: P <= T/A = .05. By rows: always."""
    rng, runs, scrapes = np.random.default_rng(11), 30, 300
    watch = detector(flat_profile(rows=10**7), scrapes / ALPHA, tolerance=0.0)
    alarms = {"units": 0, "rows": 0}
    for _ in range(runs):
        states = {"units": detectors.start(watch), "rows": detectors.start(watch)}
        for _ in range(scrapes):
            bins = correlated(rng, 10)
            states["units"] = detectors.step(watch, states["units"], counted(bins, UNIT // 32))
            states["rows"] = detectors.step(watch, states["rows"], counted(bins, UNIT))
        for way, state in states.items():
            alarms[way] += state.episodes > 0
    assert explained(alarms["units"], runs, ALPHA)
    assert alarms["rows"] == runs


def test_b_bursts_of_errors_below_the_objective() -> None:
    """(b) .3 % bad in bursts of 10 against 1 %, one day of epochs: P <= T/A = .05. With requests as units: always."""
    rng, runs, day = np.random.default_rng(12), 8, 17_280
    watch = BoundedDetector(threshold(day / ALPHA, Objective.ERRORS), 0.01)
    alarms, naive = 0, 0
    for _ in range(runs):
        bad = np.minimum(rng.poisson(0.003 * 50 / 10, day) * 10, 50)
        state = bounded.start(watch)
        for x in bad.tolist():
            state = bounded.step(watch, state, x, 50)
        alarms += state.episodes > 0
        p = 0.02
        per_request = np.log(p / 0.01) * bad + np.log((1 - p) / 0.99) * (50 - bad)
        naive += float(np.max(np.cumsum(per_request) - np.minimum.accumulate(np.cumsum(per_request)))) >= math.log(
            day / ALPHA
        )
    assert explained(alarms, runs, ALPHA)
    assert naive == runs


def pinned(rng: np.random.Generator, clients: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Half of the clients on each arm for good; a few of them fail often."""
    rates = np.where(rng.random(clients) < 0.1, 0.6, 0.01)
    return rates, rng.permutation(clients) < clients // 2


def test_c_clients_that_stay_on_their_connection() -> None:
    """(c) Identical arms, one connection a client for an hour: P(worse) <= alpha = .05. By requests: far more."""
    rng, runs = np.random.default_rng(13), 200
    rules = Rules(alpha=ALPHA)
    worse = {"connections": 0, "requests": 0}
    for _ in range(runs):
        rates, is_new = pinned(rng)
        opened = rng.integers(0, 6, rates.size)
        bad = (rng.binomial(8, rates) * UNIT) // 8  # share of the first 8 requests
        by_connection, by_request = ArmsState(), ArmsState()
        for epoch in range(60):
            here = opened == epoch
            units = [(epoch, _cell(is_new[here], bad[here]))]
            by_connection = steps(by_connection, units, rules)
            every = rng.binomial(5, rates)
            sums = (int(every[is_new].sum()) * UNIT, int(every[~is_new].sum()) * UNIT)
            half = 5 * int(is_new.sum())
            by_request = steps(by_request, [(epoch, Cell(half, sums[0], 5 * rates.size - half, sums[1]))], rules)
        worse["connections"] += compare(by_connection, rules).verdict is Arms.WORSE
        worse["requests"] += compare(by_request, rules).verdict is Arms.WORSE
    assert explained(worse["connections"], runs, ALPHA)
    assert not explained(worse["requests"], runs, ALPHA)


def _cell(is_new: np.ndarray, bad: np.ndarray) -> Cell:
    return Cell(int(is_new.sum()), int(bad[is_new].sum()), int((~is_new).sum()), int(bad[~is_new].sum()))


def test_d_ninety_idle_days() -> None:
    """(d) 518,400 scrapes and three times as many epochs without a request: no step, no alarm, no data."""
    watch = detector(flat_profile(), 518_400.0)
    service = BoundedDetector(threshold(1_555_200.0, Objective.ERRORS), 0.01)
    state = detectors.step(watch, detectors.start(watch), requests(np.random.default_rng(14), 50, [FLAT]))
    idle, epochs = state, bounded.start(service)
    nothing = np.zeros(BINS + 4, np.int64)
    for _ in range(5_000):  # each is a fixed point, so that 5,000 stand for all of them
        idle, epochs = detectors.step(watch, idle, nothing), bounded.step(service, epochs, 0, 0)
    assert idle is state
    assert bounded.finding(service, epochs).verdict is Verdict.NO_DATA


def test_e_killed_between_checkpoint_and_scrape() -> None:
    """
    (e) Under a random schedule of crashes P <= T/A = .05: what comes back is a checkpoint, and the first reading
    after it is a baseline that adds nothing.
    """
    rng, runs, scrapes = np.random.default_rng(15), 40, 200
    watch = detector(flat_profile(rows=10**7), scrapes / ALPHA, tolerance=0.0)
    alarms = 0
    for _ in range(runs):
        state, saved, alarmed = detectors.start(watch), detectors.start(watch).encode(), False
        for _ in range(scrapes):
            if rng.random() < 0.1:
                state = detectors.resume(watch, State.decode(saved))
                continue  # this scrape's delta goes into the baseline
            before = state
            state = detectors.step(watch, state, requests(rng, 30, [FLAT]))
            assert state.steps == before.steps + 1
            alarmed |= state.since is not None
            if rng.random() < 0.2:
                saved = state.encode()
        alarms += alarmed
    assert explained(alarms, runs, ALPHA)


def test_f_lost_readings_of_one_arm_in_bursts() -> None:
    """
    (f) Identical arms; shared bursts of failures, in which the new arm's readings survive and the old arm's are lost.
    Joined by epoch: P(worse) <= alpha = .05. Summed per reading: far more.
    """
    rng, runs = np.random.default_rng(16), 120
    rules = Rules(alpha=ALPHA)
    worse = {"joined": 0, "summed": 0}
    for _ in range(runs):
        new: dict[int, Epoch] = {}
        old: dict[int, Epoch] = {}
        for epoch in range(150):
            bursts = epoch % 25 >= 20
            rate = 0.6 if bursts else 0.03
            for side, arm in (("new", new), ("old", old)):
                units = int(rng.poisson(6))
                if side == "new" or not (bursts and rng.random() < 0.7):
                    bad = int(rng.binomial(units, rate)) * UNIT
                    arm[epoch] = Epoch(epoch, units, 0, connections=units, connection_bad=bad)
        together = steps(ArmsState(), joined([new], [old]), rules)
        worse["joined"] += compare(together, rules).verdict is Arms.WORSE
        each = [(start, _summed(new, old, range(start, start + 25))) for start in range(0, 150, 25)]
        worse["summed"] += compare(steps(ArmsState(), each, rules), rules).verdict is Arms.WORSE
    assert explained(worse["joined"], runs, ALPHA)
    assert not explained(worse["summed"], runs, ALPHA)


def _summed(new: dict[int, Epoch], old: dict[int, Epoch], ids: range) -> Cell:
    def total(arm: dict[int, Epoch]) -> tuple[int, int]:
        there = [arm[i] for i in ids if i in arm]
        return sum(e.connections for e in there), sum(e.connection_bad for e in there)

    return Cell(*total(new), *total(old))


def test_g_a_column_with_the_time_or_a_running_number() -> None:
    """(g) Values that only ever grow are not judged: no alarm at all, although each one is above the reference."""
    rng = np.random.default_rng(17)
    stamps = of_numbers("made_at", 1.7e9 + np.sort(rng.uniform(0, 86_400 * 30, 4000)).round())
    numbers = of_numbers("order_id", np.arange(4000.0))
    profile = building.build([stamps, numbers], building.Plan())
    assert [f.role for f in profile.features] == [Role.TIME, Role.ID]
    for objective in (Objective.DRIFT, Objective.DATA_QUALITY):
        watch = Detector(limits_of(profile, objective, tolerance=0.01, alpha=0.03), threshold(1000.0, objective))
        scrape = np.zeros(profile.layout.total, np.int64)
        for block in range(2):
            scrape[profile.layout.offsets[block] + 3] = 500 * UNIT  # above
        state = detectors.start(watch)
        for _ in range(50):
            state = detectors.step(watch, state, scrape)
        assert not finding(watch, state).alarmed


@pytest.mark.parametrize(("share", "quiet"), [(0.02, True), (0.4, False)])
def test_h_one_client_doubles_its_traffic(share: float, quiet: bool) -> None:
    """
    (h) A client with a share s of the requests and values of its own sends twice as much: the mix moves by less than
    s in CDF. Below the tolerance P <= alpha_ref + T/A; a large client is a real change of what the model sees.
    """
    rng, runs, scrapes = np.random.default_rng(18), 12, 100
    own = np.zeros(BINS)
    own[:4] = 0.25
    usual = (FLAT - share * own) / (1 - share) if quiet else FLAT
    mix = FLAT if quiet else (1 - share) * FLAT + share * own
    doubled = (mix + share * own) / (1 + share)
    profile = flat_profile(rows=20_000)
    if not quiet:
        counts = np.round(mix * 20_000).astype(int).tolist()
        feature = {n: getattr(profile.features[0], n) for n in profile.features[0].__struct_fields__}
        feature["counts"] = (*counts, 0, 0, 0, 0)
        profile = type(profile)(rows=sum(counts), features=(type(profile.features[0])(**feature),))
    assert np.all(usual >= 0)
    watch = detector(profile, scrapes / ALPHA)
    alarms = 0
    for _ in range(runs):
        state = detectors.start(watch)
        for _ in range(scrapes):
            state = detectors.step(watch, state, requests(rng, 200, [doubled]))
        alarms += state.episodes > 0
    assert explained(alarms, runs, 0.03 + ALPHA) if quiet else alarms == runs


def test_the_reference_itself_is_a_sample() -> None:
    """A reference of 2,000 rows against 200 scrapes of 300 rows of the same law: P <= alpha_ref + T/A = .10."""
    rng, runs, scrapes = np.random.default_rng(19), 40, 200
    alarms = 0
    for _ in range(runs):
        profile = flat_profile(rows=2000)
        drawn = rng.multinomial(2000, FLAT).tolist()
        feature = {n: getattr(profile.features[0], n) for n in profile.features[0].__struct_fields__}
        sampled = type(profile.features[0])(**{**feature, "counts": (*drawn, 0, 0, 0, 0)})
        watch = detector(type(profile)(rows=2000, features=(sampled,)), scrapes / ALPHA, tolerance=0.0, alpha=0.05)
        state = detectors.start(watch)
        for _ in range(scrapes):
            state = detectors.step(watch, state, requests(rng, 300, [FLAT]))
        alarms += state.episodes > 0
    assert explained(alarms, runs, 0.10)


def test_alarms_stay_within_the_budget_when_each_is_cleared() -> None:
    """E[alarms in T steps] <= T/A, resets included: at the very limit of the null, 40 runs of T = 400 with A = T."""
    rng, runs, scrapes = np.random.default_rng(20), 40, 400
    watch = detector(flat_profile(rows=10**7), float(scrapes), tolerance=0.01)
    edge = FLAT.copy()
    edge[:10] -= 0.001
    edge[10:] += 0.001  # a CDF shift of exactly the tolerance at the median
    alarms = 0
    for _ in range(runs):
        state = detectors.start(watch)
        for _ in range(scrapes):
            state = detectors.step(watch, state, requests(rng, 100, [edge]))
            if state.since is not None:
                alarms += 1
                state = dataclasses.replace(detectors.start(watch), steps=state.steps)
    assert alarms <= runs + 3 * math.sqrt(runs)
