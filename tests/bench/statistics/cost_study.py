"""Cost: a row from memory to a verdict, ours and the peers', and the primitives by themselves."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onguard import contract, detectors, distances, effects
from onguard.budget import Objective
from onguard.counts import Counts
from onguard.profile import Profile
from onguard_sidecar.analyst.accumulate import Group
from onguard_sidecar.analyst.align import Aligned, Columns
from onguard_sidecar.decoding.batch import Batch
from tests.bench.statistics import datasets, ours, reference, venvs

Floats = npt.NDArray[np.float64]
Table = Mapping[str, npt.NDArray[Any]]
PEERS: Final = ("whylogs", "evidently", "nannyml")


def least(work: Callable[[], object], repeats: int) -> float:
    """Processor seconds of the fastest of ``repeats`` calls, after one that is not timed."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def numbers(rows: int, *, seed: int) -> Table:
    """20 columns of numbers."""
    rng = np.random.default_rng(seed)
    return {f"x{i}": rng.normal(size=rows) for i in range(20)}


def mixed(rows: int, *, seed: int) -> Table:
    """The employment data: one column of numbers, 15 of text."""
    table = datasets.employment()
    chosen = np.random.default_rng(seed).integers(0, len(table), rows)
    return {name: column[chosen] for name, column in table.columns.items()}


class Monitor:
    """Rows -> aligned -> counted -> evidence -> findings, with the sidecar's and the operator's functions."""

    def __init__(self, profile: Profile) -> None:
        self.counts = Counts.zero(profile)
        self.columns = Columns(profile.inputs, (), b"")
        self.group = Group(profile, self.columns.kept, self.counts)
        objectives = (Objective.DRIFT, Objective.DATA_QUALITY)
        self.judges = [ours.detector_of(profile, objective) for objective in objectives]
        self.states = [detectors.start(judge) for judge in self.judges]
        self.before = self.counts.unit_bins.copy()

    def take(self, batch: Batch) -> object:
        """One scrape of requests of one row each."""
        aligned = self.columns.align(batch)
        if not isinstance(aligned, Aligned):
            raise TypeError(f"expected rows that fit the reference, got {aligned}")
        self.group.add(aligned.cells, np.full(batch.rows, contract.UNIT, np.int64))
        self.group.flush()
        added, self.before = self.counts.unit_bins - self.before, self.counts.unit_bins.copy()
        moved = zip(self.judges, self.states, strict=True)
        self.states = [detectors.step(judge, state, added) for judge, state in moved]
        return [effects.finding(judge, state) for judge, state in zip(self.judges, self.states, strict=True)]


def onguard_seconds(make: Callable[..., Table], *, reference_rows: int, rows: int, repeats: int) -> float:
    """Least seconds of a scrape of ``rows`` fresh rows; building the reference is not counted, as with the peers."""
    monitor = Monitor(reference.profile_of(make(reference_rows, seed=1), seed=1))
    batches = iter([_batch(make(rows, seed=10 + i), rows) for i in range(repeats + 1)])
    return least(lambda: monitor.take(next(batches)), repeats)


def _batch(table: Table, rows: int) -> Batch:
    return Batch(rows, tuple(table), tuple(v if v.dtype == np.float64 else v.tolist() for v in table.values()))


def compared(make: Callable[..., Table], *, reference_rows: int, rows: int, repeats: int) -> dict[str, float]:
    """Microseconds a row by tool."""
    before, live = make(reference_rows, seed=1), make(rows, seed=2)
    arrays = {f"reference:{n}": _plain(v) for n, v in before.items()}
    arrays |= {f"live:{n}": _plain(v) for n, v in live.items()}
    ours_s = onguard_seconds(make, reference_rows=reference_rows, rows=rows, repeats=max(repeats, 10))
    found = {"onguard": ours_s / rows * 1e6}
    for peer in PEERS:
        answer = venvs.call(peer, f"{peer}_cost", arrays, {"repeats": repeats, "chunk": min(rows, 5000)})
        found[peer] = answer["seconds"] / answer["rows"] * 1e6
    return found


def _plain(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Unicode in place of objects, which .npz would pickle."""
    return values if values.dtype == np.float64 else np.array(["" if v is None else str(v) for v in values])


def primitives(*, repeats: int) -> dict[str, float]:
    """Milliseconds of each step for 50 features of 20 bins."""
    rng = np.random.default_rng(3)
    profile = reference.profile_of({f"x{i}": rng.normal(size=20_000) for i in range(50)}, seed=1)
    judges = {o: ours.detector_of(profile, o, tolerance=0.01) for o in (Objective.DRIFT, Objective.DATA_QUALITY)}
    live = np.array([count for f in profile.features for count in f.counts], np.int64) // 20
    states = {o: detectors.step(d, detectors.start(d), live * contract.UNIT) for o, d in judges.items()}
    blocks = [(f, live[profile.layout.block(i)]) for i, f in enumerate(profile.features)]
    works: dict[str, Callable[[], object]] = {
        "evaluate drift, 50 x 20": lambda: detectors.step(
            judges[Objective.DRIFT], states[Objective.DRIFT], live * contract.UNIT
        ),
        "evaluate data quality, 50 x 20": lambda: detectors.step(
            judges[Objective.DATA_QUALITY], states[Objective.DATA_QUALITY], live * contract.UNIT
        ),
        "findings, 50 x 20": lambda: [effects.finding(d, states[o]) for o, d in judges.items()],
        "PSI, JS, chi2, KS and W1 with critical values, 50 x 20": lambda: [
            distances.distances(feature, counts) for feature, counts in blocks
        ],
        "encode state, 50 x 20": lambda: states[Objective.DRIFT].encode(),
    }
    return {name: least(work, repeats) * 1e3 for name, work in works.items()}
