"""
State of an e-detector as plain arrays and integers, and how it is saved.

Saved evidence is rounded towards less evidence (to 32 bits), so that what comes back after a restart is never more
than what was saved. Sizes: C components, K events, F features, J alternatives.
"""

import dataclasses
from typing import Any, Final, Self

import msgspec
import numpy as np

from onguard.limits import Floats, Ints

FORMAT: Final = 1


class StateError(ValueError):
    """A saved state can't be read; the caller starts anew."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class State:
    """
    Evidence so far.

    Attributes:
        key: identity of the limits that it was gathered against.
        steps: non-empty steps.
        episodes: alarms raised.
        since: step of the alarm that is latched.
        log_r: (C,) ln R of each component.
        log_d: (F',) ln D of each feature with components.
        inside, weight: (K,) fixed-point weight of each event and of its condition in the recent traffic.
        foreseen: (K,) weight that the reference would have put into each event meanwhile.
        latched: (F,) 2 * event + side (0 upper, 1 lower) that alarmed, -1 if none.
        log_v: (F, J) ln of the evidence that the latched event is back.
    """

    key: str
    steps: int = 0
    episodes: int = 0
    since: int | None = None
    log_r: Floats
    log_d: Floats
    inside: Ints
    weight: Ints
    foreseen: Ints
    latched: Ints
    log_v: Floats

    def encode(self) -> bytes:
        """Msgpack; about 4 bytes a component."""
        return msgspec.msgpack.encode(_Saved.of(self))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """
        Read what :meth:`encode` wrote.

        Raises:
            StateError: if it is damaged or of another format.
        """
        try:
            saved = msgspec.msgpack.decode(data, type=_Saved)
            if saved.version != FORMAT:
                raise StateError(f"expected a state of format {FORMAT}, got {saved.version} - at `state.version`")
            return cls(**saved.fields())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StateError(str(error).replace("`$", "`state")) from None
        except ValueError as error:
            raise StateError(f"{error} - at `state`") from None


class _Saved(msgspec.Struct, frozen=True, kw_only=True):
    version: int = FORMAT
    key: str
    steps: int
    episodes: int
    since: int | None
    log_r: bytes
    log_d: bytes
    inside: list[int]
    weight: list[int]
    foreseen: list[int] = []
    latched: list[int]
    log_v: bytes

    @classmethod
    def of(cls, state: State) -> Self:
        arrays: dict[str, Any] = {name: floats_to_bytes(getattr(state, name)) for name in _FLOATS}
        arrays |= {name: getattr(state, name).tolist() for name in _INTS}
        return cls(key=state.key, steps=state.steps, episodes=state.episodes, since=state.since, **arrays)

    def fields(self) -> dict[str, Any]:
        arrays: dict[str, Any] = {name: bytes_to_floats(getattr(self, name)) for name in _FLOATS}
        arrays |= {name: np.array(getattr(self, name), np.int64) for name in _INTS}
        arrays["log_v"] = arrays["log_v"].reshape(len(self.latched), -1)
        return {"key": self.key, "steps": self.steps, "episodes": self.episodes, "since": self.since, **arrays}


_FLOATS: Final = ("log_r", "log_d", "log_v")
_INTS: Final = ("inside", "weight", "foreseen", "latched")


def floats_to_bytes(values: Floats) -> bytes:
    """
    Little-endian 32-bit floats, rounded down.

    >>> bytes_to_floats(floats_to_bytes(np.array([0.1, -np.inf, 16.0]))) <= [0.1, -np.inf, 16.0]
    array([ True,  True,  True])
    """
    short = values.astype("<f4")
    return np.where(short > values, np.nextafter(short, np.float32(-np.inf)), short).astype("<f4").tobytes()


def bytes_to_floats(data: bytes) -> Floats:
    """Inverse of :func:`floats_to_bytes` up to the rounding."""
    return np.frombuffer(data, "<f4").astype(np.float64)
