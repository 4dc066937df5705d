"""
From findings to a cause: one total table, written down as patterns.

Every combination of findings matches exactly one row (``tests/unit/core/test_cause.py`` walks through all of them).
Rows further down say by their own patterns that the rows above did not match, so their order carries no meaning.
What no row above explains is ``unknown``, and unknown never acts.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec


class Signal(StrEnum):
    """What an objective's detector says. ``UNKNOWN``: no data, not judged or not valid; never a breach."""

    ALARM = "alarm"
    QUIET = "quiet"
    UNKNOWN = "unknown"


class Labels(StrEnum):
    """The error that labels show, against the reference's."""

    UNKNOWN = "unknown"
    """No labels, or too few of them yet."""
    QUIET = "quiet"
    WORSE = "worse"
    """Worse, and not for most of it at equal scores."""
    CONCEPT = "concept"
    """Worse at equal scores, which is the larger part of the rise: scores no longer mean what they did."""


class Arms(StrEnum):
    """The new revision against the old one, side by side in the same epochs."""

    WORSE = "worse"
    DIFFERENT = "different"
    ALIKE = "alike"
    UNDECIDED = "undecided"
    NOT_COMPARABLE = "not-comparable"
    NONE = "none"


class Cause(StrEnum):
    """Why an objective is broken. ``NONE``: nothing is."""

    NONE = "none"
    RELEASE = "release"
    UPSTREAM_DATA = "upstream-data"
    POPULATION = "population"
    POPULATION_BENIGN = "population-benign"
    CONCEPT = "concept"
    CAPACITY = "capacity"
    MEASUREMENT = "measurement"
    ALERT = "alert"
    UNKNOWN = "unknown"


class Control(StrEnum):
    """What a release is compared with; ``NONE`` asks a person."""

    ARM = "arm"
    PAIRS = "pairs"
    HISTORY = "history"
    GROSS = "gross"
    AVAILABILITY = "availability"
    NONE = "none"


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the table looks at."""

    measurement: bool = False
    """Sidecars disagree, non-random loss is over 5 %, or five or more models with traffic alarm together."""
    availability: Signal = Signal.UNKNOWN
    arms: Arms = Arms.NONE
    quality: Signal = Signal.UNKNOWN
    service: Signal = Signal.UNKNOWN
    """Errors or latency."""
    inputs: Signal = Signal.UNKNOWN
    outputs: Signal = Signal.UNKNOWN
    labels: Labels = Labels.UNKNOWN
    fresh: bool = False
    """The onset lies inside ``release.watch`` of the judged revision, and the one before kept the objective."""
    saturated: bool = False
    beyond_retrain: bool = False
    """The inputs' shift passes ``drift.retrainAt``."""


class Row(msgspec.Struct, frozen=True):
    """One line of the table: the cause of every combination whose columns all lie in ``when``."""

    cause: Cause
    when: Mapping[str, frozenset[Any]]
    why: str

    def matches(self, findings: Findings) -> bool:
        """Whether each column that this row names has one of its values."""
        return all(getattr(findings, column) in values for column, values in self.when.items())


def _is(*values: Any) -> frozenset[Any]:
    return frozenset(values)


def _row(cause: Cause, why: str, *conditions: Mapping[str, frozenset[Any]]) -> Row:
    when: dict[str, frozenset[Any]] = {}
    for condition in conditions:
        for column, values in condition.items():
            when[column] = when.get(column, values) & values
    return Row(cause, when, why)


_QUIET: Final = _is(Signal.QUIET, Signal.UNKNOWN)
_ALARM: Final = _is(Signal.ALARM)
_WORSE: Final = _is(Labels.WORSE, Labels.CONCEPT)
_MEASURED: Final = {"measurement": _is(False)}
_NOT_WORSE: Final = {"arms": frozenset(Arms) - {Arms.WORSE}}
_UNCONTROLLED: Final = {"arms": _is(Arms.NONE, Arms.NOT_COMPARABLE, Arms.UNDECIDED, Arms.DIFFERENT)}
_AVAILABLE: Final = {**_MEASURED, "availability": _QUIET}
_CLEAN: Final = {**_AVAILABLE, **_NOT_WORSE, "quality": _QUIET}
_SERVING: Final = {**_CLEAN, "service": _QUIET}
_UNLABELLED: Final = {**_SERVING, "labels": _is(Labels.QUIET, Labels.UNKNOWN)}
_STABLE: Final = {**_UNLABELLED, "inputs": _QUIET}

