"""
The null of drift and data quality: each judged event and the limits that its probability must stay within.

Events of a feature are `X <= edge` for each inner edge (ordered) or `X in category`, conditional on a present,
parseable value; and missing, unparseable, below, above and unseen over all requests. From s of N reference rows,
N divided by the design effect, the limits are the narrower of Clopper-Pearson and, for ordered events, the
Dvoretzky-Kiefer-Wolfowitz band (Massart, Ann. Probab. 18, 1990), at half of the error each, split over features and
events, and then widened by the tolerance. So, with probability 1 - alpha over the reference, every event whose true
probability lies within the tolerance of the reference law is inside its limits.
"""

import dataclasses
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from onguard import season
from onguard.budget import Objective
from onguard.profile import SPECIALS, Feature, Group, Kind, Profile, Role
from onguard.quantiles import clopper_pearson

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_VALUELESS: Final = (Role.ID, Role.TIME)
"""An identifier or a clock always moves: only whether it is there and readable is judged."""
_MISSING, _UNPARSEABLE, _BELOW, _ABOVE = range(len(SPECIALS))


@dataclasses.dataclass(frozen=True)
class Event:
    """One event: weight of bins [first, last) within bins [low, high) of the permuted vector."""

    label: str
    first: int
    last: int
    low: int
    high: int
    cumulative: bool


