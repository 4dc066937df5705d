"""Labels of replayed traffic: errors by score bin, and what the detector says of them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onguard import concept
from onguard.calibrating import score_of
from onguard.frames import Frame
from onguard.performance import Change, Errors, Interval, baseline_of, change
from onguard.profile import Profile, ProfileError
from onguard.spec import FalseAlarms
from onguard_operator.assess import PERFORMANCE, Labelled
from onguard_operator.records import Measured

Floats = npt.NDArray[np.float64]
Pairs = tuple[tuple[int, int], ...]


class Collector:
    """
    Counts errors of rows that are served with their label.

    Args:
        profile: with labels.

    Raises:
        ProfileError: for a profile without.
    """

    def __init__(self, profile: Profile) -> None:
        baseline, score = baseline_of(profile), score_of(profile.features)
        if baseline is None or score is None:
            raise ProfileError("expected a reference with labels (onguard profile --label), got one without")
        self._baseline, self._at = baseline, profile.features.index(score)
        nothing = np.zeros(baseline.errors.rows.size)
        self._nothing = self._errors = Errors(nothing, nothing)

    def add(self, cells: Floats, labels: Floats) -> None:
        """Count rows: (rows, features) cells, and 0, 1 or NaN for each."""
        self._errors += self._baseline.counted(cells[:, self._at], labels)

    def take(self) -> Pairs:
        """All since the last time; nothing if no row had a label."""
        if not self._errors.total:
            return ()
        pairs = np.stack([self._errors.rows, self._errors.wrong], axis=1).astype(np.int64)
        self._errors = self._nothing
        return tuple((int(rows), int(wrong)) for rows, wrong in pairs)


class Watch:
    """Judges the labels of visits, if there are any."""

    def __init__(self, profile: Profile | None, false_alarms: FalseAlarms) -> None:
        baseline = baseline_of(profile) if profile is not None else None
        self._hash = profile.hash if profile is not None else ""
        self._detector = concept.detector_of(baseline, false_alarms) if baseline is not None else None
        self._state = concept.start(self._detector) if self._detector is not None else None

    def see(self, frame: Frame) -> Labelled:
        """Take one visit's labels; those that were counted by another reference say nothing."""
        if self._detector is None or self._state is None:
            return Labelled()
        read = [pod.report.profile_hash for pod in frame.pods if pod.report is not None]
        if frame.labelled and set(read) == {self._hash}:
            rows, wrong = np.array(frame.labelled, np.float64).T
            self._state = concept.step(self._detector, self._state, Errors(rows, wrong))
        verdict = concept.labels(self._detector, self._state)
        if not self._state.recent.total:
            return Labelled(verdict=verdict)
        return Labelled(verdict=verdict, figures=figures(change(self._detector.baseline, self._state.recent)))


def figures(found: Change) -> tuple[Measured, ...]:
    """The change of the error and its two terms."""
    told = f"{found.before.value:.1%} in the reference, {found.now.value:.1%} of {found.rows:.0f} labelled rows now"
    named: Sequence[tuple[str, Interval, str]] = (
        (PERFORMANCE, found.now, told),
        (f"{PERFORMANCE}: by the mix of scores", found.by_mix, _points(found.by_mix)),
        (f"{PERFORMANCE}: at equal scores", found.at_equal_scores, _points(found.at_equal_scores)),
    )
    return tuple(
        Measured(name=name, value=i.value, low=i.low, high=i.high, unit="share wrong", detail=detail)
        for name, i, detail in named
    )


def _points(interval: Interval) -> str:
    return f"{100 * interval.value:+.1f} points ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"
