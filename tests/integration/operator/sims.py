"""Counters of pods, made up epoch by epoch as a script says."""

from dataclasses import dataclass, field, replace

import numpy as np

from onguard import contract
from onguard.counts import Counts, Epoch
from onguard.profile import Feature, Numeric, Profile
from onguard.profile import Kind as FeatureKind


@dataclass
class Traffic:
    """What one pod serves: requests a second, share of bad ones, connections per epoch."""

    rate: float = 20.0
    bad: float = 0.0
    connections: int = 10
    shift: int = 0
    """Bins by which the feature is moved to the right."""
    missing: float = 0.0


def make_profile() -> Profile:
    """A reference with one numeric feature in ten bins, whose limits are tight."""
    edges, counts = tuple(float(10 * i) for i in range(1, 10)), (5000,) * 10 + (0,) * 4
    numeric = Numeric(minimum=0.0, maximum=100.0, mean=50.0, sd=29.0)
    age = Feature(name="age", kind=FeatureKind.NUMERIC, edges=edges, counts=counts, numeric=numeric)
    return Profile(rows=50_000, features=(age,))


PROFILE = make_profile()


@dataclass
class PodSim:
    """Counters of one pod, made up epoch by epoch."""

    boot: str
    epoch: int
    epochs: list[Epoch] = field(default_factory=list)
    ledger: dict[str, int] = field(default_factory=lambda: {"inference": 0, "analysed": 0})
    counts: Counts = field(default_factory=lambda: Counts.zero(PROFILE))

    def run_until(self, epoch_now: int, traffic: Traffic) -> None:
        """Serve closed epochs up to ``epoch_now``."""
        while self.epoch < epoch_now:
            requests = round(traffic.rate * contract.EPOCH_S)
            errors = round(requests * traffic.bad)
            share = round(traffic.bad * traffic.connections * contract.UNIT)
            self.epochs.append(Epoch(self.epoch, requests, errors, (0, 0, 0, 0), traffic.connections, share, (0,) * 4))
            self.ledger["inference"] += requests
            self.ledger["analysed"] += requests
            self.counts = self.counts + counted(requests, traffic)
            self.epoch += 1


def counted(requests: int, traffic: Traffic) -> Counts:
    """Rows spread evenly over the bins, moved and thinned as the script says."""
    missing = round(requests * traffic.missing)
    rows = np.bincount(np.arange(requests - missing) % 10, minlength=10)
    moved = np.concatenate([np.zeros(traffic.shift, np.int64), rows[: 10 - traffic.shift]])
    moved[-1] += rows[10 - traffic.shift :].sum()
    bins = np.concatenate([moved, [missing, 0, 0, 0]]).astype(np.int64)
    unit = contract.UNIT
    return replace(Counts.zero(PROFILE), rows=requests, units=requests * unit, bins=bins, unit_bins=bins * unit)
