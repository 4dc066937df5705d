"""From a detector's state to what a person reads: the finding, with names and sizes of what moved."""

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from onguard.contract import UNIT
from onguard.detectors import Detector, log_mean, named
from onguard.findings import Effect, Finding, Verdict
from onguard.states import State

_MISS: Final = 0.05
"""Error of ``shift_low`` over the events of a feature together; for display and ranking, not for alarms."""


def finding(detector: Detector, state: State) -> Finding:
    """What ``state`` says about its objective."""
    verdict = verdict_of(state.steps, state.since)
    names = [_effect(detector, state, at) for at in named(detector, state)] if verdict is Verdict.ALARMED else []
    leading = _effect(detector, state, int(np.argmax(state.log_d))) if state.steps and state.log_d.size else None
    return Finding(
        objective=detector.threshold.objective,
        slot=detector.threshold.slot,
        verdict=verdict,
        since_step=state.since,
        step=state.steps,
        episodes=state.episodes,
        log_e=log_mean(state.log_d),
        log_threshold=detector.threshold.log_alarm,
        named=tuple(names),
        leading=leading,
        requests=float(state.weight.max(initial=0)) / UNIT,
    )


def verdict_of(steps: int, since: int | None) -> Verdict:
    """
    No step means no data, which is neither a breach nor health.

    >>> verdict_of(0, None), verdict_of(9, None), verdict_of(9, 4)
    (<Verdict.NO_DATA: 'NoData'>, <Verdict.QUIET: 'Quiet'>, <Verdict.ALARMED: 'Alarmed'>)
    """
    if steps == 0:
        return Verdict.NO_DATA
    return Verdict.QUIET if since is None else Verdict.ALARMED


def _effect(detector: Detector, state: State, at: int) -> Effect:
    """Of all events of the feature, the one that moved most in its recent traffic."""
    limits, feature = detector.limits, int(detector.judged[at])
    block = slice(int(limits.starts[feature]), int(limits.ends[feature]))
    n = state.weight[block] / UNIT
    expected = np.divide(state.foreseen[block] / UNIT, n, out=limits.expected[block].copy(), where=n > 0)
    observed = np.divide(state.inside[block] / UNIT, n, out=limits.expected[block].copy(), where=n > 0)
    shift = observed - expected
    worst = int(np.argmax(np.abs(shift)))
    z = NormalDist().inv_cdf(1.0 - _MISS / (2 * shift.size))
    p, weight = float(observed[worst]), max(float(n[worst]), 1.0)
    # Agresti and Coull: two extra successes and failures keep the error of an empty or full event above zero.
    error = math.sqrt((p * weight + 2.0) * ((1.0 - p) * weight + 2.0) / (weight + 4.0) ** 3)
    return Effect(
        feature=limits.features[feature],
        event=limits.labels[block.start + worst],
        shift=float(shift[worst]),
        shift_low=max(abs(float(shift[worst])) - z * error, 0.0),
        expected=float(expected[worst]),
        observed=p,
        requests=float(n[worst]),
        log_e=float(state.log_d[at]),
    )
