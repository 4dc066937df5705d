"""
One visit's readings into the evidence. Pure: the same readings from the same evidence give the same evidence.

Differences of counters feed the detectors of data, joined epochs those of errors and latency and the arms. What can't
be read adds nothing; what is read twice is counted once.
"""

import dataclasses
import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from onguard import bounded, contract, detectors, season
from onguard.bounded import BoundedState
from onguard.budget import Objective
from onguard.counts import Counts, CountsWire, Ints, Report, from_wire, to_wire
from onguard.profile import Profile
from onguard.states import State
from onguard_operator import counting, epochs
from onguard_operator.counting import Cursor, Increment
from onguard_operator.epochs import Joined, PodEpochs
from onguard_operator.evidence import Evidence, Past
from onguard_operator.judges import Judges, ServiceJudge, name_of

PAST_ROWS: Final = 4 * 720
"""Rows of (epoch, revision) that are kept: an hour of two revisions at least."""
GIVE_UP_EPOCHS: Final = contract.EPOCHS_SERVED - 12
"""An epoch that some pod still lacks a minute before the sidecars forget it is discarded for the arms."""
MEASUREMENT_LOSS: Final = 0.05
MIN_FOR_LOSS: Final = 100
LOSS_VISITS: Final = 40
"""Ten minutes: an analyst that restarts loses seconds of traffic, which is no reason to doubt the measuring."""
_REACHING_CLIENTS: Final = (contract.ARM_CANDIDATE, contract.ARM_BASELINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PodReading:
    """What a pod said, and what we know of the pod."""

    pod: str
    revision: str
    arm: str
    report: Report
    is_new: bool
    ready_at: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """
    What readings are judged by: detectors, reference, and the identity of the objectives that cut the epochs.

    Attributes:
        learns_from: revisions whose counts may become a reference; none while there is nothing to learn.
    """

    judges: Judges
    profile: Profile | None
    objectives_hash: str
    learns_from: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Intake:
    """
    What was new in this visit.

    Attributes:
        counts: of data, all pods summed; None if nothing was counted.
        unit_bins: (B,) weight per bin of ``counts``.
        learnt: of data that revisions served which a reference may be learnt from; None if nothing was counted.
        hours: cells of the season that they came in.
        lost: share of inference traffic that was lost in a way that may depend on it.
        loss: (seen, lost) requests of this visit.
        served: epochs for errors and latency.
        paired: epochs that every pod of both arms speaks for.
    """

    counts: Counts | None = None
    unit_bins: Ints | None = None
    learnt: Counts | None = None
    hours: frozenset[int] = frozenset()
    lost: float = 0.0
    loss: tuple[int, int] = (0, 0)
    served: Sequence[Joined] = ()
    paired: Sequence[Joined] = ()


def absorb(
    evidence: Evidence, readings: Sequence[PodReading], setting: Setting, *, expected: frozenset[str], now: float
) -> tuple[Evidence, Intake]:
    """
    Take all readings of one visit.

    Args:
        evidence: so far.
        readings: of the pods that could be read.
        setting: detectors and reference.
        expected: uids of the pods that serve and should be readable.
        now: Unix time.
    """
    since = _since(evidence, readings)
    increments, cursors = _advance(evidence, readings, setting)
    cursors = {pod: msgspec.structs.replace(cursor, at=now) for pod, cursor in cursors.items()}
    intake = _data_intake(increments, setting, is_mixed=now < evidence.history.mixed_until)
    intake = dataclasses.replace(intake, hours=season.cells_between(since, now))
    data = _step_data(evidence, setting, intake)
    pods = [pod for reading in readings if (pod := _epochs_of(reading, setting)) is not None]
    served, service_to = _serve(evidence, pods)
    paired, arms_to = _pair(evidence, pods, expected)
    served, paired = _unmixed(evidence, served), _unmixed(evidence, paired)
    moved = dataclasses.replace(
        evidence,
        read_at=now if readings else evidence.read_at,
        cursors={**{uid: c for uid, c in evidence.cursors.items() if uid in expected}, **cursors},
        members=expected,
        service_to=service_to,
        arms_to=arms_to,
        data=data,
        since_drift=since_drift(evidence, data, intake, setting),
        service=_step_service(evidence, setting, served),
        losses=(*evidence.losses, intake.loss)[-LOSS_VISITS:],
        past=(*evidence.past, *_past_of(served))[-PAST_ROWS:],
    )
    return moved, dataclasses.replace(intake, served=served, paired=paired)


def is_lossy(evidence: Evidence) -> bool:
    """
    Whether so much traffic was lost, for a reason that may depend on it, that the measuring is in doubt.

    >>> is_lossy(Evidence(losses=((900, 0), (60, 40)))), is_lossy(Evidence(losses=((900, 0), (0, 100))))
    (False, True)
    """
    seen, lost = (sum(column) for column in zip(*evidence.losses, strict=True)) if evidence.losses else (0, 0)
    return seen + lost >= MIN_FOR_LOSS and counting.lost_share(seen, lost) > MEASUREMENT_LOSS


def since_of(evidence: Evidence) -> int:
    """The epoch after which sidecars are asked for epochs."""
    return min(evidence.service_to, evidence.arms_to)


def _advance(
    evidence: Evidence, readings: Iterable[PodReading], setting: Setting
) -> tuple[list[tuple[str, Increment]], dict[str, Cursor]]:
    """New counts with the revision that served them, and how far each pod is counted now."""
    increments, cursors = [], {}
    for reading in readings:
        increment, cursor = counting.advance(
            evidence.cursors.get(reading.pod), reading.report, profile=setting.profile, is_new=reading.is_new
        )
        cursors[reading.pod] = cursor
        if reading.arm in _REACHING_CLIENTS:
            increments.append((reading.revision, increment))
    return increments, cursors


def _since(evidence: Evidence, readings: Sequence[PodReading]) -> float:
    """When the oldest request may have come that these readings count for the first time."""
    known = [cursor.at for reading in readings if (cursor := evidence.cursors.get(reading.pod)) is not None]
    return min([evidence.read_at, *(at for at in known if at > 0.0)])


def _data_intake(increments: Sequence[tuple[str, Increment]], setting: Setting, *, is_mixed: bool) -> Intake:
    seen, lost = sum(i.seen for _, i in increments), sum(i.lost for _, i in increments)
    counted = [(revision, i.counts) for revision, i in increments if i.counts is not None and not is_mixed]
    total = _sum(counts for _, counts in counted)
    return Intake(
        counts=total,
        unit_bins=total.unit_bins if total is not None else None,
        learnt=_sum(counts for revision, counts in counted if revision in setting.learns_from),
        lost=counting.lost_share(seen, lost),
        loss=(seen, lost),
    )


def _sum(parts: Iterable[Counts]) -> Counts | None:
    listed = list(parts)
    return functools.reduce(operator.add, listed) if listed else None


def _step_data(evidence: Evidence, setting: Setting, intake: Intake) -> Mapping[str, State]:
    states = {}
    for judge in setting.judges.data:
        state = detectors.resume(judge.detector, evidence.data.get(judge.name))
        if intake.unit_bins is not None:
            state = detectors.step(judge.detector, state, intake.unit_bins, lost=intake.lost, hours=intake.hours)
        states[judge.name] = state
    return states


def since_drift(evidence: Evidence, data: Mapping[str, State], intake: Intake, setting: Setting) -> CountsWire | None:
    """Add up what was counted since drift alarmed, the visit of the alarm included."""
    state = data.get(name_of(Objective.DRIFT))
    if setting.profile is None or state is None or state.since is None:
        return None
    if intake.counts is None:
        return evidence.since_drift
    before = evidence.since_drift
    if before is None or before.profile_hash != setting.profile.hash:
        return to_wire(intake.counts)
    return to_wire(from_wire(before, setting.profile) + intake.counts)


def _epochs_of(reading: PodReading, setting: Setting) -> PodEpochs | None:
    return epochs.of_report(
        reading.report,
        pod=reading.pod,
        revision=reading.revision,
        arm=reading.arm,
        ready_at=reading.ready_at,
        objectives_hash=setting.objectives_hash,
    )


def _serve(evidence: Evidence, pods: Sequence[PodEpochs]) -> tuple[list[Joined], int]:
    """Epochs that are new and final on every pod that was read."""
    last = epochs.last_common(pods)
    if last is None or last <= evidence.service_to:
        return [], evidence.service_to
    if evidence.service_to == 0:
        return [], last
    return epochs.join(pods, evidence.service_to + 1, last, skip_warm_up=True), last


def _pair(evidence: Evidence, pods: Sequence[PodEpochs], expected: frozenset[str]) -> tuple[list[Joined], int]:
    """Epochs that every pod speaks for; those that a pod took away with it, or keeps from us, are discarded."""
    last = epochs.last_common(pods)
    if last is None or last <= evidence.arms_to:
        return [], evidence.arms_to
    read = {pod.pod for pod in pods}
    if evidence.arms_to == 0 or evidence.members - read - expected:
        return [], last
    if expected - read:
        return [], max(evidence.arms_to, last - GIVE_UP_EPOCHS)
    return epochs.join(pods, evidence.arms_to + 1, last, skip_warm_up=True), last


def _unmixed(evidence: Evidence, joined: Sequence[Joined]) -> list[Joined]:
    """Leave out epochs from before the kubelet has surely given pods the ConfigMap's new content."""
    return [epoch for epoch in joined if epoch.id * contract.EPOCH_S >= evidence.history.mixed_until]


def _step_service(evidence: Evidence, setting: Setting, served: Sequence[Joined]) -> Mapping[str, BoundedState]:
    return {judge.name: _step_judge(evidence, judge, served) for judge in setting.judges.service}


def _step_judge(evidence: Evidence, judge: ServiceJudge, served: Sequence[Joined]) -> BoundedState:
    state = bounded.resume(judge.detector, evidence.service.get(judge.name))
    totals = [epoch.total(_REACHING_CLIENTS) for epoch in served]
    pairs = [(int(min(row[judge.column], row[epochs.REQUESTS])), int(row[epochs.REQUESTS])) for row in totals]
    return bounded.steps(judge.detector, state, pairs)


def _past_of(served: Iterable[Joined]) -> Iterable[Past]:
    for epoch in served:
        by_revision: dict[str, Ints] = {}
        for (revision, arm), row in epoch.sums.items():
            if arm in _REACHING_CLIENTS:
                by_revision[revision] = by_revision.get(revision, np.zeros(epochs.WIDTH, np.int64)) + row
        for revision, row in by_revision.items():
            slow = tuple(int(v) for v in row[epochs.SLOW : epochs.SLOW + contract.LATENCY_SLOTS])
            yield Past(epoch.id, revision, int(row[epochs.REQUESTS]), int(row[epochs.ERRORS]), slow)
