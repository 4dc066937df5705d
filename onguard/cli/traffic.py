"""Made-up traffic as frames: pods with counters, epochs and boots, as sidecars would have served them."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from onguard import contract
from onguard.cli.cells import Counter
from onguard.cli.generating import Fault, Random, Rows
from onguard.cli.truths import Collector
from onguard.counts import Epoch, Report, to_wire
from onguard.frames import Frame, PodFrame
from onguard.performance import baseline_of
from onguard.profile import Profile
from onguard.sidecar_config import of_spec
from onguard.spec import BaselineMode, Spec

READY_AFTER_S = 10.0
OLD, NEW = "old", "new"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weather:
    """
    What traffic is like.

    Attributes:
        rows: where they come from.
        faults: in the rows.
        errors: share of bad answers.
        slow: share of answers slower than each latency objective; None: half of what it allows.
    """

    rows: Rows
    faults: Sequence[Fault] = ()
    errors: float = 0.0
    slow: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
    """
    What happens.

    Attributes:
        rate: requests a second, over all pods.
        pods: how many serve.
        seconds: for how long.
        change_s: when ``after`` begins.
        before, after: traffic.
        is_release: a new revision begins with the change, and the change comes of it: the old one is spared.
        start: Unix time.
    """

    rate: float
    pods: int
    seconds: float
    change_s: float
    before: Weather
    after: Weather
    is_release: bool
    start: float


class _Pod:
    """Counters of one pod."""

    def __init__(self, uid: str, revision: str, born: float, *, profile: Profile, collector: Collector | None) -> None:
        self.uid, self.revision, self.arm, self.born = uid, revision, contract.ARM_CANDIDATE, born
        self._features, self._collector = len(profile.features), collector
        self._counter = Counter(profile)
        self._epochs: list[Epoch] = []
        self._requests = 0

    def serve(self, epoch: int, requests: int, weather: Weather, *, allowed: Sequence[float], random: Random) -> None:
        """Serve one epoch."""
        rows = weather.rows.draw(requests, random)
        cells = np.ascontiguousarray(rows[:, : self._features])
        for fault in weather.faults:
            fault.apply(cells, random)
        self._counter.add(cells)
        if rows.shape[1] > self._features and self._collector is not None:
            self._collector.add(cells, rows[:, self._features])
        self._requests += requests
        slow = [weather.slow if weather.slow is not None else share / 2 for share in allowed]
        connections = -(-requests // contract.CONNECTION_REQUESTS)
        self._epochs.append(
            Epoch(
                epoch,
                requests,
                int(random.binomial(requests, weather.errors)),
                tuple(int(random.binomial(requests, share)) for share in slow),
                connections,
                _bad_connections(connections, weather.errors, random),
                tuple(_bad_connections(connections, share, random) for share in slow),
            )
        )
        del self._epochs[: -contract.EPOCHS_SERVED]

    def frame(self, at: float, spec_hash: str, profile: Profile) -> PodFrame:
        """What the operator reads of it."""
        report = Report(
            sidecar_version="simulated",
            wire_boot=self.uid,
            analyst_boot=self.uid,
            model="",
            revision=self.revision,
            arm=self.arm,
            objectives_hash=spec_hash,
            profile_hash=profile.hash,
            epoch_now=int(at // contract.EPOCH_S),
            epochs=tuple(self._epochs),
            ledger={"inference": self._requests, "analysed": self._requests},
            counts=to_wire(self._counter.total()),
        )
        ready = self.born + READY_AFTER_S
        return PodFrame(
            uid=self.uid,
            revision=self.revision,
            arm=self.arm,
            born=self.born,
            ready_at=ready if ready <= at else None,
            report=report,
        )


def _bad_connections(connections: int, share: float, random: Random) -> int:
    """A connection is bad if any of its first requests is."""
    bad = 1.0 - (1.0 - share) ** contract.CONNECTION_REQUESTS
    return int(random.binomial(connections, bad)) * contract.UNIT


class Traffic:
    """
    Frames of a script; :meth:`roll_back` ends the new revision.

    Args:
        script: what happens.
        profile: the reference.
        spec: latency bounds and the baseline arm are its own.
        random: decides the rest.
    """

    def __init__(self, script: Script, profile: Profile, spec: Spec, random: Random) -> None:
        self._script, self._profile, self._random = script, profile, random
        self._allowed = [1.0 - latency.quantile for latency in spec.objectives.latency[: contract.LATENCY_SLOTS]]
        self._hash = of_spec("", spec, "").objectives_hash
        self._has_baseline = spec.release.baseline.mode is BaselineMode.SERVE
        self._collector = Collector(profile) if baseline_of(profile) is not None else None
        self._generation = 0
        self.current, self._began = OLD, script.start
        self._pods = self._started(OLD, script.pods, script.start - 600.0)

    def frames(self) -> Iterator[Frame]:
        """One frame a scrape, made when it is asked for."""
        script, changed = self._script, False
        first, last = int(script.start // contract.EPOCH_S), int((script.start + script.seconds) // contract.EPOCH_S)
        for epoch in range(first, last):
            at = float(epoch * contract.EPOCH_S)
            if not changed and at >= script.start + script.change_s:
                changed = True
                if script.is_release:
                    self._roll(NEW, at)
            self._serve(epoch, changed=changed)
            end = at + contract.EPOCH_S
            if end % contract.SCRAPE_S == 0:
                pods = tuple(pod.frame(end, self._hash, self._profile) for pod in self._pods)
                labelled = self._collector.take() if self._collector is not None else ()
                yield Frame(at=end, current=self.current, began=self._began, pods=pods, labelled=labelled)

    def roll_back(self, at: float) -> None:
        """The old revision serves again."""
        if self.current == NEW:
            self._roll(OLD, at)

    def _serve(self, epoch: int, *, changed: bool) -> None:
        script = self._script
        for pod in self._pods:
            is_hit = changed and (not script.is_release or pod.revision == NEW)
            requests = int(self._random.poisson(script.rate * contract.EPOCH_S / len(self._pods)))
            if requests:
                weather = script.after if is_hit else script.before
                pod.serve(epoch, requests, weather, allowed=self._allowed, random=self._random)

    def _roll(self, revision: str, at: float) -> None:
        kept = self._pods[:1] if self._has_baseline and revision == NEW else []
        for pod in kept:
            pod.arm = contract.ARM_BASELINE
        self.current, self._began = revision, at
        self._pods = [*kept, *self._started(revision, self._script.pods, at)]

    def _started(self, revision: str, count: int, at: float) -> list[_Pod]:
        self._generation += 1
        names = [f"{revision}-{self._generation}-{n}" for n in range(count)]
        return [_Pod(name, revision, at, profile=self._profile, collector=self._collector) for name in names]
