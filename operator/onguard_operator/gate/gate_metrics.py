"""What the gate counts, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.exposition import generate_latest

from onguard import contract


class GateMetrics:
    """Counters of admissions and alerts, and when the webhook's certificate expires."""

    def __init__(self, expires_at_s: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._admissions = Counter(
            contract.METRIC_ADMISSIONS.removesuffix("_total"),
            "Pods that passed the gate; reason says why one was not injected.",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self._alerts = Counter(
            contract.METRIC_ALERTS_RECEIVED.removesuffix("_total"),
            "Alerts that came from Alertmanager, by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        expiry = Gauge(
            contract.METRIC_CERTIFICATE_EXPIRY, "When the webhook's certificate expires.", registry=self.registry
        )
        expiry.set_function(expires_at_s)

    def admitted(self, outcome: str, reason: str = "") -> None:
        """Count one pod."""
        self._admissions.labels(outcome, reason).inc()

    def alert(self, outcome: str) -> None:
        """Count one alert."""
        self._alerts.labels(outcome).inc()

    def page(self) -> bytes:
        """Text for Prometheus."""
        return generate_latest(self.registry)
