"""
The error that live scores let expect, if they mean what they meant in the reference. Pure; it decides nothing.

Scores of the last requests are kept by bin: halved beyond twice ``RECENT``, so that they follow a changing world.
"""

import dataclasses
from typing import Final

import numpy as np

from onguard import contract, performance
from onguard.counts import Ints
from onguard.performance import Estimate
from onguard.profile import Profile
from onguard_operator.evidence import Evidence, Scored

RECENT: Final = 5000.0
"""Requests, as in the windows of dashboards."""
LEAST: Final = 200.0
"""Below so many requests the interval would say nothing."""


def noted(evidence: Evidence, unit_bins: Ints | None, profile: Profile | None) -> Evidence:
    """
    Add the scores of a visit.

    Args:
        evidence: so far.
        unit_bins: (B,) fixed-point weight per bin of the profile that the visit added; None: nothing was counted.
        profile: the reference; scores counted in another one's bins are forgotten.
    """
    if profile is None or performance.baseline_of(profile) is None:
        return dataclasses.replace(evidence, scored=None)
    before = evidence.scored if evidence.scored is not None and evidence.scored.bins == profile.hash else None
    if unit_bins is None:
        return dataclasses.replace(evidence, scored=before)
    rows, outside = performance.score_rows(profile, unit_bins / contract.UNIT)
    beyond = outside * float(rows.sum())
    if before is not None:
        rows, beyond = rows + np.array(before.rows), beyond + before.outside
    kept = 0.5 if rows.sum() > 2 * RECENT else 1.0
    scored = Scored(bins=profile.hash, rows=tuple((kept * rows).tolist()), outside=kept * beyond)
    return dataclasses.replace(evidence, scored=scored)


def estimate(evidence: Evidence, profile: Profile | None) -> Estimate | None:
    """What to expect; None without labels in the reference, or before ``LEAST`` requests had a score."""
    scored = evidence.scored
    baseline = performance.baseline_of(profile) if profile is not None else None
    if scored is None or profile is None or baseline is None or scored.bins != profile.hash:
        return None
    total = sum(scored.rows)
    if total < LEAST:
        return None
    return performance.estimate(baseline, np.array(scored.rows), outside=scored.outside / total)
