"""
Thresholds that give every detector the same probability of a false alarm.

A detector is seen as a statistic per step, larger meaning more evidence. On null runs the threshold is the smallest
value that at most a share alpha of the runs reach; on other null runs, held out, the achieved rate is measured.
"""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def run_maxima(paths: Floats) -> Floats:
    """
    Largest statistic of each run.

    Args:
        paths: (runs, steps); NaN where the detector had nothing to say.

    >>> run_maxima(np.array([[1.0, 3.0, np.nan], [np.nan, np.nan, np.nan]]))
    array([  3., -inf])
    """
    maxima: Floats = np.where(np.isnan(paths), -np.inf, paths).max(axis=1)
    return maxima


def threshold_at(maxima: Floats, alpha: float) -> float:
    """
    Smallest threshold so that ``statistic > threshold`` alarms in at most a share ``alpha`` of these runs.

    Raises:
        ValueError: without runs or for an alpha outside (0, 1).

    >>> threshold_at(np.arange(1.0, 101.0), 0.05)
    95.0
    """
    if not maxima.size or not 0.0 < alpha < 1.0:
        raise ValueError(f"expected runs and an alpha between 0 and 1, got {maxima.size} runs and {alpha}")
    allowed = math.floor(alpha * maxima.size + 1e-9)
    return float(np.sort(maxima)[maxima.size - allowed - 1])


def pick_setting(alarm_rates: dict[float, float], alpha: float) -> float:
    """
    Of the settings of a detector without a statistic, the one that comes closest to ``alpha`` from below.

    Args:
        alarm_rates: share of null runs with an alarm, by setting.

    Without any setting at or below alpha the one with the fewest alarms is taken (and its rate is reported).

    >>> pick_setting({0.002: 0.3, 0.0002: 0.04, 0.00002: 0.0}, 0.05)
    0.0002
    """
    fair = {setting: rate for setting, rate in alarm_rates.items() if rate <= alpha + 1e-12}
    if fair:
        return max(fair, key=lambda setting: (fair[setting], setting))
    return min(alarm_rates, key=lambda setting: alarm_rates[setting])
