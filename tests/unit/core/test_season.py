"""A daily rhythm is not drift where the reference knows the hours, and a shift on top of it is still found."""

import dataclasses
import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard import detectors, season
from onguard.budget import Objective
from onguard.detectors import Detector
from onguard.effects import finding
from onguard.limits import limits_of
from onguard.profile import Profile, ProfileError, decode_profile, encode_profile
from onguard.states import State
from tests.unit.core.detector_cases import detector, flat_profile, moved, requests

DAY_S, START = 86_400.0, 1_790_000_000.0 - 1_790_000_000.0 % 86_400.0
STEP_S = 300.0
"""Scrapes are 15 s; a day of steps of 300 s has the same law, and a twentieth of the cost."""
N = 200
YEAR = 30 * DAY_S / STEP_S


def rhythm(at: float, *, extra: float = 0.0) -> np.ndarray:
    """Nights are older by 20 points than noons, weekends by 5 more."""
    hour = at % DAY_S / 3600
    weekend = 0.05 if dt.datetime.fromtimestamp(at, dt.UTC).weekday() >= 5 else 0.0
    return moved(0.10 * np.cos(2 * np.pi * np.floor(hour) / 24) + weekend + extra)


def learnt(rng: np.random.Generator, days: int = 28, *, per_hour: int = 2000) -> Profile:
    """A reference of so many days, with and from their hours."""
    hours: dict[int, np.ndarray] = {}
    for hour in range(24 * days):
        at = START + 3600.0 * hour
        bins = np.concatenate([rng.multinomial(per_hour, rhythm(at)), [0] * 4])
        cell = season.cell_of(at)
        hours[cell] = hours.get(cell, 0) + bins
    total = sum(hours.values())
    whole = flat_profile(rows=20)
    (feature,) = whole.features
    fields = {name: getattr(feature, name) for name in feature.__struct_fields__}
    counted = type(feature)(**{**fields, "counts": tuple(total.tolist())})
    profile = season.with_season(Profile(rows=int(total.sum()), features=(counted,)), hours)
    return decode_profile(encode_profile(profile))


def watched(
    watch: Detector, rng: np.random.Generator, days: float, *, shift: float = 0.0, first: float = START + 28 * DAY_S
) -> tuple[State, float | None]:
    """The state after so many days, and hours until the first alarm."""
    state, alarmed = detectors.start(watch), None
    for step in range(int(days * DAY_S / STEP_S)):
        at = first + (step + 1) * STEP_S
        scrape = requests(rng, N, [rhythm(at - 1.0, extra=shift)])
        # As the operator does: the hours that this scrape's requests may have come in.
        state = detectors.step(watch, state, scrape, hours=season.cells_between(at - STEP_S, at))
        if alarmed is None and state.since is not None:
            alarmed = (step + 1) * STEP_S / 3600
    return state, alarmed


@pytest.fixture(scope="module")
def reference() -> Profile:
    return learnt(np.random.default_rng(41))


def of(profile: Profile) -> Detector:
    return detector(profile, YEAR / 0.3)


def plain(profile: Profile) -> Profile:
    """The same counts without their hours."""
    fields = {name: getattr(profile, name) for name in profile.__struct_fields__}
    return Profile(**{**fields, "extensions": {}})


def test_without_a_season_a_daily_rhythm_alarms_and_with_it_not_in_thirty_days(reference) -> None:
    state, alarmed = watched(of(plain(reference)), np.random.default_rng(42), 3)
    assert alarmed is not None
    assert alarmed <= 24
    assert state.episodes > 1, "it comes and goes, each day anew"
    quiet, never = watched(of(reference), np.random.default_rng(43), 30)
    assert (never, quiet.episodes) == (None, 0)


@pytest.mark.parametrize(("shift", "within_h"), [(0.05, 6.0), (0.10, 1.5), (0.20, 0.5)])
@pytest.mark.parametrize("begin_h", [3, 15])
def test_a_shift_on_top_of_the_rhythm_is_found_at_any_hour(reference, shift, within_h, begin_h) -> None:
    watch, first = of(reference), START + 28 * DAY_S + 3600.0 * begin_h
    state, alarmed = watched(watch, np.random.default_rng(44), within_h / 24, shift=shift, first=first)
    assert alarmed is not None
    found = finding(watch, state)
    assert found.leading is not None
    assert found.leading.shift == pytest.approx(-shift, abs=0.03), "against the hour, not against the whole week"


