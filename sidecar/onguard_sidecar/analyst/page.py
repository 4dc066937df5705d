"""
What /metrics says: the values of one moment -> metric families. Pure.

The families come in order of importance, and a hard cap on series cuts from the end; what is cut is counted. No data
is no series, never zero.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

import onguard
from onguard import contract
from onguard.counts import ResourceSample
from onguard_sidecar.analyst.analysis import Tally
from onguard_sidecar.analyst.display import Shown
from onguard_sidecar.analyst.speech import FIRST_TOKEN_NS, GAP_NS, Speech
from onguard_sidecar.ledger import ANALYST_ACCOUNT, Histogram, Snapshot
from onguard_sidecar.resources import Usage

MAX_SERIES: Final = 500
"""Series of one pod; a thousand pods are then half a million, which one Prometheus carries."""
_CODES: Final = {
    "1xx": "status_1xx",
    "2xx": "status_2xx",
    "3xx": "status_3xx",
    "4xx": "status_4xx",
    "5xx": "status_5xx",
    "other": "status_other",
    "client_abort": "client_aborts",
    "reset": "upstream_resets",
}
_FEATURE_GAUGES: Final = (
    (contract.METRIC_FEATURE_MISSING, "missing", "Share of rows in which the feature is missing."),
    (contract.METRIC_FEATURE_OUT_OF_RANGE, "out_of_range", "Share of rows outside the reference's range."),
    (contract.METRIC_FEATURE_PSI, "psi", "Population stability index against the reference, for display."),
    (contract.METRIC_FEATURE_PSI_CRITICAL, "psi_critical", "What sampling alone explains of the index."),
    (contract.METRIC_FEATURE_KS, "ks", "Kolmogorov-Smirnov distance to the reference, for display."),
    (contract.METRIC_FEATURE_KS_CRITICAL, "ks_critical", "What sampling alone explains of the distance."),
)
_LIMITS: Final = {
    "connections": "limit_connections",
    "idle_seconds": "limit_idle_s",
    "copy_bytes": "limit_copy_bytes",
    "buffer_bytes": "limit_buffer_bytes",
    "waiting_bytes": "limit_waiting_bytes",
    "outbox_bytes": "limit_outbox_bytes",
}
"""``buffer_bytes`` holds for each direction of each connection, ``waiting_bytes`` for all of them together."""
_USED: Final = {
    "connections": "connections_open",
    "copy_bytes": "copy_bytes",
    "waiting_bytes": "buffered_bytes",
    "outbox_bytes": "outbox_bytes",
}
_HITS: Final = {
    "connections_refused": "connections_refused",
    "connections_evicted": "connections_evicted",
    "idle_seconds": "connections_idle_closed",
    "waiting_bytes": "connections_cut",
    "framing": "framing_limits",
    "copy_bytes": "copies_shed",
    "outbox_bytes": "dropped_outbox_full",
}
_HTTP2_LIMITS: Final = {"http2_connections": "limit_connections", "http2_copy_bytes": "limit_copy_bytes"}
_HTTP2_USED: Final = {"http2_connections": "connections_open", "http2_copy_bytes": "copy_bytes"}
_HTTP2_HITS: Final = {
    "http2_connections": "connections_refused",
    "http2_framing": "framing_limits",
    "http2_copy_bytes": "copies_shed",
}
"""Likewise of what the analyst holds of HTTP/2, in the ledger of its own."""
_PLAIN: Final = ("not_inference", "sampled_out", "truncated")


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """
    Everything that a page shows.

    Attributes:
        labels: model, revision and arm, on every series.
        snapshot: the ledger, with that of HTTP/2; None while the wire has not made one.
        http2: the ledger of HTTP/2 alone, for its limits; None while there was no such connection.
        shown: distances of the features that are shown; ``hidden`` more are not.
        bins: rows per (feature, bin); empty unless they were asked for.
    """

    labels: Mapping[str, str]
    profile_hash: str = ""
    config_error: bool = False
    profile_error: bool = False
    snapshot: Snapshot | None = None
    http2: Snapshot | None = None
    tally: Tally = dataclasses.field(default_factory=Tally)
    faults: int = 0
    model_use: ResourceSample | None = None
    own_use: Mapping[str, Usage] = dataclasses.field(default_factory=dict)
    cpu_limit_cores: float | None = None
    memory_limit_bytes: float | None = None
    shown: tuple[Shown, ...] = ()
    hidden: int = 0
    bins: Mapping[tuple[str, str], int] = dataclasses.field(default_factory=dict)


K = TypeVar("K", bound=tuple[str, ...])
Family = GaugeMetricFamily | CounterMetricFamily


class _Maker:
    """Builds families that carry the view's labels before their own."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._names = tuple(labels)
        self._values = tuple(labels.values())

    def gauge(self, name: str, text: str, values: Mapping[K, float | None], *labels: str) -> Metric:
        return self._fill(GaugeMetricFamily(name, text, labels=(*self._names, *labels)), values)

    def counter(self, name: str, text: str, values: Mapping[K, float | None], *labels: str) -> Metric:
        return self._fill(CounterMetricFamily(name, text, labels=(*self._names, *labels)), values)

    def histogram(self, name: str, text: str, bounds_ns: tuple[int, ...], histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(name, text, labels=self._names)
        edges = [*(str(bound / 1e9) for bound in bounds_ns), "+Inf"]
        buckets = list(zip(edges, map(float, accumulate(histogram.buckets)), strict=True))
        family.add_metric(self._values, buckets, histogram.sum_ns / 1e9)
        return family

    def _fill(self, family: Family, values: Mapping[K, float | None]) -> Metric:
        for labels, value in values.items():
            if value is not None:
                family.add_metric((*self._values, *labels), value)
        return family


def families(view: View, *, max_series: int = MAX_SERIES) -> list[Metric]:
    """The page's families, at most ``max_series`` series in all."""
    make = _Maker(view.labels)
    kept, dropped = _capped(_all(view, make), max_series - 1)
    text = "Series that the cap on series per pod left out of this page."
    dropped += view.hidden * len(_FEATURE_GAUGES)
    return [*kept, make.gauge(contract.METRIC_SERIES_DROPPED, text, {(): dropped})]


def _capped(every: Iterable[Metric], room: int) -> tuple[list[Metric], int]:
    kept, dropped = [], 0
    for family in every:
        size = len(family.samples)
        whole = family.type == "histogram"  # half of one says something false
        fits = size if size <= room else 0 if whole else room
        dropped += size - fits
        room -= fits
        family.samples = family.samples[:fits]
        if family.samples:
            kept.append(family)
    return kept, dropped


def _all(view: View, make: _Maker) -> Iterator[Metric]:
    yield from _identity(view, make)
    if view.snapshot is not None:
        yield from _traffic(view.snapshot, make)
        yield from _account(view.snapshot, make)
        yield from _bounds(view.snapshot, view.http2, make)
    yield from _reading(view, make)
    if view.tally.speech.answers:
        yield from _speech(view.tally.speech, make)
    yield from _resources(view, make)
    yield from _features(view, make)


def _identity(view: View, make: _Maker) -> Iterator[Metric]:
    info = {(onguard.__version__, view.profile_hash): 1}
    text = "Version of the sidecar and identity of the reference."
    yield make.gauge(contract.METRIC_SIDECAR_INFO, text, info, "version", "profile")
    text = "1 while the new configuration is refused and the last good one is in force."
    wire = view.snapshot is not None and view.snapshot.counters["config_error"] > 0
    yield make.gauge(contract.METRIC_SIDECAR_CONFIG_ERROR, text, {(): int(view.config_error or wire)})
    text = "1 while the profile is refused."
    yield make.gauge(contract.METRIC_PROFILE_ERROR, text, {(): int(view.profile_error)})


def _traffic(snapshot: Snapshot, make: _Maker) -> Iterator[Metric]:
    counters, bounds = snapshot.counters, snapshot.layout.bounds_ns
    codes = {(code,): counters[field] for code, field in _CODES.items()}
    text = "Requests that are inference, by class of status code, or by how they ended without one."
    yield make.counter(contract.METRIC_REQUESTS, text, codes, "code")
    if bounds:
        text = "First byte of the request to last byte of the answer."
        yield make.histogram(contract.METRIC_REQUEST_DURATION, text, bounds, snapshot.duration)
        text = "First byte of the request to first byte of the answer."
        yield make.histogram(contract.METRIC_TIME_TO_FIRST_BYTE, text, bounds, snapshot.ttfb)
    text = "Requests that wait for their answer."
    yield make.gauge(contract.METRIC_IN_FLIGHT, text, {(): counters["in_flight"]})
    passed = {("request",): counters["bytes_from_client"], ("response",): counters["bytes_from_model"]}
    yield make.counter(contract.METRIC_BYTES, "Bytes that passed.", passed, "direction")
    yield make.counter(contract.METRIC_CONNECTIONS, "Client connections.", {(): counters["connections"]})
    text = "Client connections now."
    yield make.gauge(contract.METRIC_CONNECTIONS_OPEN, text, {(): counters["connections_open"]})
    text = "Connections that the model refused."
    yield make.counter(contract.METRIC_UPSTREAM_FAILURES, text, {(): counters["upstream_failures"]})


def _bounds(snapshot: Snapshot, http2: Snapshot | None, make: _Maker) -> Iterator[Metric]:
    counters = snapshot.counters
    limits = _named(_LIMITS, snapshot) | _named(_HTTP2_LIMITS, http2)
    yield make.gauge(contract.METRIC_WIRE_LIMIT, "What the wire may hold at most.", limits, "limit")
    used = _named(_USED, snapshot) | _named(_HTTP2_USED, http2)
    yield make.gauge(contract.METRIC_WIRE_USED, "What the wire holds now.", used, "limit")
    hits = _named(_HITS, snapshot) | _named(_HTTP2_HITS, http2)
    text = "Times that a copy, framing or a connection was given up for a limit."
    yield make.counter(contract.METRIC_WIRE_LIMIT_HITS, text, hits, "limit")
    kinds = {
        ("ambiguous",): counters["framing_failures"],
        ("limit",): counters["framing_limits"],
        ("http2",): counters["connections_http2_lost"],
    }
    kinds[("other",)] = counters["connections_opaque"] - sum(kinds.values())
    text = (
        "Connections that are not read: TLS, tunnels, HTTP/1 that is ambiguous or too costly, HTTP/2 not copied whole."
    )
    yield make.counter(contract.METRIC_CONNECTIONS_OPAQUE, text, kinds, "reason")
    text = "Client connections of HTTP/2."
    yield make.counter(contract.METRIC_CONNECTIONS_HTTP2, text, {(): counters["connections_http2"]})


def _named(fields: Mapping[str, str], snapshot: Snapshot | None) -> dict[tuple[str], int]:
    return {} if snapshot is None else {(name,): snapshot.counters[field] for name, field in fields.items()}


def _account(snapshot: Snapshot, make: _Maker) -> Iterator[Metric]:
    text = "The tee's account: every request in exactly one of these."
    values = account(snapshot.counters)
    yield make.counter(contract.METRIC_TEE_REQUESTS, text, values, "outcome", "reason")
    yield make.counter(contract.METRIC_ROWS, "Rows that were counted.", {(): snapshot.counters["rows"]})


def account(counters: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """
    The ledger's account by outcome and reason. Its sum is what the wire has framed, less what is on its way.

    A duplicate is analysed (it weighs nothing as evidence); what turned out to be a probe, or never
    reached the model, is no inference.
    """
    values = {(name, ""): counters[name] for name in _PLAIN}
    values["analysed", ""] = counters["analysed"]
    values["analysed", "duplicate"] = counters["duplicate"]
    values["not_inference", "probe"] = counters["probe"]
    values["not_inference", "stale"] = counters["stale"]
    for name in (*ANALYST_ACCOUNT, *(name for name in counters if name.startswith("dropped_"))):
        outcome, _, reason = name.partition("_")
        if outcome in ("undecodable", "dropped"):
            values[outcome, reason] = counters[name]
    return values


def _reading(view: View, make: _Maker) -> Iterator[Metric]:
    kinds = {("missing",): view.tally.missing, ("extra",): view.tally.extra, ("coerced",): view.tally.coerced}
    text = "Columns of decoded requests that do not fit the reference."
    yield make.counter(contract.METRIC_COLUMNS, text, kinds, "kind")
    text = "Faults of our own decoders."
    yield make.counter(contract.METRIC_DECODE_ERRORS, text, {(): view.faults})


def _speech(speech: Speech, make: _Maker) -> Iterator[Metric]:
    tokens = {("prompt",): speech.prompt_tokens, ("completion",): speech.completion_tokens}
    yield make.counter(contract.METRIC_LLM_TOKENS, "Tokens of decoded answers of a language model.", tokens, "kind")
    finish = {(reason,): speech.finish[reason] for reason in sorted(speech.finish)}
    yield make.counter(contract.METRIC_LLM_CHOICES, "Choices by why they ended.", finish, "finish_reason")
    yield make.counter(contract.METRIC_LLM_REFUSALS, "Choices that were refusals.", {(): speech.refusals})
    text = "First byte of the request to first byte of the streamed answer."
    yield make.histogram(contract.METRIC_LLM_TTFT, text, FIRST_TOKEN_NS, speech.first_token.histogram)
    text = "Mean time between two arrivals of a streamed answer."
    yield make.histogram(contract.METRIC_LLM_GAP, text, GAP_NS, speech.gap.histogram)
    text = "Longest time between two arrivals of a streamed answer."
    yield make.histogram(contract.METRIC_LLM_LONGEST_GAP, text, GAP_NS, speech.longest_gap.histogram)


def _resources(view: View, make: _Maker) -> Iterator[Metric]:
    own = view.own_use
    cpu = {(name,): use.cpu_seconds for name, use in own.items()}
    yield make.counter(contract.METRIC_SIDECAR_CPU, "CPU time of the sidecar.", cpu, "container")
    memory = {(name,): use.memory_bytes for name, use in own.items()}
    yield make.gauge(contract.METRIC_SIDECAR_MEMORY, "Memory of the sidecar.", memory, "container")
    yield make.gauge(contract.METRIC_MODEL_CPU_LIMIT, "CPU limit of the model.", {(): view.cpu_limit_cores})
    yield make.gauge(contract.METRIC_MODEL_MEMORY_LIMIT, "Memory limit of the model.", {(): view.memory_limit_bytes})
    model = view.model_use
    if model is not None:
        yield make.counter(contract.METRIC_MODEL_CPU, "CPU time of the model's processes.", {(): model.cpu_seconds})
        text = "Proportional memory of the model's processes."
        yield make.gauge(contract.METRIC_MODEL_MEMORY, text, {(): model.memory_bytes})
        yield make.gauge(contract.METRIC_MODEL_THREADS, "Threads of the model's processes.", {(): model.threads})
        text = "Open descriptors of the model's processes."
        yield make.gauge(contract.METRIC_MODEL_OPEN_FDS, text, {(): model.open_fds})


def _features(view: View, make: _Maker) -> Iterator[Metric]:
    for name, field, text in _FEATURE_GAUGES:
        values: dict[tuple[str], float | None] = {(shown.feature,): getattr(shown, field) for shown in view.shown}
        yield make.gauge(name, text, values, "feature")
    yield make.counter(contract.METRIC_FEATURE_BIN, "Rows per bin.", view.bins, "feature", "bin")
