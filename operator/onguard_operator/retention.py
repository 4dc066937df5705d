"""
How long Decisions are kept, and whether the chain of those that are kept is whole. Pure.

Each record names the hash of the one before. Records go from the oldest on, so that the chain can be followed from the
newest back to the first that is kept; one that is kept for another reason stands before it, alone.
"""

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from onguard.cause import Cause
from onguard_operator import records
from onguard_operator.objects import Object, name_of, time_of

KEPT: Final = 50
"""Newest Decisions of a ModelDeployment that are kept whatever they say."""
ALERTS_FOR: Final = timedelta(days=30)
"""Alertmanager repeats an alert that goes on; its record is what tells a repetition from a new alert."""
_TO_BE_VERIFIED: Final = "RolledBack"


def superfluous(decisions: Sequence[Object], now: datetime) -> list[Object]:
    """
    List the records that may go.

    Args:
        decisions: all of one ModelDeployment, oldest first.
        now: a record of an alert is kept for ``ALERTS_FOR``.
    """
    return [decision for decision in decisions[: max(len(decisions) - KEPT, 0)] if _may_go(decision, now)]


def _may_go(decision: Object, now: datetime) -> bool:
    status = decision.get("status") or {}
    if not status.get("phase") or records.is_open(decision) or status.get("outcome") == _TO_BE_VERIFIED:
        return False
    decided = time_of(decision["spec"].get("decidedAt"))
    is_alert = decision["spec"]["cause"] == Cause.ALERT
    return not is_alert or (decided is not None and now - decided > ALERTS_FOR)


def breaks(decisions: Sequence[Object]) -> list[str]:
    """
    Names of the records whose predecessor is not the record that they name.

    Args:
        decisions: oldest first; of the first one nothing can be said. Records of alerts are the gate's and stand
            outside the chain.
    """
    chained = [decision for decision in decisions if decision["spec"]["cause"] != Cause.ALERT]
    return [
        name_of(later)
        for earlier, later in itertools.pairwise(chained)
        if later["spec"].get("previousHash", "") != records.hash_of(earlier)
    ]