def test_an_alarm_clears_when_the_rhythm_is_back_though_the_hours_differ(reference) -> None:
    watch, rng = of(reference), np.random.default_rng(45)
    state, _ = watched(watch, rng, 0.25, shift=0.2)
    assert state.since is not None
    for step in range(144):
        at = START + 28 * DAY_S + 6 * 3600.0 + (step + 1) * STEP_S
        scrape = requests(rng, N, [rhythm(at - 1.0)])
        state = detectors.step(watch, state, scrape, hours=season.cells_between(at - STEP_S, at))
    assert (state.since, state.episodes) == (None, 1)


def test_an_hour_that_the_reference_does_not_know_is_not_judged() -> None:
    profile = learnt(np.random.default_rng(46), days=7)
    cells = {cell: bins for cell, bins in season.season_of(profile).items() if cell != 4}
    watch, rng = of(season.with_season(profile, cells)), np.random.default_rng(47)
    state = detectors.start(watch)
    for _ in range(500):
        state = detectors.step(watch, state, requests(rng, N, [moved(0.4)]), hours=frozenset({4}))
    assert state.since is None
    for _ in range(5):
        state = detectors.step(watch, state, requests(rng, N, [moved(0.4)]), hours=frozenset({5}))
    assert state.since is not None


def test_two_hours_at_once_are_judged_by_what_either_allows(reference) -> None:
    limits = limits_of(reference, Objective.DRIFT, tolerance=0.01, alpha=0.03)
    one, other, both = (limits.at(c) for c in ({0}, {12}, {0, 12}))
    np.testing.assert_array_equal(both.lower, np.minimum(one.lower, other.lower))
    np.testing.assert_array_equal(both.upper, np.maximum(one.upper, other.upper))
    assert np.all(both.upper - both.lower >= np.maximum(one.upper - one.lower, other.upper - other.lower))
    assert limits.at(()) is limits


def test_limits_of_the_hours_hold_all_at_once() -> None:
    """Over 60 references of a week: some hour's limits, without tolerance, miss the truth in at most alpha = 3 %."""
    misses, rng = 0, np.random.default_rng(48)
    for _ in range(60):
        profile = learnt(rng, days=7, per_hour=300)
        limits = limits_of(profile, Objective.DRIFT, tolerance=0.0, alpha=0.03)
        misses += any(
            np.any((truth := np.cumsum(rhythm(START + at))[:-1]) > at_hour.upper + 1e-12)
            or np.any(truth < at_hour.lower - 1e-12)
            for at in np.arange(0.0, 7 * DAY_S, 3600.0)
            for at_hour in (limits.by_hour[season.cell_of(START + at)],)
        )
    assert misses <= 6, "binomial(60, .03) exceeds 6 with probability .003"


def test_a_reference_without_a_season_is_judged_as_before() -> None:
    watch, scrape = detector(flat_profile(), 1e5), requests(np.random.default_rng(49), 300, [moved(0.1)])
    one = detectors.step(watch, detectors.start(watch), scrape)
    other = detectors.step(watch, detectors.start(watch), scrape, hours=frozenset({3}))
    np.testing.assert_array_equal(one.log_r, other.log_r)


def test_a_state_that_was_saved_before_there_were_seasons_goes_on(reference) -> None:
    watch = of(plain(reference))
    state = detectors.step(watch, detectors.start(watch), requests(np.random.default_rng(50), 300, [moved(0.1)]))
    old = dataclasses.replace(state, foreseen=np.zeros(0, np.int64))
    again = detectors.resume(watch, State.decode(old.encode()))
    np.testing.assert_allclose(again.foreseen, state.foreseen, atol=1)


def test_the_season_is_part_of_the_file_and_of_its_hash(reference) -> None:
    read = decode_profile(encode_profile(reference))
    assert read.hash == reference.hash != plain(reference).hash
    cells, known = season.season_of(read), season.season_of(reference)
    assert len(cells) == len(known) == season.CELLS
    assert all(np.array_equal(cells[c], known[c]) for c in known)
    assert season.thin(reference) == (0, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"cells": 1}', "Expected `array`"),
        ('{"cells": [[48, [1]]]}', "expected each cell from 0 to 47 once, got 48"),
        ('{"cells": [[0, [1]]]}', "expected 24 counts >= 0, got 1"),
        ("{}", "missing required field `cells`"),
    ],
)
def test_a_broken_season_is_refused_with_its_place(text, message) -> None:
    profile = flat_profile()
    encoded = encode_profile(profile).replace(b'"extensions": {}', b'"extensions": {"season": ' + text.encode() + b"}")
    with pytest.raises(ProfileError, match=message):
        season.season_of(decode_profile(encoded))


@given(st.floats(0, 4e9), st.floats(0, 40 * DAY_S))
def test_cells_between_two_moments_hold_every_moment_between_them(start, span) -> None:
    cells = season.cells_between(start, start + span)
    for share in (0.0, 0.3, 0.7, 1.0):
        assert season.cell_of(start + share * span) in cells
