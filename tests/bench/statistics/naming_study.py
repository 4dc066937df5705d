"""Which features an alarm names: the share of wrong names, and of moved features that are named."""

from typing import Any

import numpy as np

from onguard import detectors, effects
from onguard.budget import Objective
from tests.bench.statistics import ours, reference


def study(*, runs: int) -> list[dict[str, Any]]:
    """1, 3 and 5 of 50 features move by .3 sd; names are read 40 steps of 100 requests later."""
    return [_row(moved, runs) for moved in (1, 3, 5)]


def _row(moved: int, runs: int) -> dict[str, Any]:
    found = [_once(moved, seed) for seed in range(runs)]
    wrong = [len(named - true) / max(len(named), 1) for named, true in found]
    hit = [len(named & true) / len(true) for named, true in found]
    return {
        "moved": moved,
        "runs": runs,
        "false_discovery": float(np.mean(wrong)),
        "named": float(np.mean(hit)),
    }


def _once(moved: int, seed: int) -> tuple[set[str], set[str]]:
    rng = np.random.default_rng([seed, moved])
    names = [f"x{i}" for i in range(50)]
    profile = reference.profile_of({n: rng.normal(size=10_000) for n in names}, seed=seed)
    detector = ours.detector_of(profile, Objective.DRIFT, tolerance=0.01)
    true = {names[i] for i in rng.choice(50, moved, replace=False)}
    shift = np.array([0.3 if n in true else 0.0 for n in names])
    state = detectors.start(detector)
    for _ in range(40):
        bins = reference.bins_of(profile, rng.normal(size=(100, 50)) + shift)
        state = detectors.step(detector, state, ours.weights(np.bincount(bins.ravel(), minlength=profile.layout.total)))
    return {e.feature for e in effects.finding(detector, state).named}, true
