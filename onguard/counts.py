"""
Counts: what one stream of traffic looked like, in the bins of one profile. They add.

A sidecar serves the cumulative counters of its boot in a :class:`Report`; the operator takes differences per
(pod uid, boot) and sums them per revision and arm. All sums are int64 (fixed point where a value is not whole),
so addition is exact in any order.
"""

import dataclasses
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from onguard.profile import EXPONENT_CELLS, MAX_ATOMS, MAX_MOMENTS, SENTINELS, Profile

SCHEMA: Final = "onguard.dev/counts"
FORMAT: Final = 1
Ints = npt.NDArray[np.int64]

SUM_SCALE: Final = 1 << 16
"""Fixed point of standardised, clipped values and their products."""
ATOM_CELLS: Final = MAX_ATOMS + len(SENTINELS)
_ARRAYS: Final = ("bins", "unit_bins", "exponents", "atoms", "repeats", "clipped", "products")


class CountsError(ValueError):
    """A report can't be read, or two Counts do not belong to one profile."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Counts:
    """
    Cumulative counters of one profile. Shapes: B all bins, F features, M <= 32 moment features.

    Attributes:
        profile_hash: the profile whose bins these are.
        rows: rows counted.
        units: requests counted, fixed point (``contract.UNIT`` = one request).
        unit_squares: sum over requests of (weight / UNIT) squared, fixed point, for the design effect.
        duplicates: requests of weight 0 because the same body came within 60 s.
        bins: (B,) rows per bin.
        unit_bins: (B,) fixed-point request weight per bin: each request adds UNIT to each feature in all.
        exponents: (F, EXPONENT_CELLS) rows per cell sign x floor(2 log2|x|).
        atoms: (F, ATOM_CELLS) rows equal to an atom of the reference, then to a sentinel.
        repeats: (F,) rows equal to the row before.
        clipped: (F, 2) sum and sum of squares of the standardised value, clipped to 8 sd, in SUM_SCALE.
        products: (M, M) sums of z_i z_j in SUM_SCALE.
    """

    profile_hash: str
    rows: int = 0
    units: int = 0
    unit_squares: int = 0
    duplicates: int = 0
    bins: Ints
    unit_bins: Ints
    exponents: Ints
    atoms: Ints
    repeats: Ints
    clipped: Ints
    products: Ints

    @classmethod
    def zero(cls, profile: Profile) -> Self:
        """Nothing counted yet."""
        features, total = len(profile.features), profile.layout.total
        moments = len(profile.moments.features) if profile.moments else 0
        shapes = ((total,), (total,), (features, EXPONENT_CELLS), (features, ATOM_CELLS), (features,), (features, 2))
        every = (*shapes, (min(moments, MAX_MOMENTS),) * 2)
        arrays: dict[str, Any] = {name: np.zeros(shape, np.int64) for name, shape in zip(_ARRAYS, every, strict=True)}
        return cls(profile_hash=profile.hash, **arrays)

    def __add__(self, other: Self) -> Self:
        return self._combine(other, 1)

    def __sub__(self, other: Self) -> Self:
        return self._combine(other, -1)

    def _combine(self, other: Self, sign: int) -> Self:
        if other.profile_hash != self.profile_hash:
            raise CountsError(f"expected counts of profile {self.profile_hash}, got {other.profile_hash}")
        names = [f.name for f in dataclasses.fields(self) if f.name != "profile_hash"]
        sums = {name: getattr(self, name) + sign * getattr(other, name) for name in names}
        return dataclasses.replace(self, **sums)


class CountsWire(msgspec.Struct, frozen=True, kw_only=True):
    """Counts as they travel: flat lists, which msgpack keeps short while they are small."""

    profile_hash: str
    rows: int
    units: int
    unit_squares: int
    duplicates: int
    bins: list[int]
    unit_bins: list[int]
    exponents: list[int]
    atoms: list[int]
    repeats: list[int]
    clipped: list[int]
    products: list[int]


class Epoch(msgspec.Struct, frozen=True, array_like=True):
    """
    One closed wall-clock epoch of 5 s on one pod; the wire keeps it. Only inference requests are in it.

    A request is in ``requests`` and in its columns of ``slow`` (one a latency objective) once: when it ends or when it
    is still in flight at the largest bound, whichever is first. One that was judged in flight and then ends as an
    error is in ``errors`` and ``requests`` of that later epoch as well, so that ``errors <= requests`` always.

    ``connections``, ``connection_bad`` and ``connection_slow`` are the arm's units: each client connection once, in
    the epoch of its first inference request. It is bad (slow) with weight ``contract.UNIT`` if any of its first
    ``contract.CONNECTION_REQUESTS`` inference requests was. These two columns are final
    ``contract.CONNECTION_SETTLE_EPOCHS`` epochs after the epoch has closed; the others as soon as it has.
    """

    id: int
    requests: int
    errors: int
    slow: tuple[int, ...] = ()
    connections: int = 0
    connection_bad: int = 0
    connection_slow: tuple[int, ...] = ()


class ResourceSample(msgspec.Struct, frozen=True, kw_only=True):
    """Resource use of the model's container; None where the source does not say."""

    source: str
    cpu_seconds: float | None = None
    cpu_cores: float | None = None
    memory_bytes: float | None = None
    threads: int | None = None
    open_fds: int | None = None