class Bounds(NamedTuple):
    """Limits, tolerance included, and reference shares of K events; each (K,)."""

    lower: Floats
    upper: Floats
    expected: Floats


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Limits:
    """
    Events of one objective with their limits. F judged features, K events, B bins of the profile.

    Attributes:
        objective: which events these are.
        key: identity of profile, tolerance and error: states of other limits do not fit.
        features: (F,) names.
        starts: (F,) first event of each feature.
        labels: (K,) events as people read them.
        order: (B,) permutation that makes each event a run of bins.
        runs: (4, K) start and end of the event and of what it is conditional on, in the permuted vector.
        lower, upper: (K,) limits, tolerance included.
        expected: (K,) reference shares.
        by_hour: limits and shares of each cell of the season (``onguard.season``); empty without one.
    """

    objective: Objective
    key: str
    features: tuple[str, ...]
    starts: Ints
    labels: tuple[str, ...]
    order: Ints
    runs: Ints
    lower: Floats
    upper: Floats
    expected: Floats
    by_hour: Mapping[int, Bounds] = dataclasses.field(default_factory=dict)

    @property
    def ends(self) -> Ints:
        """(F,) one past the last event of each feature."""
        return np.append(self.starts[1:], len(self.labels))

    def tally(self, bins: Ints) -> tuple[Ints, Ints]:
        """
        Weight of each event and of what it is conditional on.

        Args:
            bins: (B,) counts or fixed-point weights >= 0 in the profile's layout.

        Raises:
            ValueError: for another length or a negative count.
        """
        if bins.shape != self.order.shape or (bins.size and bins.min() < 0):
            least = bins.min(initial=0)
            raise ValueError(f"expected {self.order.size} counts >= 0, got {bins.size} with minimum {least}")
        running = np.zeros(bins.size + 1, np.int64)
        np.cumsum(bins[self.order], out=running[1:])
        first, last, low, high = running[self.runs]
        return last - first, high - low

    def at(self, cells: Collection[int]) -> "Limits":
        """
        What holds of requests that came in these cells of the season.

        Each event lies between the least lower and the largest upper limit of them; a cell that the reference does not
        know has none.
        """
        if not self.by_hour or not cells:
            return self
        blank = Bounds(np.zeros_like(self.lower), np.ones_like(self.upper), self.expected)
        chosen = [self.by_hour.get(cell, blank) for cell in sorted(cells)]
        return dataclasses.replace(
            self,
            lower=np.min([one.lower for one in chosen], axis=0),
            upper=np.max([one.upper for one in chosen], axis=0),
            expected=np.mean([one.expected for one in chosen], axis=0),
            by_hour={},
        )

    def typical(self) -> "Limits":
        """Those of the cell whose limits are neither the widest nor the narrowest, to say what can be found."""
        if not self.by_hour:
            return self
        order = sorted(
            self.by_hour, key=lambda cell: float((self.by_hour[cell].upper - self.by_hour[cell].lower).sum())
        )
        return self.at({order[len(order) // 2]})

    def widened(self, lost: float) -> tuple[Floats, Floats]:
        """
        Limits when a fraction ``lost`` of the traffic was not seen, for whatever reason.

        >>> from onguard.profile import Numeric, Profile
        >>> age = Feature(name="age", kind=Kind.NUMERIC, edges=(30.0,), counts=(50, 50, 0, 0, 0, 0),
        ...     numeric=Numeric(minimum=1, maximum=60, mean=30, sd=9))
        >>> limits = limits_of(Profile(rows=100, features=(age,)), Objective.DRIFT, tolerance=0.01, alpha=0.05)
        >>> limits.labels, limits.lower.round(3), limits.upper.round(3)
        (('age <= 30',), array([0.363]), array([0.637]))
        >>> [side.round(3) for side in limits.widened(0.1)]
        [array([0.292]), array([0.708])]
        """
        kept = 1.0 - min(max(lost, 0.0), 0.999)
        return np.maximum((self.lower - (1.0 - kept)) / kept, 0.0), np.minimum(self.upper / kept, 1.0)


def limits_of(profile: Profile, objective: Objective, *, tolerance: float, alpha: float) -> Limits:
    """
    Limits of the events of one objective, once per profile.

    Args:
        profile: the frozen reference.
        objective: drift (values of inputs), outputs (values and specials) or dataQuality (specials of inputs).
        tolerance: widest change of a probability that does not matter.
        alpha: probability that any limit of this profile, of all its objectives together, misses.
    """
    chosen = [(f, list(_events(profile, f, objective))) for f in range(len(profile.features))]
    chosen = [(f, events) for f, events in chosen if events]
    events = [event for _, block in chosen for event in block]
    sizes = np.array([len(block) for _, block in chosen], np.int64)
    order = _order(profile)
    runs = np.array([[e.first, e.last, e.low, e.high] for e in events], np.int64).reshape(-1, 4).T
    bare = Limits(
        objective=objective,
        key=_key(profile, objective, tolerance, alpha),
        features=tuple(profile.features[f].name for f, _ in chosen),
        starts=np.cumsum(sizes) - sizes,
        labels=tuple(e.label for e in events),
        order=order,
        runs=runs,
        lower=np.zeros(len(events)),
        upper=np.ones(len(events)),
        expected=np.zeros(len(events)),
    )
    # Each feature of each objective is one family: values and specials of an input count twice.
    share = alpha / (2 * len(profile.inputs) + len(profile.outputs))
    bounding = _Bounding(
        effect=_effects(profile, bare.features, sizes),
        cumulative=np.array([e.cumulative for e in events], bool),
        sizes=np.repeat(sizes, sizes),
        tolerance=tolerance,
        share=share,
    )
    whole = np.array([count for f in profile.features for count in f.counts], np.int64)
    hours = season.season_of(profile)
    hourly = dataclasses.replace(bounding, share=share / season.CELLS)
    return dataclasses.replace(
        bare,
        **_bounded(bare, whole, bounding)._asdict(),
        by_hour={cell: _bounded(bare, bins, hourly) for cell, bins in hours.items()},
    )


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _Bounding:
    """How limits follow from counts; K events: design effects, whether ordered, events of the feature."""

    effect: Floats
    cumulative: npt.NDArray[np.bool_]
    sizes: Ints
    tolerance: float
    share: float


def _effects(profile: Profile, names: Sequence[str], sizes: Ints) -> Floats:
    effects = {f.name: f.design_effect or profile.design_effect or 1.0 for f in profile.features}
    effect: Floats = np.maximum(np.repeat([effects[name] for name in names], sizes), 1.0)
    return effect


def _bounded(bare: Limits, reference: Ints, how: _Bounding) -> Bounds:
    s, n = (v / how.effect for v in bare.tally(reference))
    # An ordered event has two bands to choose from, so each gets half of the error.
    tail = np.where(how.cumulative, how.share / 4.0, how.share / 2.0) / how.sizes
    lower, upper = clopper_pearson(s, n, tail)
    expected = np.divide(s, n, out=np.zeros_like(s), where=n > 0)
    band = np.sqrt(np.log(4.0 / how.share) / (2.0 * np.maximum(n, 1e-9)))
    lower = np.where(how.cumulative, np.maximum(lower, expected - band), lower)
    upper = np.where(how.cumulative, np.minimum(upper, expected + band), upper)
    return Bounds(np.maximum(lower - how.tolerance, 0.0), np.minimum(upper + how.tolerance, 1.0), expected)


def _order(profile: Profile) -> Ints:
    """Below, value bins, above, missing, unparseable: present values are one run, from the left."""
    blocks = []
    for offset, feature in zip(profile.layout.offsets, profile.features, strict=True):
        values, special = np.arange(feature.value_bins), feature.value_bins
        ends = (special + _ABOVE, special + _MISSING, special + _UNPARSEABLE)
        blocks.append(offset + np.array([special + _BELOW, *values, *ends]))
    return np.concatenate(blocks).astype(np.int64)


def _events(profile: Profile, index: int, objective: Objective) -> Iterator[Event]:
    feature, offset = profile.features[index], profile.layout.offsets[index]
    is_output = feature.group is Group.OUTPUT
    if is_output is not (objective is Objective.OUTPUTS):
        return
    if objective in (Objective.DRIFT, Objective.OUTPUTS) and feature.role not in _VALUELESS:
        yield from _value_events(feature, offset)
    if objective in (Objective.DATA_QUALITY, Objective.OUTPUTS):
        yield from _special_events(feature, offset)


def _value_events(feature: Feature, offset: int) -> Iterator[Event]:
    high = offset + feature.value_bins + 2
    if feature.is_ordered:
        for k, edge in enumerate(feature.edges):
            yield Event(f"{feature.name} <= {_readable(feature, edge)}", offset, offset + k + 2, offset, high, True)
    else:
        for k, category in enumerate(feature.categories):
            yield Event(f"{feature.name} = {category}", offset + k + 1, offset + k + 2, offset, high, False)


def _special_events(feature: Feature, offset: int) -> Iterator[Event]:
    values, end = feature.value_bins, offset + feature.size
    places = {"missing": values + 2, "unparseable": values + 3}
    if feature.role not in _VALUELESS:
        places |= {"below": 0, "above": values + 1} if feature.is_ordered else {"unseen": values}
    for label, place in places.items():
        yield Event(f"{feature.name} {label}", offset + place, offset + place + 1, offset, end, False)


def _readable(feature: Feature, edge: float) -> str:
    if feature.kind is Kind.DATETIME:
        return f"{np.datetime64(round(edge), 's')}Z"
    return f"{edge:.6g}"


def _key(profile: Profile, objective: Objective, tolerance: float, alpha: float) -> str:
    text = repr((profile.hash, objective.value, tolerance, alpha))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
