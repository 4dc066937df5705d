"""
The ledger: int64 counters in a memory-mapped file that wire and analyst share.

Each counter has exactly one writer. A writer keeps its values in private memory and publishes them between two steps
of its generation number (odd while it writes), so that a reader gets a consistent snapshot without a lock. The wire
creates the file anew at each start and renames it into place: an analyst that still maps the old one sees
:attr:`Ledger.superseded` and opens again, at the latest when the wire's new connection comes in.

Every request that the wire has framed to its end is in ``requests`` and in exactly one of ``not_inference``,
``stale``, ``sampled_out``, ``truncated``, ``dropped_*``, ``handed_over`` and (still waiting) ``outbox``; what was
handed over is in exactly one of the analyst's fields ``ANALYST_ACCOUNT``, ``dropped_analyst_died`` and (still on its
way) neither. Every request in ``inference`` is in exactly one of ``status_*``, ``client_aborts``, ``upstream_resets``.
"""

import array
import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple, Self

from onguard.contract import EPOCH_RING, EPOCH_S, LATENCY_SLOTS

WIRE_FIELDS: Final = (
    # traffic of every kind
    "requests", "in_flight", "bytes_from_client", "bytes_from_model",
    "connections", "connections_open", "connections_opaque", "framing_failures", "upstream_failures", "answered_502",
    "connections_http2", "connections_http2_lost",
    # inference requests only: what the objectives judge
    "inference", "errors", "status_1xx", "status_2xx", "status_3xx", "status_4xx", "status_5xx", "status_other",
    "client_aborts", "upstream_resets", "response_truncated",
    # the tee's account
    "not_inference", "stale", "sampled_out", "truncated", "outbox", "handed_over",
    "dropped_outbox_full", "dropped_no_analyst", "dropped_too_large", "dropped_analyst_died",
    # limits of the wire: reached, in use, and the limits themselves
    "connections_refused", "connections_evicted", "connections_idle_closed", "connections_cut", "framing_limits",
    "copies_shed",
    "copy_bytes", "buffered_bytes", "outbox_bytes",
    "limit_connections", "limit_idle_s", "limit_copy_bytes", "limit_buffer_bytes", "limit_waiting_bytes",
    "limit_outbox_bytes",
    # state
    "config_error", "config_reloads", "draining", "started_ns", "published_ns",
)  # fmt: skip
"""Written by the wire. Gauges: in_flight, connections_open, outbox, copy_bytes to limit_outbox_bytes, config_error,
draining, started_ns (wall clock of the wire's start), published_ns (wall clock up to which the epochs are complete)."""
ANALYST_ACCOUNT: Final = (
    "analysed",
    "undecodable_no_decoder", "undecodable_bad_json", "undecodable_bad_shape", "undecodable_bad_utf8",
    "undecodable_too_large", "undecodable_too_deep", "undecodable_unsupported_encoding", "undecodable_mismatch",
    "undecodable_response", "undecodable_lost", "undecodable_internal",
    "duplicate", "probe",
)  # fmt: skip
"""Each exchange that the analyst received is counted in exactly one of these, before the connection that it came by
is closed: the wire counts what is missing then as ``dropped_analyst_died``."""
ANALYST_FIELDS: Final = (*ANALYST_ACCOUNT, "rows")

DEFAULT_BOUNDS_NS: Final = tuple(
    int(ms * 1_000_000)
    for ms in (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000)
)  # fmt: skip
EPOCH_NS: Final = EPOCH_S * 1_000_000_000
MAX_BOUNDS: Final = len(DEFAULT_BOUNDS_NS) + LATENCY_SLOTS

EPOCH_CELLS: Final = 5 + 2 * LATENCY_SLOTS
"""id, requests, errors, slow[LATENCY_SLOTS], connections, connection_bad, connection_slow[LATENCY_SLOTS]."""
AT_SLOW: Final = 3
AT_CONNECTIONS: Final = AT_SLOW + LATENCY_SLOTS
AT_CONNECTION_BAD: Final = AT_CONNECTIONS + 1
AT_CONNECTION_SLOW: Final = AT_CONNECTIONS + 2

