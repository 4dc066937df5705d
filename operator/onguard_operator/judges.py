"""The detectors of one ModelDeployment: built from its spec and its reference, which are all that they depend on."""

import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from onguard import contract, limits
from onguard.bounded import BoundedDetector
from onguard.budget import Objective, Threshold, reference_alpha, thresholds
from onguard.detectors import Detector
from onguard.profile import Profile
from onguard.spec import FalseAlarms, Objectives, Spec
from onguard_operator import epochs

_OF_DATA: Final = (Objective.DRIFT, Objective.OUTPUTS, Objective.DATA_QUALITY)


def name_of(objective: Objective, slot: int = 0) -> str:
    """
    Name of an objective in status, metrics and Decisions.

    >>> name_of(Objective.LATENCY), name_of(Objective.LATENCY, 1)
    ('latency', 'latency-1')
    """
    return f"{objective.value}-{slot}" if slot else objective.value


@dataclasses.dataclass(frozen=True, eq=False)
class DataJudge:
    """Judges counts of features against the reference."""

    name: str
    detector: Detector


@dataclasses.dataclass(frozen=True, eq=False)
class ServiceJudge:
    """
    Judges epochs: the share of requests that column ``column`` counts.

    ``connection_column`` counts the same for whole client connections, which are the units of the arms.
    """

    name: str
    detector: BoundedDetector
    column: int
    connection_column: int


@dataclasses.dataclass(frozen=True, eq=False)
class Judges:
    """All detectors of one ModelDeployment."""

    data: tuple[DataJudge, ...] = ()
    service: tuple[ServiceJudge, ...] = ()


def judges_of(spec: Spec, profile: Profile | None, *, ordinal: int) -> Judges:
    """
    Build the detectors.

    Args:
        spec: objectives and budget.
        profile: the reference; None: data is not judged.
        ordinal: number of this reference among those of the model, from 1; it decides what limits may cost.
    """
    named = _Named(profile.hash, profile) if profile is not None else None
    return _build(spec.objectives, spec.false_alarms, named, ordinal)


@dataclasses.dataclass(frozen=True)
class _Named:
    """A profile that is compared by its hash."""

    hash: str
    profile: Profile = dataclasses.field(compare=False)


@lru_cache(maxsize=1024)
def _build(objectives: Objectives, false_alarms: FalseAlarms, named: _Named | None, ordinal: int) -> Judges:
    """Limits take a while to compute, and nothing but these arguments decides them."""
    profile = named.profile if named is not None else None
    has_outputs = profile is not None and bool(profile.outputs)
    parts = thresholds(objectives, false_alarms, has_outputs=has_outputs)
    return Judges(
        data=tuple(_data(objectives, profile, parts, ordinal)) if profile is not None else (),
        service=tuple(_service(objectives, parts)),
    )


def _data(objectives: Objectives, profile: Profile, parts: tuple[Threshold, ...], ordinal: int) -> Iterator[DataJudge]:
    tolerances = {
        Objective.DRIFT: objectives.drift,
        Objective.OUTPUTS: objectives.drift,
        Objective.DATA_QUALITY: objectives.data_quality,
    }
    for part in parts:
        wanted = tolerances.get(part.objective)
        if part.objective in _OF_DATA and wanted is not None:
            bounds = limits.limits_of(
                profile, part.objective, tolerance=wanted.tolerance, alpha=reference_alpha(ordinal)
            )
            yield DataJudge(name_of(part.objective), Detector(bounds, part))


def _service(objectives: Objectives, parts: tuple[Threshold, ...]) -> Iterator[ServiceJudge]:
    for part in parts:
        if part.objective is Objective.ERRORS and objectives.errors is not None:
            detector = BoundedDetector(part, objectives.errors.below)
            yield ServiceJudge(name_of(part.objective), detector, epochs.ERRORS, epochs.CONNECTION_BAD)
        elif part.objective is Objective.LATENCY and part.slot < contract.LATENCY_SLOTS:
            at_most = 1.0 - objectives.latency[part.slot].quantile
            yield ServiceJudge(
                name_of(part.objective, part.slot),
                BoundedDetector(part, at_most),
                epochs.SLOW + part.slot,
                epochs.CONNECTION_SLOW + part.slot,
            )
