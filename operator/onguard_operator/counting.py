"""
From cumulative counters of pods to what is new: differences per (pod uid, boot), each counted once.

Epochs need none of this: they carry wall-clock ids (``epochs.py``).

A counter that was never seen before counts from zero only if its pod or boot is known to have begun after our last
reading; else its first reading is a baseline and adds nothing. Cursors are saved together with the evidence that they
belong to, so that a crash repeats nothing and the evidence after it is at most that of an uninterrupted run.
"""

import dataclasses
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from onguard.counts import Counts, CountsError, CountsWire, Report, from_wire
from onguard.profile import Profile

_LOST: Final = ("dropped", "truncated", "undecodable")
"""Outcomes of the tee that may depend on content; sampling does not."""
_SEEN: Final = "analysed"


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """
    How far one pod has been counted.

    Attributes:
        wire_boot, analyst_boot: boots that the rest belongs to.
        counts: cumulative counts at the last reading; None while there was no profile.
        ledger: cumulative counters of the wire at the last reading.
        at: Unix time of that reading; 0: not known.
    """

    wire_boot: str
    analyst_boot: str
    counts: CountsWire | None = None
    ledger: Mapping[str, int] = {}
    at: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Increment:
    """
    What one pod served since its last reading.

    Attributes:
        counts: None if there is nothing that may be counted.
        seen, lost: requests that were analysed; that were lost for a reason that may depend on them.
    """

    counts: Counts | None = None
    seen: int = 0
    lost: int = 0


def advance(
    cursor: Cursor | None, report: Report, *, profile: Profile | None, is_new: bool
) -> tuple[Increment, Cursor]:
    """
    Take one reading.

    Args:
        cursor: where this pod stood; None if it was never read.
        report: what it says now.
        profile: the reference that counts must belong to; None: counts are left out.
        is_new: the pod began after our last reading of this model, so that all it says is new.
    """
    same_wire = cursor is not None and cursor.wire_boot == report.wire_boot
    ledger = _ledger_since(cursor.ledger if cursor and same_wire else None, report, is_new=is_new or cursor is not None)
    increment = Increment(
        counts=_counts_since(cursor, report, profile, is_new=is_new) if profile is not None else None,
        seen=ledger.get(_SEEN, 0),
        lost=sum(_of_outcome(ledger, outcome) for outcome in _LOST),
    )
    moved = Cursor(
        wire_boot=report.wire_boot,
        analyst_boot=report.analyst_boot,
        counts=report.counts if report.counts is not None else _kept(cursor, report),
        ledger=report.ledger,
    )
    return increment, moved


def _kept(cursor: Cursor | None, report: Report) -> CountsWire | None:
    return cursor.counts if cursor and cursor.analyst_boot == report.analyst_boot else None


def _read(wire: CountsWire | None, profile: Profile) -> Counts | None:
    if wire is None:
        return None
    try:
        return from_wire(wire, profile)
    except CountsError:
        return None  # counted against another reference: the sidecar has yet to load the present one


def _counts_since(cursor: Cursor | None, report: Report, profile: Profile, *, is_new: bool) -> Counts | None:
    counts = _read(report.counts, profile)
    if cursor is None:
        return counts if is_new else None
    if counts is None or cursor.analyst_boot != report.analyst_boot:
        return counts  # a boot that began after the reading that the cursor stands for
    before = _read(cursor.counts, profile)
    if before is None:
        return None
    difference = counts - before
    return difference if difference.rows >= 0 and bool(np.all(difference.bins >= 0)) else None


def _ledger_since(before: Mapping[str, int] | None, report: Report, *, is_new: bool) -> Mapping[str, int]:
    if before is None:
        return report.ledger if is_new else {}
    return {name: max(value - before.get(name, 0), 0) for name, value in report.ledger.items()}


def _of_outcome(ledger: Mapping[str, int], outcome: str) -> int:
    """Sum of a counter and of its reasons, which the wire names ``outcome`` or ``outcome_reason``."""
    return sum(value for name, value in ledger.items() if name == outcome or name.startswith(f"{outcome}_"))


def lost_share(seen: int, lost: int) -> float:
    """
    Share of inference traffic that was lost for a reason that may depend on its content.

    >>> lost_share(95, 5), lost_share(0, 0)
    (0.05, 0.0)
    """
    return lost / (seen + lost) if lost else 0.0
