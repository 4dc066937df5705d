"""
Epochs of all pods, joined by their wall-clock id.

Nothing is kept between visits but the id up to which epochs were taken: the sidecars hold the last five minutes, and
are asked again for what is missing. An epoch is summed over the pods that were read (errors, latency); for the arms it
counts only if every pod of both arms speaks for it, since polls that are missed together with a burst would bias them.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from onguard import contract
from onguard.counts import Epoch, Ints, Report

WARM_UP_S: Final = 60.0
WARM_UP_REQUESTS: Final = 200
"""A pod's first minute or first 200 requests, whichever ends sooner, are no evidence about its revision."""
WIDTH: Final = 4 + 2 * contract.LATENCY_SLOTS
"""requests, errors, slow[LATENCY_SLOTS], connections, connection_bad, connection_slow[LATENCY_SLOTS]."""
REQUESTS: Final = 0
ERRORS: Final = 1
SLOW: Final = 2
CONNECTIONS: Final = SLOW + contract.LATENCY_SLOTS
CONNECTION_BAD: Final = CONNECTIONS + 1
CONNECTION_SLOW: Final = CONNECTIONS + 2
_INFERENCE: Final = "inference"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PodEpochs:
    """
    What one pod says of its epochs.

    Attributes:
        pod: uid.
        revision: revision of the model that it runs.
        arm: candidate, baseline or shadow.
        last: last epoch that no longer changes on this pod.
        rows: final epochs by id; no row means no traffic.
        warm_from: first epoch that is past the pod's warm-up.
    """

    pod: str
    revision: str
    arm: str
    last: int
    rows: Mapping[int, Epoch]
    warm_from: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """One epoch: (WIDTH,) sums by (revision, arm)."""

    id: int
    sums: Mapping[tuple[str, str], Ints]

    def total(self, arms: Iterable[str] = (contract.ARM_CANDIDATE, contract.ARM_BASELINE)) -> Ints:
        """Sum over the revisions of these arms; shadow answers reach no client and are left out."""
        chosen = [row for (_, arm), row in self.sums.items() if arm in arms]
        return np.sum(chosen, axis=0, dtype=np.int64) if chosen else np.zeros(WIDTH, np.int64)


def of_report(
    report: Report, *, pod: str, revision: str, arm: str, ready_at: float | None, objectives_hash: str
) -> PodEpochs | None:
    """
    Take the final epochs out of a report.

    Args:
        report: what the pod says.
        pod: its uid.
        revision: the revision that it runs.
        arm: its arm.
        ready_at: Unix time at which the pod became ready; None: it is not.
        objectives_hash: bounds and statuses that are in force; epochs cut under others are not used.
    """
    if report.objectives_hash != objectives_hash:
        return None
    last = report.epoch_now - 1 - contract.CONNECTION_SETTLE_EPOCHS
    rows = {epoch.id: epoch for epoch in report.epochs if epoch.id <= last}
    warm = _warm_from(report, rows, ready_at, last)
    return PodEpochs(pod=pod, revision=revision, arm=arm, last=last, rows=rows, warm_from=warm)


def _warm_from(report: Report, rows: Mapping[int, Epoch], ready_at: float | None, last: int) -> int:
    if ready_at is None:
        return last + 1
    by_time = int(np.ceil((ready_at + WARM_UP_S) / contract.EPOCH_S))
    served_before = report.ledger.get(_INFERENCE, 0) - sum(epoch.requests for epoch in report.epochs)
    for number in sorted(rows):
        if served_before >= WARM_UP_REQUESTS:
            return min(number, by_time)
        served_before += rows[number].requests
    return min(by_time, last + 1) if served_before < WARM_UP_REQUESTS else last + 1


def row_of(epoch: Epoch) -> Ints:
    """Lay an epoch out as (WIDTH,) numbers; absent latency columns are 0."""
    row = np.zeros(WIDTH, np.int64)
    row[[REQUESTS, ERRORS, CONNECTIONS, CONNECTION_BAD]] = (
        epoch.requests,
        epoch.errors,
        epoch.connections,
        epoch.connection_bad,
    )
    for start, values in ((SLOW, epoch.slow), (CONNECTION_SLOW, epoch.connection_slow)):
        row[start : start + len(values)] = values
    return row


def last_common(pods: Sequence[PodEpochs]) -> int | None:
    """Last epoch that is final on all of these pods; None without pods."""
    return min((pod.last for pod in pods), default=None)


def join(pods: Sequence[PodEpochs], first: int, last: int, *, skip_warm_up: bool) -> list[Joined]:
    """
    Sum epochs ``first`` to ``last`` over pods, in order.

    Args:
        pods: those that were read.
        first: first id wanted; ids that no sidecar keeps any more are not invented.
        last: last id wanted.
        skip_warm_up: leave out rows of a pod's warm-up.
    """
    oldest = max(last - contract.EPOCHS_SERVED + 1, first)
    joined = []
    for number in range(oldest, last + 1):
        sums: dict[tuple[str, str], Ints] = {}
        for pod in pods:
            epoch = pod.rows.get(number)
            if epoch is None or (skip_warm_up and number < pod.warm_from):
                continue
            key = (pod.revision, pod.arm)
            sums[key] = sums.get(key, np.zeros(WIDTH, np.int64)) + row_of(epoch)
        joined.append(Joined(number, sums))
    return joined