MAGIC: Final = 0x4F474C4544474552  # "OGLEDGER"
FORMAT: Final = 1
_MAGIC, _FORMAT, _WIRE_BOOT, _WIRE_GENERATION, _ANALYST_BOOT, _ANALYST_GENERATION = range(6)
_HEADER: Final = 8
# Inside the wire's region, after its fields:
LAYOUT: Final = len(WIRE_FIELDS)
BOUND_COUNT: Final = LAYOUT + 1
BOUNDS: Final = LAYOUT + 2
DURATION: Final = BOUNDS + MAX_BOUNDS
"""Buckets (one more than bounds), then the sum in ns."""
TTFB: Final = DURATION + MAX_BOUNDS + 2
RING: Final = TTFB + MAX_BOUNDS + 2
WIRE_CELLS: Final = RING + EPOCH_RING * EPOCH_CELLS
_ANALYST: Final = _HEADER + WIRE_CELLS
_CELLS: Final = _ANALYST + len(ANALYST_FIELDS)
_BYTES: Final = 8 * _CELLS
_TRIES: Final = 1000
"""Reads of a region that keeps changing; a write takes microseconds, so more means a writer that died half-way."""

WIRE_INDEX: Final = {name: number for number, name in enumerate(WIRE_FIELDS)}
ANALYST_INDEX: Final = {name: number for number, name in enumerate(ANALYST_FIELDS)}


class LedgerError(ValueError):
    """The file is no ledger of this format, or a counter belongs to the other writer."""


class LedgerMissingError(LedgerError):
    """The wire has not created the ledger yet: try again."""


class Layout(NamedTuple):
    """How latencies are cut: histograms and epochs of two layouts never merge."""

    id: str
    """``SidecarConfig.objectives_hash``: 16 hex digits, or empty."""
    bounds_ns: tuple[int, ...]
    """Ascending upper bounds, inclusive; the objectives' bounds are among them."""


class Histogram(NamedTuple):
    """``buckets[i]`` counts values in (bounds[i-1], bounds[i]]; the last one those above all bounds. Not cumulative."""

    buckets: tuple[int, ...]
    sum_ns: int


class EpochRow(NamedTuple):
    """One epoch of the ring, columns as in ``onguard.counts.Epoch``."""

    id: int
    requests: int
    errors: int
    slow: tuple[int, ...]
    connections: int
    connection_bad: int
    connection_slow: tuple[int, ...]


class Snapshot(NamedTuple):
    """All counters of one moment of each writer."""

    wire_boot: str
    """16 hex digits."""
    analyst_boot: str
    """16 hex digits, zeros before the first analyst."""
    layout: Layout
    counters: dict[str, int]
    duration: Histogram
    ttfb: Histogram
    epochs: tuple[EpochRow, ...]
    """By id; those below ``epoch_now`` are closed."""
    epoch_now: int
    """The epoch that is still open, by the wire's last publication."""


def layout_of(objectives_hash: str, latency_bounds_s: tuple[float, ...]) -> Layout:
    """
    The default bounds with the objectives' own as exact edges.

    >>> layout_of("", (0.25, 0.3)).bounds_ns[7:10]
    (250000000, 300000000, 500000000)
    """
    own = {round(bound * 1e9) for bound in latency_bounds_s[:LATENCY_SLOTS]}
    return Layout(objectives_hash, tuple(sorted(own.union(DEFAULT_BOUNDS_NS))))