TABLE: Final[tuple[Row, ...]] = (
    _row(Cause.MEASUREMENT, "the measuring itself is in doubt", {"measurement": _is(True)}),
    _row(
        Cause.RELEASE,
        "pods of the new revision do not become or stay ready, those of the old one did",
        {**_MEASURED, "availability": _ALARM, "fresh": _is(True)},
    ),
    _row(
        Cause.UNKNOWN,
        "pods are not available and no release is in watch",
        {**_MEASURED, "availability": _ALARM, "fresh": _is(False)},
    ),
    _row(
        Cause.RELEASE,
        "the new revision is worse than the old one in the same epochs",
        _AVAILABLE,
        {"arms": _is(Arms.WORSE)},
    ),
    _row(
        Cause.UPSTREAM_DATA,
        "values are missing, unreadable, out of range or unseen, whichever revision serves",
        {**_AVAILABLE, **_NOT_WORSE, "quality": _ALARM},
    ),
    _row(
        Cause.RELEASE,
        "the objective broke inside the watch of the new revision and the old one kept it",
        _CLEAN,
        _UNCONTROLLED,
        {"service": _ALARM, "fresh": _is(True)},
    ),
    _row(
        Cause.CAPACITY,
        "the model is saturated and both revisions are alike",
        _CLEAN,
        {"service": _ALARM, "fresh": _is(True), "arms": _is(Arms.ALIKE), "saturated": _is(True)},
    ),
    _row(
        Cause.UNKNOWN,
        "the objective broke, but both revisions are alike",
        _CLEAN,
        {"service": _ALARM, "fresh": _is(True), "arms": _is(Arms.ALIKE), "saturated": _is(False)},
    ),
    _row(
        Cause.CAPACITY,
        "the model is saturated and no release is in watch",
        _CLEAN,
        {"service": _ALARM, "fresh": _is(False), "saturated": _is(True)},
    ),
    _row(
        Cause.UNKNOWN,
        "the objective broke without a release in watch and without saturation",
        _CLEAN,
        {"service": _ALARM, "fresh": _is(False), "saturated": _is(False)},
    ),
    _row(
        Cause.CONCEPT,
        "the error at equal scores is worse than the reference's",
        _SERVING,
        {"labels": _is(Labels.CONCEPT), "inputs": _is(Signal.QUIET, Signal.ALARM)},
    ),
    _row(
        Cause.POPULATION,
        "the inputs moved and the matured error is worse",
        _SERVING,
        {"labels": _is(Labels.WORSE), "inputs": _ALARM},
    ),
    _row(
        Cause.UNKNOWN,
        "the matured error is worse, but neither the inputs nor the error at equal scores say why",
        _SERVING,
        {"labels": _is(Labels.WORSE), "inputs": _is(Signal.QUIET)},
    ),
    _row(
        Cause.UNKNOWN,
        "the matured error is worse and nothing is known of the inputs",
        _SERVING,
        {"labels": _WORSE, "inputs": _is(Signal.UNKNOWN)},
    ),
    _row(
        Cause.POPULATION,
        "the inputs moved further than retrainAt",
        _UNLABELLED,
        {"inputs": _ALARM, "beyond_retrain": _is(True)},
    ),
    _row(
        Cause.POPULATION_BENIGN,
        "the inputs moved, less than retrainAt and without a measured loss",
        _UNLABELLED,
        {"inputs": _ALARM, "beyond_retrain": _is(False)},
    ),
    _row(
        Cause.RELEASE,
        "the outputs moved with the new revision while the inputs did not",
        _STABLE,
        _UNCONTROLLED,
        {"outputs": _ALARM, "inputs": _is(Signal.QUIET), "fresh": _is(True)},
    ),
    _row(
        Cause.UNKNOWN,
        "the outputs moved at unmoved inputs, on both revisions alike",
        _STABLE,
        {"outputs": _ALARM, "inputs": _is(Signal.QUIET), "fresh": _is(True), "arms": _is(Arms.ALIKE)},
    ),
    _row(
        Cause.UNKNOWN,
        "the outputs moved at unmoved inputs and no release is in watch",
        _STABLE,
        {"outputs": _ALARM, "inputs": _is(Signal.QUIET), "fresh": _is(False)},
    ),
    _row(
        Cause.UNKNOWN,
        "the outputs moved and nothing is known of the inputs",
        _STABLE,
        {"outputs": _ALARM, "inputs": _is(Signal.UNKNOWN)},
    ),
    _row(
        Cause.UNKNOWN,
        "the revisions answer differently; which one is right is not known",
        _STABLE,
        {"outputs": _QUIET, "arms": _is(Arms.DIFFERENT)},
    ),
    _row(
        Cause.NONE,
        "no objective is broken",
        _STABLE,
        {"outputs": _QUIET, "arms": frozenset(Arms) - {Arms.WORSE, Arms.DIFFERENT}},
    ),
)


