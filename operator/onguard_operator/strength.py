"""
What supports a release as the cause when no second arm does: the old revision's own past (before against after).

Before-and-after comparisons are wrong a third of the time on real data, so only two extremes count: a failure so gross
that chance and season are out of the question, and a breach beyond everything that the old revision ever showed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from onguard import contract
from onguard.cause import Strength
from onguard_operator import epochs
from onguard_operator.evidence import Evidence, Past
from onguard_operator.judges import Judges, ServiceJudge

GROSS_EPOCHS: Final = 3
GROSS_REQUESTS: Final = 50
GROSS_SHARE: Final = 0.5
KEPT_EPOCHS: Final = 600 // contract.EPOCH_S
"""The old revision kept the objective for ten minutes: so many epochs with traffic."""
MIN_WINDOWS: Final = 100


def of_release(evidence: Evidence, judges: Judges) -> Strength:
    """Look at each objective of errors and latency; one that is gross, or beyond history, is enough."""
    current, previous = evidence.history.current, evidence.history.previous
    new = [row for row in evidence.past if row.revision == current and row.requests]
    old = [row for row in evidence.past if row.revision == previous and row.requests]
    return Strength(
        gross=any(_is_gross(new, old, judge) for judge in judges.service),
        beyond_history=any(_is_beyond(new, old, judge) for judge in judges.service),
    )


def _bad(judge: ServiceJudge) -> Callable[[Past], int]:
    if judge.column == epochs.ERRORS:
        return lambda row: min(row.errors, row.requests)
    slot = judge.column - epochs.SLOW
    return lambda row: min(row.slow[slot], row.requests) if slot < len(row.slow) else 0


def _share(rows: Iterable[Past], bad: Callable[[Past], int]) -> float:
    kept = list(rows)
    total = sum(row.requests for row in kept)
    return sum(bad(row) for row in kept) / total if total else 0.0


def _is_gross(new: Sequence[Past], old: Sequence[Past], judge: ServiceJudge) -> bool:
    """Over half of at least 50 requests bad in the last three epochs, after ten minutes of the old one's health."""
    bad, last, before = _bad(judge), new[-GROSS_EPOCHS:], old[-KEPT_EPOCHS:]
    if len(last) < GROSS_EPOCHS or sum(row.requests for row in last) < GROSS_REQUESTS:
        return False
    if len(before) < KEPT_EPOCHS or _share(before, bad) > judge.detector.at_most:
        return False
    return _share(last, bad) > GROSS_SHARE


def _is_beyond(new: Sequence[Past], old: Sequence[Past], judge: ServiceJudge) -> bool:
    """Worse than each of at least 100 windows of the old revision that are as long as the new one's time."""
    bad, length = _bad(judge), len(new)
    windows = [old[i : i + length] for i in range(0, len(old) - length + 1, length)] if length else []
    if len(windows) < MIN_WINDOWS:
        return False
    now = _share(new, bad)
    return now > judge.detector.at_most and all(_share(window, bad) < now for window in windows)
