"""Rows of ``status.detectable``: the smallest effect that each detector finds within an hour at the present traffic."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

from onguard import contract, power
from onguard_operator.evidence import Evidence
from onguard_operator.judges import Judges
from onguard_operator.objects import Object

WITHIN_S: Final = 3600
WITHIN: Final = "1h"


def detectable(evidence: Evidence, judges: Judges) -> Sequence[Object]:
    """
    One row a detector; an effect of 1 means that nothing is found in time.

    Args:
        evidence: whose last epochs say how much traffic there is.
        judges: all detectors.
    """
    per_scrape = _requests_per_s(evidence) * contract.SCRAPE_S
    rows = []
    for data in judges.data:
        typical = dataclasses.replace(data.detector, limits=data.detector.limits.typical())
        found = power.detectable(typical, requests_per_step=per_scrape, steps=WITHIN_S // contract.SCRAPE_S)
        rows.append(_row(data.name, found, "shift of a typical feature's distribution"))
    for service in judges.service:
        found = power.bounded_detectable(service.detector, steps=WITHIN_S // contract.EPOCH_S)
        # Epochs weigh alike: their number matters, not the requests in each.
        rows.append(
            _row(service.name, found if per_scrape > 0 else found._replace(smallest=1.0), "share of bad requests")
        )
    return rows


def _requests_per_s(evidence: Evidence) -> float:
    """Over the last epochs that the sidecars keep; 0 without any."""
    newest = max((past.id for past in evidence.past), default=0)
    recent = [past for past in evidence.past if past.id > newest - contract.EPOCHS_SERVED]
    span = newest - min((past.id for past in recent), default=newest) + 1
    # To one digit, so that the status is not written for every request more or less.
    return rounded(sum(past.requests for past in recent) / (span * contract.EPOCH_S))


def rounded(number: float) -> float:
    """
    To one significant digit.

    >>> rounded(0.0), rounded(47.1), rounded(0.0234)
    (0.0, 50.0, 0.02)
    """
    return float(f"{number:.1g}") if number > 0 and math.isfinite(number) else 0.0


def _row(name: str, found: power.Detectable, what: str) -> Object:
    effect = min(math.ceil(found.smallest * 1000) / 1000, 1.0)
    text = "nothing is found in time" if effect >= 1.0 else f"{what} of {effect:.1%}; never below {found.floor:.1%}"
    return {"objective": name, "effect": effect, "unit": "ratio", "within": WITHIN, "detail": text}
