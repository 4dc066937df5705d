"""
One batch of rows against a reference, looked at once: a test of fixed size, for files and pipelines.

Live traffic is judged by ``onguard.detectors``, which may look any number of times; a file is looked at once, so
plain confidence limits do. Each judged event (see ``onguard.limits``) has limits from the reference, widened by the
tolerance, that miss with probability ``alpha / 2`` over all events together; and Clopper-Pearson limits from the batch
at ``alpha / 2`` over all K events of all objectives (Bonferroni: alpha / 4K a side). An event is found where the two do
not overlap. So, with rows that are independent, the probability of finding anything in a batch whose law is within the
tolerance of the reference's is at most ``alpha``.

The distances are for reading: their critical values are at ``alpha`` over the features (Bonferroni) and know of no
tolerance. They decide nothing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from onguard import upstream
from onguard.budget import Objective
from onguard.cause import Attribution, Findings, Labels, Signal, attribute
from onguard.counts import Counts
from onguard.distances import Distances, distances
from onguard.limits import Floats, Limits, limits_of
from onguard.profile import SPECIALS, Profile
from onguard.quantiles import clopper_pearson
from onguard.spec import Drift
from onguard.upstream import Upstream

ALPHA: Final = 0.01
TOLERANCE: Final = 0.01
OBJECTIVES: Final = (Objective.DRIFT, Objective.DATA_QUALITY, Objective.OUTPUTS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """
    One event outside its limits.

    Attributes:
        objective: drift, dataQuality or outputs.
        feature: its name.
        event: as a person reads it.
        expected, observed: its share in the reference and in the batch.
        low, high: limits of the share in the batch.
        lower, upper: limits from the reference, tolerance included.
    """

    objective: Objective
    feature: str
    event: str
    expected: float
    observed: float
    low: float
    high: float
    lower: float
    upper: float

    @property
    def shift(self) -> float:
        """Observed less expected."""
        return self.observed - self.expected


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """
    One feature of the batch.

    Attributes:
        name: of the feature.
        live: rows in its bins.
        missing, unparseable: shares of the rows.
        distances: None without a row.
        found: its events outside their limits, the widest first.
    """

    name: str
    live: tuple[int, ...]
    missing: float
    unparseable: float
    distances: Distances | None
    found: tuple[Found, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """
    What a batch looks like against its reference.

    Attributes:
        rows: of the batch.
        alpha, tolerance: that it was judged with.
        events: number of events that were judged.
        features: those that were judged, in the profile's order.
        upstream: faults of the data's way here that explain what was found.
    """

    rows: int
    alpha: float
    tolerance: float
    events: int
    features: tuple[Seen, ...]
    upstream: tuple[Upstream, ...] = ()

    @property
    def found(self) -> tuple[Found, ...]:
        """All events outside their limits, the widest first."""
        every = (found for seen in self.features for found in seen.found)
        return tuple(sorted(every, key=lambda found: -abs(found.shift)))


def judge(
    profile: Profile,
    counts: Counts,
    *,
    alpha: float = ALPHA,
    tolerance: float = TOLERANCE,
    without: frozenset[str] = frozenset(),
) -> Report:
    """
    Judge a batch.

    Args:
        profile: the reference.
        counts: of the batch, each row one request.
        alpha: probability of finding anything where nothing moved further than the tolerance.
        tolerance: widest change of a probability that does not matter.
        without: features that the batch does not have, such as outputs of a batch of requests.

    Raises:
        ValueError: for a batch without rows, or an alpha or tolerance outside (0, 1).

    >>> from onguard.profile import Feature, Kind, Numeric
    >>> age = Feature(name="age", kind=Kind.NUMERIC, edges=(30.0,), counts=(500, 500, 0, 0, 0, 0),
    ...     numeric=Numeric(minimum=1, maximum=60, mean=30, sd=9))
    >>> profile = Profile(rows=1000, features=(age,))
    >>> bins = np.array([700, 300, 0, 0, 0, 0])
    >>> counts = dataclasses.replace(Counts.zero(profile), rows=1000, bins=bins)
    >>> [(f.event, f.observed) for f in judge(profile, counts).found]
    [('age <= 30', 0.7)]
    """
    if counts.rows < 1:
        raise ValueError(f"expected at least 1 row, got {counts.rows}")
    if not (0.0 < alpha < 1.0 and 0.0 <= tolerance < 1.0):
        raise ValueError(f"expected alpha in (0, 1) and a tolerance in [0, 1), got {alpha} and {tolerance}")
    every = [limits_of(profile, objective, tolerance=tolerance, alpha=alpha / 2) for objective in OBJECTIVES]
    events = sum(len(limits.labels) for limits in every)
    found = [one for limits in every for one in _outside(profile, limits, counts, alpha / (4 * max(events, 1)))]
    found = [one for one in found if one.feature not in without]
    judged = [i for i, feature in enumerate(profile.features) if feature.name not in without]
    return Report(
        rows=counts.rows,
        alpha=alpha,
        tolerance=tolerance,
        events=events,
        features=tuple(_seen(profile, i, counts, found, alpha / max(len(judged), 1)) for i in judged),
        upstream=upstream.explain(profile, counts) if found else (),
    )


def _outside(profile: Profile, limits: Limits, counts: Counts, tail: float) -> list[Found]:
    if not limits.labels:
        return []
    sizes = limits.ends - limits.starts
    effects = {f.name: f.design_effect or profile.design_effect or 1.0 for f in profile.features}
    # Days of live data differ as the reference's do: a batch counts for no more than its effective rows either.
    effect = np.maximum(np.repeat([effects[name] for name in limits.features], sizes), 1.0)
    inside, weight = limits.tally(counts.bins)
    low, high = clopper_pearson(inside / effect, weight / effect, tail)
    observed: Floats = np.divide(inside, weight, out=limits.expected.copy(), where=weight > 0)
    names = np.repeat(np.arange(len(limits.features)), sizes)
    return [
        Found(
            objective=limits.objective,
            feature=limits.features[int(names[k])],
            event=limits.labels[k],
            expected=float(limits.expected[k]),
            observed=float(observed[k]),
            low=float(low[k]),
            high=float(high[k]),
            lower=float(limits.lower[k]),
            upper=float(limits.upper[k]),
        )
        for k in np.flatnonzero((low > limits.upper) | (high < limits.lower)).tolist()
    ]


def _seen(profile: Profile, at: int, counts: Counts, found: Sequence[Found], alpha: float) -> Seen:
    feature = profile.features[at]
    live = counts.bins[profile.layout.block(at)]
    missing, unparseable = live[-len(SPECIALS) :][:2] / max(int(live.sum()), 1)
    effect = max(feature.design_effect or profile.design_effect or 1.0, 1.0)
    return Seen(
        name=feature.name,
        live=tuple(live.tolist()),
        missing=float(missing),
        unparseable=float(unparseable),
        distances=distances(feature, live, alpha=alpha, design_effect=effect),
        found=tuple(sorted((f for f in found if f.feature == feature.name), key=lambda f: -abs(f.shift))),
    )


def attribution(report: Report, labels: Labels = Labels.UNKNOWN) -> Attribution:
    """
    Why a batch is as it is, by the table that the operator uses; of releases, load and pods a file says nothing.

    Args:
        report: of the batch.
        labels: what its labels say.

    >>> nothing = Report(rows=1, alpha=0.01, tolerance=0.01, events=0, features=())
    >>> attribution(nothing).cause, attribution(nothing, Labels.CONCEPT).cause
    (<Cause.NONE: 'none'>, <Cause.CONCEPT: 'concept'>)
    """
    drifted = [found for found in report.found if found.objective is Objective.DRIFT]
    surely = [max(found.low - found.expected, found.expected - found.high) for found in drifted]
    return attribute(
        Findings(
            quality=Signal.ALARM if report.upstream else _signal(report, Objective.DATA_QUALITY),
            inputs=_signal(report, Objective.DRIFT),
            outputs=_signal(report, Objective.OUTPUTS),
            labels=labels,
            beyond_retrain=max(surely, default=0.0) >= Drift().retrain_at,
        )
    )


def _signal(report: Report, objective: Objective) -> Signal:
    return Signal.ALARM if any(found.objective is objective for found in report.found) else Signal.QUIET