class Surveyed(msgspec.Struct, frozen=True, kw_only=True):
    """What a pod that was asked for bins has to say."""

    attempt: int
    requests: int
    """Requests whose rows it has looked at."""
    profile_json: bytes = b""
    """Bins without counts, gzipped; empty until there were enough requests."""
    error: str = ""
    """Why there are none though there were."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``GET /counts`` (msgpack)."""

    schema: str = SCHEMA
    version: int = FORMAT
    min_reader: int = FORMAT
    sidecar_version: str
    wire_boot: str
    """Boot id of the wire: epochs and ledger counters start again when it changes."""
    analyst_boot: str
    """Boot id of the analyst: ``counts`` start again when it changes."""
    model: str
    revision: str
    """``pod-template-hash`` of the pod."""
    arm: str
    objectives_hash: str = ""
    """Identity of the latency bounds and statuses that the epochs were cut with."""
    profile_hash: str = ""
    epoch_now: int
    """The epoch that is still open on this pod's clock."""
    epochs: tuple[Epoch, ...] = ()
    ledger: dict[str, int] = {}
    """Monotone counters of this wire boot by name, for account and display."""
    counts: CountsWire | None = None
    """None while there is no valid profile."""
    survey: Surveyed | None = None
    profile_error: str = ""
    config_error: str = ""
    resources: ResourceSample | None = None
    extensions: dict[str, Any] = {}


def to_wire(counts: Counts) -> CountsWire:
    """Flatten for travel."""
    values = {f.name: getattr(counts, f.name) for f in dataclasses.fields(counts)}
    fields: dict[str, Any] = {k: v.ravel().tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
    return CountsWire(**fields)


def from_wire(wire: CountsWire, profile: Profile) -> Counts:
    """
    Restore the shapes that ``profile`` gives.

    Raises:
        CountsError: if the counts are of another profile or a vector has another length.
    """
    if wire.profile_hash != profile.hash:
        raise CountsError(f"expected counts of profile {profile.hash}, got {wire.profile_hash}")
    zero = Counts.zero(profile)
    changes: dict[str, Any] = {k: getattr(wire, k) for k in ("rows", "units", "unit_squares", "duplicates")}
    for name in _ARRAYS:
        shape, values = getattr(zero, name).shape, getattr(wire, name)
        if len(values) != int(np.prod(shape)):
            raise CountsError(f"expected {int(np.prod(shape))} values, got {len(values)} - at `counts.{name}`")
        changes[name] = np.array(values, np.int64).reshape(shape)
    return dataclasses.replace(zero, **changes)


def encode_report(report: Report) -> bytes:
    """Msgpack body of /counts."""
    return msgspec.msgpack.encode(report)


def decode_report(body: bytes) -> Report:
    """
    Read a /counts body of this format or of one that says this reader will do.

    Raises:
        CountsError: with the path of the fault.
    """
    try:
        report = msgspec.msgpack.decode(body, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CountsError(str(error).replace("`$", "`report")) from None
    if report.schema != SCHEMA or report.min_reader > FORMAT:
        raise CountsError(f"expected {SCHEMA} for readers from {FORMAT}, got {report.schema} from {report.min_reader}")
    return report
