"""The operator's own metrics, in a registry that is passed around; a model that is gone leaves no series behind."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from onguard import contract

_MODEL: Final = ("namespace", "model")


class Telemetry:
    """All series of the operator."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._gauges = {
            name: Gauge(name, text, (*_MODEL, *labels), registry=registry)
            for name, text, labels in (
                (contract.METRIC_GUARDED, "1 while all traffic of the model passes its sidecars", ()),
                (contract.METRIC_GUARDED_PODS, "Pods of the model", ("state",)),
                (contract.METRIC_ALARM, "1 while the objective's detector is latched", ("objective",)),
                (contract.METRIC_LOG_E, "Logarithm of the evidence against the objective", ("objective",)),
                (contract.METRIC_LOG_THRESHOLD, "Logarithm of the evidence that alarms", ("objective",)),
                (contract.METRIC_ARM_LOG_E, "Logarithm of the evidence that the new revision is worse", ("objective",)),
                (contract.METRIC_ESTIMATED_ERROR, "Share of wrong answers that scores let expect", ("bound",)),
                (contract.METRIC_EVALUATION_AGE, "Unix time of the last finished evaluation", ()),
                (contract.METRIC_CONTAINER_CPU, "CPU that the model's container uses, cores", ("pod",)),
                (contract.METRIC_CONTAINER_MEMORY, "Working set of the model's container", ("pod",)),
            )
        }
        decisions = (*_MODEL, "cause", "action", "phase")
        self._decisions = Counter(_base(contract.METRIC_DECISIONS), "Decisions made", decisions, registry=registry)
        self._evaluations = Counter(
            _base(contract.METRIC_EVALUATIONS), "Evaluations", (*_MODEL, "outcome"), registry=registry
        )
        self._scrapes = Counter(
            _base(contract.METRIC_SCRAPES), "Readings of pods", (*_MODEL, "outcome"), registry=registry
        )
        self._shown: dict[tuple[str, str], set[tuple[str, tuple[str, ...]]]] = {}

    def show(self, model: tuple[str, str], values: Iterable[tuple[str, tuple[str, ...], float | None]]) -> None:
        """
        Set all gauges of one model at once; series that are not named, or have no value, end.

        Args:
            model: namespace and name.
            values: metric, further label values, value.
        """
        now: set[tuple[str, tuple[str, ...]]] = set()
        for metric, labels, value in values:
            if value is not None:
                self._gauges[metric].labels(*model, *labels).set(value)
                now.add((metric, labels))
        for metric, labels in self._shown.get(model, set()) - now:
            self._gauges[metric].remove(*model, *labels)
        self._shown[model] = now

    def forget(self, model: tuple[str, str]) -> None:
        """End all series of a model."""
        self.show(model, ())
        del self._shown[model]
        for counter in (self._decisions, self._evaluations, self._scrapes):
            counter.remove_by_labels(dict(zip(_MODEL, model, strict=True)))

    def count_decision(self, model: tuple[str, str], cause: str, action: str, phase: str) -> None:
        """Count a decision that was recorded."""
        self._decisions.labels(*model, cause, action, phase).inc()

    def count_evaluation(self, model: tuple[str, str], outcome: str) -> None:
        """Count an evaluation: ``done`` or the reason why not."""
        self._evaluations.labels(*model, outcome).inc()

    def count_scrapes(self, model: tuple[str, str], outcomes: Mapping[str, int]) -> None:
        """Count readings by outcome."""
        for outcome, number in outcomes.items():
            self._scrapes.labels(*model, outcome).inc(number)


def _base(name: str) -> str:
    """prometheus-client appends the suffix itself."""
    return name.removesuffix("_total")
