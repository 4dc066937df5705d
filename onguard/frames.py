"""
A recording: what was read of a model's pods, visit by visit, as the operator reads it.

A :class:`Frame` is one visit. Replayed in order through the operator's own evaluation, frames give the verdicts that
the operator gave on the same readings, bit by bit.
"""

from typing import Final

import msgspec

from onguard import contract
from onguard.counts import Report

SCHEMA: Final = "onguard.dev/recording"
FORMAT: Final = 1


class PodFrame(msgspec.Struct, frozen=True, kw_only=True):
    """One pod at one visit; times are Unix seconds."""

    uid: str
    revision: str
    """Name of the revision that it runs."""
    arm: str = contract.ARM_CANDIDATE
    born: float
    ready_at: float | None
    """Since when it is ready; None: it is not."""
    terminating: bool = False
    report: Report | None
    """None: it could not be read."""


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One visit."""

    at: float
    current: str
    """Revision that the target's template has."""
    began: float
    """When it became that."""
    pods: tuple[PodFrame, ...] = ()
    labelled: tuple[tuple[int, int], ...] = ()
    """Rows of the visit that have a label, and those of them that are wrong, by score bin; empty: none have."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Begin of a recording."""

    schema: str = SCHEMA
    version: int = FORMAT
    name: str = ""
    """Name of the model."""
    profile_json: bytes = b""
    """The reference that the counts belong to; empty: there was none."""
