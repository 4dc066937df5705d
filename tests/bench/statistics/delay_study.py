"""Delay at equal false-alarm probability: .05 in 1,000 steps of 100 requests, ours and the peers'."""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onguard.profile import Profile
from tests.bench.statistics import delays, exact, ours, peers, reference, tuning
from tests.bench.statistics.streams import ROWS_PER_STEP, Stream

Floats = npt.NDArray[np.float64]
Sample = tuple[Floats, Floats]

CHANGE: Final = 60
"""Steps before the change: the longest window is full by then."""
AFTER: Final = 200
HELD_OUT: Final = 500_000
"""Seeds of the held-out nulls start here, those of the changed runs at twice this."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """How much is run."""

    tune: int
    held_out: int
    runs: int
    steps: int = ours.STEPS
    cells: int | None = None
    """At most so many changes a stream."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """One detector on one stream's nulls."""

    name: str
    threshold: float
    tuned: tuple[int, int]
    """(alarms, runs) on held-out nulls, at the tuned threshold."""
    default: tuple[int, int] | None
    """The same at the threshold or setting that it ships with."""


def study(size: Size, chosen: Sequence[Stream]) -> dict[str, Any]:
    """All streams: calibrations and cells."""
    cells: list[dict[str, Any]] = []
    calibrations: dict[str, list[dict[str, Any]]] = {}
    for stream in chosen:
        found = _calibrated(stream, size)
        calibrations[stream.name] = [dataclasses.asdict(c) for c in found]
        cells += _cells(stream, size, {c.name: c.threshold for c in found})
    return {"cells": cells, "calibrations": calibrations}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def samples_of(stream: Stream, seeds: range, *, steps: int, change: str | None = None) -> list[Sample]:
    """The same rows for every detector."""
    return [stream.sample(seed, steps=steps, change=change, at=CHANGE) for seed in seeds]


def _calibrated(stream: Stream, size: Size) -> list[Calibration]:
    nulls = samples_of(stream, range(size.tune), steps=size.steps)
    nulls += samples_of(stream, range(HELD_OUT, HELD_OUT + size.held_out), steps=size.steps)
    say(f"delay: onguard on {len(nulls)} nulls of {stream.name}")
    found = [_calibrated_by_maxima("onguard", tuning.run_maxima(our_paths(stream, nulls)), size, ours.LOG_ALARM)]
    for peer in (w for w in peers.WINDOWED if stream.kind in w.kinds):
        say(f"delay: {peer.name} on {len(nulls)} nulls of {stream.name}")
        maxima = tuning.run_maxima(peer.paths(nulls, kind=stream.kind, first=0, threshold=None))
        found.append(_calibrated_by_maxima(peer.name, maxima, size, peer.default))
    for streaming in (s for s in peers.STREAMING if stream.kind in s.kinds):
        say(f"delay: {streaming.name} on {len(nulls)} nulls of {stream.name}")
        found.append(_calibrated_by_setting(streaming, nulls, size))
    return found


def _calibrated_by_maxima(name: str, maxima: Floats, size: Size, default: float | None) -> Calibration:
    threshold = tuning.threshold_at(maxima[: size.tune], ours.ALPHA)
    held = maxima[size.tune :]
    return Calibration(
        name=name,
        threshold=threshold,
        tuned=(int(np.count_nonzero(held > threshold)), len(held)),
        default=None if default is None else (int(np.count_nonzero(held > default)), len(held)),
    )


def _calibrated_by_setting(peer: peers.Streaming, nulls: list[Sample], size: Size) -> Calibration:
    found = peer.alarms(nulls, first=0, settings=peer.settings)
    alarmed = {setting: [bool(run) for run in runs] for setting, runs in found.items()}
    rates = {setting: sum(runs[: size.tune]) / size.tune for setting, runs in alarmed.items()}
    held = {setting: (sum(runs[size.tune :]), size.held_out) for setting, runs in alarmed.items()}
    setting = tuning.pick_setting(rates, ours.ALPHA)
    return Calibration(name=peer.name, threshold=setting, tuned=held[setting], default=held[peer.default])


@functools.lru_cache(maxsize=512)
def _table_of(categories: tuple[str, ...]) -> Floats:
    table = np.full(1000, float(len(categories)))
    for index, name in enumerate(categories):
        table[int(name[1:])] = index
    return table