class Strength(msgspec.Struct, frozen=True, kw_only=True):
    """What else supports a release as the cause when no second arm does (statistics, rule A.10)."""

    gross: bool = False
    """Over half of at least 50 requests bad in three epochs, the old revision having kept the objective 10 min."""
    beyond_history: bool = False
    """Worse than every window of this length of the old revision, of at least 100."""


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    """The cause, what it rests on and what else it might be."""

    cause: Cause
    why: str
    control: Control = Control.NONE
    confirmed: bool = False
    """Whether a release may be rolled back without asking a person."""
    alternatives: tuple[tuple[Cause, str], ...] = ()


_NOTHING_MORE: Final = Strength()


def attribute(findings: Findings, strength: Strength = _NOTHING_MORE) -> Attribution:
    """
    Name the cause.

    >>> attribute(Findings(quality=Signal.ALARM, inputs=Signal.ALARM, fresh=True)).cause
    <Cause.UPSTREAM_DATA: 'upstream-data'>
    >>> attribute(Findings(arms=Arms.WORSE, fresh=True)).control
    <Control.ARM: 'arm'>
    >>> attribute(Findings(inputs=Signal.ALARM, fresh=True)).cause
    <Cause.POPULATION_BENIGN: 'population-benign'>
    """
    row = next(row for row in TABLE if row.matches(findings))
    control = _control(row.cause, findings, strength)
    return Attribution(
        cause=row.cause,
        why=row.why,
        control=control,
        confirmed=row.cause is Cause.RELEASE and control is not Control.NONE,
        alternatives=tuple(_alternatives(row, findings)),
    )


def _control(cause: Cause, findings: Findings, strength: Strength) -> Control:
    if cause is not Cause.RELEASE:
        return Control.NONE
    if findings.arms is Arms.WORSE:
        return Control.ARM
    if findings.availability is Signal.ALARM:
        return Control.AVAILABILITY
    if findings.service is not Signal.ALARM:
        return Control.NONE  # outputs alone never act without an arm
    if strength.gross:
        return Control.GROSS
    alone = Signal.ALARM not in (findings.inputs, findings.outputs) and findings.labels not in _WORSE
    return Control.HISTORY if strength.beyond_history and alone else Control.NONE


def _alternatives(row: Row, findings: Findings) -> Iterable[tuple[Cause, str]]:
    """Causes that a single changed column would give: what the evidence only just excludes."""
    seen = {row.cause, Cause.NONE, Cause.UNKNOWN}
    signals = ("quality", "service", "inputs", "outputs", "availability")
    quieter: dict[str, Any] = {name: Signal.QUIET for name in signals if getattr(findings, name) is Signal.ALARM}
    if findings.labels in _WORSE:
        quieter["labels"] = Labels.QUIET
    for column, quiet in quieter.items():
        other = msgspec.structs.replace(findings, **{column: quiet})
        found = next(candidate for candidate in TABLE if candidate.matches(other))
        if found.cause not in seen:
            seen.add(found.cause)
            yield found.cause, f"if {column} were quiet: {found.why}"