class Ledger:
    """
    One program's view of the shared file: it writes its own region and reads both.

    Attributes:
        tally: the private values of this writer's region, a list since adding to one is three times as fast as adding
            to an array. The wire's hot path adds here by index and publishes once a batch; :meth:`add` does both.
        is_private: the shared volume had no room for the wire's ledger; nobody else can see it.
    """

    def __init__(self, fd: int, *, base: int, generation: int, index: dict[str, int]) -> None:
        if os.fstat(fd).st_size < _BYTES:  # memory of the wire's own
            os.ftruncate(fd, _BYTES)
        self._map_file(fd)
        self.is_private = False
        self._base, self._generation, self._index = base, generation, index
        self._end = base + (WIRE_CELLS if base == _HEADER else len(ANALYST_FIELDS))
        self.tally: list[int] = self._cells[base : self._end].tolist()

    def _map_file(self, fd: int) -> None:
        self._fd = fd
        self._map = mmap.mmap(fd, _BYTES)
        self._view = memoryview(self._map)
        self._cells = self._view.cast("q")

    @classmethod
    def open_wire(cls, path: Path, layout: Layout, boot: int) -> Self:
        """
        Create the ledger of this boot of the wire in place of any older one.

        Where the volume is full, in memory of the wire's own: :attr:`is_private` until :meth:`settle`.
        """
        ledger = cls(os.memfd_create(path.name), base=_HEADER, generation=_WIRE_GENERATION, index=WIRE_INDEX)
        ledger._cells[_MAGIC], ledger._cells[_FORMAT], ledger._cells[_WIRE_BOOT] = MAGIC, FORMAT, boot
        ledger.relayout(layout)
        ledger.is_private = True
        ledger.settle(path)
        return ledger

    def settle(self, path: Path) -> bool:
        """
        Move a private ledger to the shared volume; whether it is there now.

        Room is allocated before anything is mapped: to write to a page that a full volume can't back ends a process.
        """
        if not self.is_private:
            return True
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o660)
            try:
                os.posix_fallocate(fd, 0, _BYTES)
                os.pwrite(fd, self._view, 0)
                fresh.rename(path)
            except OSError:
                os.close(fd)
                fresh.unlink(missing_ok=True)
                raise
        except OSError:
            return False
        self.close()
        self._map_file(fd)
        self.is_private = False
        return True

    @classmethod
    def resume_wire(cls, path: Path, boot: int) -> Self:
        """
        Go on writing the wire's region of a ledger that another process of the same boot of the wire began.

        Raises:
            LedgerMissingError: there is none of this boot.
            LedgerError: it is of another format.
        """
        ledger = cls(_open(path), base=_HEADER, generation=_WIRE_GENERATION, index=WIRE_INDEX)
        if ledger._cells[_WIRE_BOOT] != boot:
            ledger.close()
            raise LedgerMissingError(f"expected a ledger of this boot, got another - at {path.name}")
        if ledger._cells[_WIRE_GENERATION] % 2:  # its writer died half-way
            ledger._cells[_WIRE_GENERATION] += 1
        return ledger

    @classmethod
    def open_analyst(cls, path: Path, boot: int) -> Self:
        """
        Join the wire's ledger; counters of earlier analysts of this wire boot go on.

        Raises:
            LedgerMissingError: there is none yet; the caller tries again.
            LedgerError: it is of another format.
        """
        ledger = cls(_open(path), base=_ANALYST, generation=_ANALYST_GENERATION, index=ANALYST_INDEX)
        if ledger._cells[_ANALYST_GENERATION] % 2:  # an earlier analyst died half-way
            ledger._cells[_ANALYST_GENERATION] += 1
        ledger._cells[_ANALYST_BOOT] = boot
        return ledger

    @classmethod
    def open_reader(cls, path: Path) -> Self:
        """
        Look at the ledger without being one of its writers.

        Raises:
            LedgerMissingError: there is none yet.
            LedgerError: it is of another format.
        """
        return cls(_open(path), base=_ANALYST, generation=_ANALYST_GENERATION, index={})

    @property
    def superseded(self) -> bool:
        """The wire has started again and made another file."""
        return os.fstat(self._fd).st_nlink == 0

    def add(self, name: str, n: int = 1) -> None:
        """
        Add to one of this writer's counters, visible at once.

        Raises:
            LedgerError: the counter is not this writer's.
        """
        self.add_all({name: n})

    def add_all(self, changes: dict[str, int]) -> None:
        """
        Add to several counters; a snapshot shows all or none of it.

        Raises:
            LedgerError: a counter is not this writer's.
        """
        for name in changes:
            if name not in self._index:
                raise LedgerError(f"expected one of {', '.join(self._index)}, got {name}")
        if self._base == _ANALYST:  # it may have opened the file twice; the wire's tally is ahead of the file
            self.tally = self._cells[self._base : self._end].tolist()
        for name, n in changes.items():
            self.tally[self._index[name]] += n
        self.publish()

    def publish(self, cells: int | None = None) -> None:
        """Show the tally to readers: all of it, or its first ``cells``."""
        values = array.array("q", self.tally if cells is None else self.tally[:cells])
        self._cells[self._generation] += 1
        self._cells[self._base : self._base + len(values)] = memoryview(values)
        self._cells[self._generation] += 1

    def relayout(self, layout: Layout) -> None:
        """
        Cut latencies differently from now on: histograms and epochs start again, counters go on.

        Raises:
            LedgerError: there are more bounds than cells.
        """
        if len(layout.bounds_ns) > MAX_BOUNDS:
            raise LedgerError(f"expected at most {MAX_BOUNDS} bounds, got {len(layout.bounds_ns)}")
        head = [_signed(layout.id), len(layout.bounds_ns), *layout.bounds_ns]
        self.tally[LAYOUT:] = [*head, *[0] * (WIRE_CELLS - LAYOUT - len(head))]
        self.publish()

    def accounted(self) -> int:
        """Exchanges that analysts of this wire boot have counted; the wire reads it when a connection ends."""
        return sum(self._read(_ANALYST_GENERATION, _ANALYST, _ANALYST + len(ANALYST_ACCOUNT)))

    def snapshot(self) -> Snapshot:
        """Consistent values of each region, the wire's read last: what was analysed had been handed over."""
        analyst = self._read(_ANALYST_GENERATION, _ANALYST, _CELLS)
        wire = self._read(_WIRE_GENERATION, _HEADER, _ANALYST)
        layout = Layout(_hex(wire[LAYOUT]), tuple(wire[BOUNDS : BOUNDS + wire[BOUND_COUNT]]))
        counters = dict(zip(WIRE_FIELDS, wire[:LAYOUT], strict=True)) | dict(zip(ANALYST_FIELDS, analyst, strict=True))
        return Snapshot(
            wire_boot=_hex(self._cells[_WIRE_BOOT]),
            analyst_boot=_hex(self._cells[_ANALYST_BOOT]),
            layout=layout,
            counters=counters,
            duration=_histogram(wire[DURATION:TTFB], len(layout.bounds_ns)),
            ttfb=_histogram(wire[TTFB:RING], len(layout.bounds_ns)),
            epochs=_epochs(wire[RING:]),
            epoch_now=counters["published_ns"] // EPOCH_NS,
        )

    def close(self) -> None:
        """Unmap; the counters stay in the file."""
        self._cells.release()
        self._view.release()
        self._map.close()
        os.close(self._fd)

    def _read(self, generation: int, start: int, end: int) -> list[int]:
        for _ in range(_TRIES):
            before = self._cells[generation]
            values = self._cells[start:end].tolist()
            if before % 2 == 0 and self._cells[generation] == before:
                break
        return values


