"""OnGuard's detectors over simulated traffic: the product's own functions, step by step."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from onguard import budget, contract, detectors, limits
from onguard.budget import Objective, Threshold
from onguard.profile import Profile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
STEPS: Final = 1000
ALPHA: Final = 0.05
LOG_ALARM: Final = float(np.log(STEPS / ALPHA))
"""The stated budget of the protocol: at most .05 alarms in 1,000 scrapes."""


def detector_of(
    profile: Profile, objective: Objective = Objective.DRIFT, *, tolerance: float = 0.0, log_alarm: float = LOG_ALARM
) -> detectors.Detector:
    """A detector with the error of a first reference and an alarm at ``log_alarm``."""
    chosen = limits.limits_of(profile, objective, tolerance=tolerance, alpha=budget.reference_alpha(1))
    naming = float(np.log(STEPS / budget.NAMING_ALPHA))
    return detectors.Detector(chosen, Threshold(objective=objective, share=1.0, log_alarm=log_alarm, log_naming=naming))


def evidence(detector: detectors.Detector, unit_bins: Iterable[Ints], *, stop_at: float = np.inf) -> Floats:
    """
    Ln of the evidence after each step.

    Args:
        detector: limits; its own threshold only resets, so give it an infinite one for a whole path.
        unit_bins: fixed-point weights of each step.
        stop_at: the rest of the path is NaN once the evidence has passed this.
    """
    state, path = detectors.start(detector), []
    for bins in unit_bins:
        state = detectors.step(detector, state, bins)
        path.append(detectors.log_mean(state.log_d))
        if path[-1] > stop_at:
            break
    return np.array(path)


def weights(counts: Ints) -> Ints:
    """Rows that are requests of their own, in fixed point."""
    return counts * contract.UNIT