def profile_of(stream: Stream, values: Floats, seed: int) -> Profile:
    """The reference as a profile of one column ``x``."""
    column = values if stream.kind == "numeric" else np.array([f"c{int(v)}" for v in values], object)
    return reference.profile_of({"x": column}, seed=seed)


def our_paths(stream: Stream, samples: Sequence[Sample]) -> Floats:
    """(runs, steps) ln of the evidence of the product's drift detector at tolerance 0."""
    paths = []
    for seed, (values, live) in enumerate(samples):
        profile = profile_of(stream, values, seed)
        categories = profile.features[0].categories
        cells = live if stream.kind == "numeric" else _table_of(categories)[live.astype(int)]
        bins = reference.bins_of(profile, cells[:, None])
        counts = reference.counts_by_step(bins, rows_per_step=ROWS_PER_STEP, total=profile.layout.total)
        paths.append(ours.evidence(ours.detector_of(profile, log_alarm=np.inf), ours.weights(counts)))
    return np.array(paths)


def _cells(stream: Stream, size: Size, thresholds: dict[str, float]) -> list[dict[str, Any]]:
    changes = list(stream.changes)[: size.cells]
    seeds = range(2 * HELD_OUT, 2 * HELD_OUT + size.runs)
    samples = [s for change in changes for s in samples_of(stream, seeds, steps=CHANGE + AFTER, change=change)]
    found: dict[str, list[list[int | None]]] = {}
    for peer in (w for w in peers.WINDOWED if w.name in thresholds):
        say(f"delay: {peer.name} on {len(samples)} changes of {stream.name}")
        paths = peer.paths(samples, kind=stream.kind, first=CHANGE, threshold=thresholds[peer.name])
        found[peer.name] = _split(delays.first_crossings(paths, thresholds[peer.name], CHANGE), size.runs)
    for streaming in (s for s in peers.STREAMING if s.name in thresholds):
        say(f"delay: {streaming.name} on {len(samples)} changes of {stream.name}")
        setting = thresholds[streaming.name]
        runs = streaming.alarms(samples, first=CHANGE, settings=[setting])[setting]
        firsts = [next((step - CHANGE + 1 for step in run if step >= CHANGE), None) for run in runs]
        found[streaming.name] = _split(firsts, size.runs)
    path = our_paths(stream, samples)
    tuned = _split(delays.first_crossings(path, thresholds["onguard"], CHANGE), size.runs)
    stated = _split(delays.first_crossings(path, ours.LOG_ALARM, CHANGE), size.runs)
    return [
        {
            "stream": stream.name,
            "change": change,
            "shift": stream.shift_of(change),
            "ours": delays.median_delay(tuned[i]),
            "ours_at_budget": delays.median_delay(stated[i]),
            "peers": {name: delays.median_delay(runs[i]) for name, runs in found.items()},
        }
        for i, change in enumerate(changes)
    ]


def _split(values: Sequence[int | None], size: int) -> list[list[int | None]]:
    return [list(values[i : i + size]) for i in range(0, len(values), size)]


def cells_of(found: dict[str, Any], key: str) -> list[delays.Cell]:
    """Cells for the comparison; ``key`` is ``ours`` (tuned as the peers are) or ``ours_at_budget``."""
    return [
        delays.Cell(
            name=f"{c['stream']}: {c['change']}",
            shift=c["shift"],
            ours=c[key],
            peers={n: d for n, d in c["peers"].items() if n in tunable(found["calibrations"][c["stream"]])},
        )
        for c in found["cells"]
    ]


def tunable(calibrations: list[dict[str, Any]]) -> set[str]:
    """Detectors that could be tuned: after it they do not alarm on over half of the held-out nulls."""
    return {c["name"] for c in calibrations if c["tuned"][0] <= c["tuned"][1] / 2}


def ratios(found: dict[str, Any], key: str = "ours") -> tuple[float, float]:
    """Geometric means of the delay over the best peer's: all cells, and shifts of at most .05."""
    return delays.summarise(cells_of(found, key), longest=AFTER, small=0.05)


def limits_of(counted: tuple[int, int]) -> tuple[float, float]:
    """Exact limits of a false-alarm rate."""
    return exact.clopper_pearson(*counted)
