"""Exactness of merging: replicas in any order, with restarts, give the counts and the evidence of one stream."""

import dataclasses

import numpy as np
import numpy.typing as npt

from onguard import contract, detectors
from onguard.counts import Counts, Report, decode_report, encode_report, from_wire, to_wire
from onguard.profile import Profile
from onguard_operator.counting import Cursor, advance
from onguard_sidecar.analyst.accumulate import Group
from tests.bench.statistics import ours, reference

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass
class Pod:
    """One replica: counts of its present boot, and how far the operator has read them."""

    counts: Counts
    group: Group
    boot: int = 0
    cursor: Cursor | None = None


def _boot(profile: Profile, boot: int = 0) -> Pod:
    counts = Counts.zero(profile)
    return Pod(counts, Group(profile, [f.name for f in profile.inputs], counts), boot)


def _report(pod: Pod, name: str) -> Report:
    pod.group.flush()
    rows = int(pod.counts.bins.sum()) // max(len(pod.counts.repeats), 1)
    whole = dataclasses.replace(pod.counts, rows=rows, units=rows * contract.UNIT)
    boot = f"{name}-{pod.boot}"
    return Report(
        sidecar_version="0",
        wire_boot=boot,
        analyst_boot=boot,
        model="m",
        revision="r",
        arm=contract.ARM_CANDIDATE,
        profile_hash=whole.profile_hash,
        epoch_now=0,
        counts=to_wire(whole),
    )


def is_exact(replicas: int, *, seed: int, scrapes: int = 40, rows: int = 200) -> bool:
    """
    Whether counts, evidence and alarm step equal those of one replica that saw all rows and was never restarted.

    Args:
        replicas: rows of each scrape are dealt to so many at random; they are read in random order.
        seed: of rows, orders and restarts (each pod restarts with probability .1 after a reading).
    """
    rng = np.random.default_rng(seed)
    profile = reference.profile_of({f"x{i}": rng.normal(size=4000) for i in range(5)}, seed=seed)
    detector = ours.detector_of(profile)
    one, pods = _boot(profile), [_boot(profile) for _ in range(replicas)]
    merged, single = detectors.start(detector), detectors.start(detector)
    before = np.zeros(profile.layout.total, np.int64)
    total = Counts.zero(profile)
    for _ in range(scrapes):
        cells = rng.normal(size=(rows, 5)) + 0.05
        _take(one, cells)
        for pod, share in zip(pods, np.array_split(rng.permutation(rows), replicas), strict=True):
            _take(pod, cells[share])
        increments = [_read(pods, int(i), profile, rng) for i in rng.permutation(replicas)]
        added = sum((c.unit_bins for c in increments), np.zeros(profile.layout.total, np.int64))
        for counts in increments:
            total = total + counts
        merged = detectors.step(detector, merged, added)
        one.group.flush()
        single = detectors.step(detector, single, one.counts.unit_bins - before)
        before = one.counts.unit_bins.copy()
    same = all(np.array_equal(getattr(total, n), getattr(one.counts, n)) for n in ("bins", "unit_bins", "exponents"))
    same &= np.array_equal(total.clipped, one.counts.clipped) and np.array_equal(total.products, one.counts.products)
    return bool(same and np.array_equal(merged.log_r, single.log_r) and merged.since == single.since)


def _take(pod: Pod, cells: Floats) -> None:
    pod.group.add(cells, np.full(len(cells), contract.UNIT, np.int64))


def _read(pods: list[Pod], at: int, profile: Profile, rng: np.random.Generator) -> Counts:
    """What a reading of pod ``at`` adds, through the wire's encoding; afterwards it may restart."""
    pod = pods[at]
    report = decode_report(encode_report(_report(pod, f"pod-{at}")))
    increment, pod.cursor = advance(pod.cursor, report, profile=profile, is_new=True)
    if report.counts is None or increment.counts is None:
        raise AssertionError("a report with counts added none")
    from_wire(report.counts, profile)
    if rng.random() < 0.1:
        pods[at] = dataclasses.replace(_boot(profile, pod.boot + 1), cursor=pod.cursor)
    return increment.counts


def study(*, runs: int) -> dict[str, tuple[int, int]]:
    """(exact, runs) by number of replicas."""
    return {str(n): (sum(is_exact(n, seed=100 * n + i) for i in range(runs)), runs) for n in (1, 5, 20)}
