"""Which events are judged, and between which limits."""

import numpy as np
import pytest
from scipy import stats

from onguard.budget import Objective
from onguard.limits import Limits, limits_of
from onguard.profile import Feature, Group, Kind, Numeric, Profile, Role

EDGES = tuple(float(i) for i in range(1, 20))
NUMERIC = Numeric(minimum=0, maximum=20, mean=10, sd=6)


def ordered(name: str = "age", counts: tuple[int, ...] = (500,) * 20 + (0,) * 4, **changes: object) -> Feature:
    edges = EDGES[: len(counts) - 5]
    return Feature(
        **{"name": name, "kind": Kind.NUMERIC, "edges": edges, "counts": counts, "numeric": NUMERIC, **changes}
    )


def town(counts: tuple[int, ...] = (6000, 3990, 10, 0, 0, 0, 0), **changes: object) -> Feature:
    return Feature(
        **{"name": "town", "kind": Kind.CATEGORICAL, "categories": ("Bern", "Chur"), "counts": counts, **changes}
    )


def limits(*features: Feature, objective: Objective = Objective.DRIFT, tolerance: float = 0.01) -> Limits:
    profile = Profile(rows=sum(features[0].counts), features=features)
    return limits_of(profile, objective, tolerance=tolerance, alpha=0.05)


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        (Objective.DRIFT, ("age <= 1", "town = Bern", "town = Chur")),
        (
            Objective.DATA_QUALITY,
            (
                "age missing",
                "age unparseable",
                "age below",
                "age above",
                "town missing",
                "town unparseable",
                "town unseen",
                "key missing",
                "key unparseable",
                "made missing",
                "made unparseable",
            ),
        ),
        (Objective.OUTPUTS, ("score <= 1", "score missing", "score unparseable", "score below", "score above")),
    ],
)
def test_each_objective_judges_its_own_events(objective: Objective, labels: tuple[str, ...]) -> None:
    short = (5000, 5000, 0, 0, 0, 0)
    features = (
        ordered("age", short),
        town(),
        ordered("key", short, role=Role.ID),
        ordered("made", short, kind=Kind.DATETIME, role=Role.TIME),
        ordered("score", short, group=Group.OUTPUT),
    )
    assert limits(*features, objective=objective).labels == labels


def test_events_count_what_their_labels_say() -> None:
    features = (ordered("age", (3, 2, 1, 4, 5, 6)), town((1, 2, 4, 8, 6, 0, 0)))
    found = {}
    for objective in (Objective.DRIFT, Objective.DATA_QUALITY):
        judged = limits(*features, objective=objective)
        inside, weight = judged.tally(np.array([*features[0].counts, *features[1].counts]))
        found |= {label: (int(s), int(n)) for label, s, n in zip(judged.labels, inside, weight, strict=True)}
    assert found == {
        "age <= 1": (3 + 5, 3 + 2 + 5 + 6),  # below is at most every edge; missing and unparseable are left out
        "town = Bern": (1, 7),
        "town = Chur": (2, 7),
        "age missing": (1, 21),
        "age unparseable": (4, 21),
        "age below": (5, 21),
        "age above": (6, 21),
        "town missing": (8, 21),
        "town unparseable": (6, 21),
        "town unseen": (4, 21),
    }


def test_limits_hold_the_reference_and_the_tolerance_beyond_it() -> None:
    judged = limits(ordered())
    assert np.all(judged.lower <= judged.expected - 0.01)
    assert np.all(judged.upper >= judged.expected + 0.01)


def test_an_ordered_limit_is_the_narrower_of_two_bands() -> None:
    judged = limits(ordered(), tolerance=0.0)
    share, n = 0.05 / 2, 10_000
    dkw = np.sqrt(np.log(4 / share) / (2 * n))
    s = judged.expected * n
    exact = stats.beta.isf(share / 4 / 19, s + 1, n - s)
    np.testing.assert_allclose(judged.upper, np.minimum(exact, judged.expected + dkw), rtol=1e-8)


def test_limits_cover_the_truth_as_often_as_promised() -> None:
    """alpha = .05 over all events of three objectives; the band of one of them misses no more often."""
    rng = np.random.default_rng(5)
    misses = 0
    for _ in range(100):
        judged = limits(ordered(counts=(*rng.multinomial(2000, [0.05] * 20).tolist(), 0, 0, 0, 0)), tolerance=0.0)
        truth = np.arange(1, 20) / 20
        misses += bool(np.any((truth < judged.lower) | (truth > judged.upper)))
    assert stats.binomtest(misses, 100, 0.05, alternative="greater").pvalue > 0.001


def test_days_that_differ_widen_the_limits_of_their_feature_only() -> None:
    plain = limits(ordered("a"), ordered("b"))
    varying = limits(ordered("a"), ordered("b", design_effect=9.0))
    np.testing.assert_array_equal(varying.upper[:19], plain.upper[:19])
    assert np.all(varying.upper[19:] > plain.upper[19:])


def test_lost_traffic_widens_to_what_it_could_have_been() -> None:
    judged = limits(ordered())
    lower, upper = judged.widened(0.1)
    np.testing.assert_allclose(lower, np.maximum((judged.lower - 0.1) / 0.9, 0))
    np.testing.assert_allclose(upper, np.minimum(judged.upper / 0.9, 1))


def test_limits_of_another_tolerance_have_another_key() -> None:
    assert limits(ordered()).key != limits(ordered(), tolerance=0.02).key


@pytest.mark.parametrize("bins", [np.zeros(23, np.int64), np.array([-1] + [0] * 23), np.zeros(0, np.int64)])
def test_counts_that_can_not_be_are_refused(bins: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected 24 counts >= 0"):
        limits(ordered()).tally(bins)


def test_a_feature_that_was_always_missing_judges_nothing_about_its_values() -> None:
    judged = limits(ordered(counts=(0,) * 20 + (100, 0, 0, 0)))
    assert np.all(judged.lower == 0)
    assert np.all(judged.upper == 1)
