"""The window of displayed distances."""

import dataclasses

import numpy as np

from onguard import contract
from onguard.counts import Counts
from onguard_sidecar.analyst.windows import Window
from tests.unit.analyst.references import CHURN


def counts(units: int) -> Counts:
    zero = Counts.zero(CHURN)
    return dataclasses.replace(zero, units=units * contract.UNIT, bins=np.full_like(zero.bins, units))


def test_without_history_everything_is_in_the_window() -> None:
    assert Window().bins(counts(7), now=0.0)[0] == 7


def test_with_little_traffic_it_is_the_last_hour() -> None:
    window = Window()
    for minute in range(180):
        window.note(counts(minute), now=60.0 * minute)
    assert window.bins(counts(180), now=60.0 * 180)[0] == 60


def test_with_much_traffic_it_is_the_last_five_thousand_requests_or_a_little_more() -> None:
    window = Window()
    for minute in range(60):
        window.note(counts(2000 * minute), now=60.0 * minute)
    assert window.bins(counts(120_000), now=3600.0)[0] == 6000


def test_snapshots_are_a_minute_apart_and_bounded() -> None:
    window = Window()
    for second in range(0, 100_000, 5):
        window.note(counts(second), now=float(second))
    assert len(window._snapshots) <= 61


def test_after_a_long_silence_the_window_is_empty_not_wrong() -> None:
    window = Window()
    window.note(counts(5), now=0.0)
    window.note(counts(9), now=10_000.0)
    assert window.bins(counts(9), now=10_001.0).sum() == 0