def _open(path: Path) -> int:
    """Descriptor of the wire's ledger, checked."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        raise LedgerMissingError(f"expected a ledger, got no file - at {path.name}") from None
    found = (os.fstat(fd).st_size, os.pread(fd, 16, 0))
    if found != (_BYTES, struct.pack("@qq", MAGIC, FORMAT)):
        os.close(fd)
        raise LedgerError(f"expected a ledger of format {FORMAT} and {_BYTES} bytes, got {found} - at {path.name}")
    return fd


def _histogram(cells: list[int], bounds: int) -> Histogram:
    return Histogram(tuple(cells[: bounds + 1]), cells[MAX_BOUNDS + 1])


def _epochs(ring: list[int]) -> tuple[EpochRow, ...]:
    rows = [ring[at : at + EPOCH_CELLS] for at in range(0, len(ring), EPOCH_CELLS) if ring[at]]
    return tuple(map(_epoch, sorted(rows)))


def _epoch(row: list[int]) -> EpochRow:
    slow, connection_slow = tuple(row[AT_SLOW:AT_CONNECTIONS]), tuple(row[AT_CONNECTION_SLOW:])
    return EpochRow(row[0], row[1], row[2], slow, row[AT_CONNECTIONS], row[AT_CONNECTION_BAD], connection_slow)


def _signed(hex16: str) -> int:
    return int.from_bytes(bytes.fromhex(hex16.rjust(16, "0")), "big", signed=True)


def _hex(value: int) -> str:
    return value.to_bytes(8, "big", signed=True).hex()
