"""
All that a ModelDeployment's evaluation remembers, as one value, and how it is saved.

Evidence, the cursors that it was counted up to, what is known of revisions and what was decided are saved in one
write: any part alone, a crash later, would count twice or decide twice.
"""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import msgspec

from onguard.arms import ArmsState
from onguard.bounded import BoundedState
from onguard.counts import CountsWire
from onguard.decide import Memory
from onguard.states import State, StateError
from onguard_operator.counting import Cursor
from onguard_operator.release import History

FORMAT: Final = 1
MAX_BYTES: Final = 900_000
"""An object of etcd holds 1.5 MB with everything around it; a ConfigMap 1 MiB."""


class Learning(msgspec.Struct, frozen=True, kw_only=True):
    """
    A reference that is being counted.

    Attributes:
        bins: hash of the profile whose bins are counted in.
        since, until: Unix times between which it was served.
        revisions: that served it, oldest first.
        counts: all pods summed.
        hours: rows per bin by cell of the season; what may have come in two of them is in none.
    """

    bins: str
    since: float
    until: float
    revisions: tuple[str, ...]
    counts: CountsWire
    hours: Mapping[int, Sequence[int]] = {}


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """
    Scores of recent requests.

    Attributes:
        bins: hash of the profile that they are counted by.
        rows: weight of requests by score bin.
        outside: weight of those beyond the reference's scores, which the outermost bins hold too.
    """

    bins: str
    rows: tuple[float, ...]
    outside: float


class Past(msgspec.Struct, frozen=True, array_like=True):
    """Requests of one revision in one epoch, kept to compare a breach with how it was before."""

    id: int
    revision: str
    requests: int
    errors: int
    slow: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """
    What is remembered.

    Attributes:
        read_at: Unix time of the last reading; pods that began later are new.
        cursors: how far each pod is counted, by uid.
        members: pods that were expected to speak for their epochs at the last visit.
        service_to: last epoch that the service detectors have taken.
        arms_to: last epoch that the arms have taken or given up.
        data: states of the detectors of data, by name of the objective.
        since_drift: what was counted since drift alarmed, to explain it; None while it has not.
        service: states of the detectors of epochs, by name of the objective.
        arms: states of the comparisons of arms, by name of the objective.
        arms_of: candidate and baseline revision that ``arms`` compares.
        paired_epoch: last epoch in which both of them served.
        past: the last epochs by revision, oldest first.
        onsets: estimated Unix time at which a latched breach began, by name of the objective.
        broken_before: objectives that were broken when the present revision came.
        references: hashes of all references so far, oldest first.
        learning: counts that will be the reference; None while none is learnt.
        scored: scores of recent requests; None where the reference has no labels.
        losses: (seen, lost) requests of the last visits, oldest first.
        memory_since: Unix time since which the memory threshold is passed; 0: it is not.
        history: revisions.
        memory: decisions.
    """

    read_at: float = 0.0
    cursors: Mapping[str, Cursor] = dataclasses.field(default_factory=dict)
    members: frozenset[str] = frozenset()
    service_to: int = 0
    arms_to: int = 0
    data: Mapping[str, State] = dataclasses.field(default_factory=dict)
    since_drift: CountsWire | None = None
    service: Mapping[str, BoundedState] = dataclasses.field(default_factory=dict)
    arms: Mapping[str, ArmsState] = dataclasses.field(default_factory=dict)
    arms_of: tuple[str, str] = ("", "")
    paired_epoch: int = 0
    past: tuple[Past, ...] = ()
    onsets: Mapping[str, float] = dataclasses.field(default_factory=dict)
    broken_before: frozenset[str] = frozenset()
    references: tuple[str, ...] = ()
    learning: Learning | None = None
    scored: Scored | None = None
    losses: tuple[tuple[int, int], ...] = ()
    memory_since: float = 0.0
    history: History = dataclasses.field(default_factory=History)
    memory: Memory = dataclasses.field(default_factory=Memory)

    def encode(self) -> bytes:
        """
        Compressed msgpack of at most ``MAX_BYTES``.

        If it is too large, cursors go first: then first readings are baselines, and the evidence is none the more.
        """
        whole = _compress(_Saved.of(self))
        if len(whole) <= MAX_BYTES:
            return whole
        return _compress(_Saved.of(dataclasses.replace(self, cursors={}, past=(), since_drift=None, learning=None)))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Read what :meth:`encode` wrote.

        Raises:
            StateError: if it is damaged or of another format; the caller starts anew.
        """
        try:
            saved = msgspec.msgpack.decode(zlib.decompress(data), type=_Saved)
        except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(f"{error} - at `evidence`") from None
        if saved.version != FORMAT:
            raise StateError(f"expected evidence of format {FORMAT}, got {saved.version} - at `evidence.version`")
        return cls(**saved.fields())


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    version: int = FORMAT
    read_at: float
    cursors: dict[str, Cursor]
    members: frozenset[str]
    service_to: int
    arms_to: int
    data: dict[str, bytes]
    since_drift: CountsWire | None = None
    service: dict[str, bytes]
    arms: dict[str, ArmsState]
    arms_of: tuple[str, str]
    paired_epoch: int
    past: tuple[Past, ...]
    onsets: dict[str, float]
    broken_before: frozenset[str]
    references: tuple[str, ...]
    learning: Learning | None = None
    scored: Scored | None = None
    losses: tuple[tuple[int, int], ...] = ()
    memory_since: float
    history: History
    memory: Memory

    @classmethod
    def of(cls, evidence: Evidence) -> Self:
        fields: dict[str, Any] = {f.name: getattr(evidence, f.name) for f in dataclasses.fields(evidence)}
        fields |= {name: {k: v.encode() for k, v in fields[name].items()} for name in ("data", "service")}
        return cls(**fields)

    def fields(self) -> dict[str, Any]:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "version"}
        fields["data"] = {name: State.decode(state) for name, state in self.data.items()}
        fields["service"] = {name: BoundedState.decode(state) for name, state in self.service.items()}
        return fields


def _compress(saved: _Saved) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(saved), 6)
