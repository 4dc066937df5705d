"""One account of two ledgers: the wire's, and the analyst's own of HTTP/2. Pure."""

from collections.abc import Sequence
from typing import Final

from onguard_sidecar.ledger import ANALYST_FIELDS, EpochRow, Histogram, Snapshot

_SUMMED: Final = frozenset((
    "requests", "in_flight", "connections_opaque", "connections_http2_lost",
    "inference", "errors", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other",
    "client_aborts", "upstream_resets", "response_truncated",
    "not_inference", "stale", "sampled_out", "truncated", "outbox", "handed_over",
    "dropped_outbox_full", "dropped_no_analyst", "dropped_too_large", "dropped_analyst_died",
    *ANALYST_FIELDS,
))  # fmt: skip
"""Counters of requests and of connections that could not be read; the rest of the two ledgers are two programs' own."""


def merged(wire: Snapshot, http2: Snapshot) -> Snapshot:
    """
    One account of both ledgers. While their bounds differ, which lasts seconds, latencies are the wire's alone.

    Epochs that are closed in only one of them are not closed.
    """
    if http2.wire_boot != wire.wire_boot:
        return wire
    counters = {name: n + http2.counters[name] * (name in _SUMMED) for name, n in wire.counters.items()}
    if wire.layout != http2.layout:
        return wire._replace(counters=counters)
    return wire._replace(
        counters=counters,
        duration=_added(wire.duration, http2.duration),
        ttfb=_added(wire.ttfb, http2.ttfb),
        epochs=_epochs(wire.epochs, http2.epochs),
        epoch_now=min(wire.epoch_now, http2.epoch_now),
    )


def _added(one: Histogram, other: Histogram) -> Histogram:
    return Histogram(_sums(one.buckets, other.buckets), one.sum_ns + other.sum_ns)


def _epochs(one: Sequence[EpochRow], other: Sequence[EpochRow]) -> tuple[EpochRow, ...]:
    rows = {row.id: row for row in one}
    for row in other:
        rows[row.id] = _both(rows[row.id], row) if row.id in rows else row
    return tuple(rows[number] for number in sorted(rows))


def _both(one: EpochRow, other: EpochRow) -> EpochRow:
    return EpochRow(
        one.id,
        one.requests + other.requests,
        one.errors + other.errors,
        _sums(one.slow, other.slow),
        one.connections + other.connections,
        one.connection_bad + other.connection_bad,
        _sums(one.connection_slow, other.connection_slow),
    )


def _sums(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
