"""
Bodies that were seen a short while ago: retries and loops are no new evidence.

A direct-mapped table of keyed 64-bit hashes: memory is fixed, nothing of a body is kept, and a new hash overwrites
the one in its slot, so that under more distinct bodies than slots some repeats are missed (they then weigh 1).
"""

import array
from collections.abc import Iterable
from typing import Final

WINDOW_S: Final = 60.0
SLOTS: Final = 1 << 16
"""1 MiB in all; a thousand distinct bodies a second fill it in a minute."""
_64_BITS: Final = (1 << 64) - 1


class Recent:
    """
    What was counted in the last 60 s.

    A repeat does not renew its entry: a body that is sent for ever counts once a minute.

    >>> recent = Recent(key=b"k")
    >>> recent.seen(b"a", now=0.0), recent.seen(b"a", now=59.0), recent.seen(b"a", now=61.0)
    (False, True, False)
    """

    def __init__(self, key: bytes, slots: int = SLOTS) -> None:
        self._key = hash(key)
        self._slots = slots
        self._hashes = array.array("Q", bytes(8 * slots))
        self._times = array.array("d", bytes(8 * slots))

    def seen(self, body: bytes, *, now: float) -> bool:
        """Whether this body came within the window; if not, it is noted. ``now``: monotonic seconds."""
        number = self._number(body)
        slot = number % self._slots
        if self._hashes[slot] == number and now - self._times[slot] < WINDOW_S:
            return True
        self._hashes[slot], self._times[slot] = number, now
        return False

    def note_all(self, bodies: Iterable[bytes], *, now: float) -> list[bool]:
        """Whether each of these is new, one after another, as :meth:`seen` of each, in half of its time."""
        key, slots, hashes, times = self._key, self._slots, self._hashes, self._times
        latest, are_new = now - WINDOW_S, []
        for body in bodies:
            number = (hash(body) ^ key) & _64_BITS or 1
            slot = number % slots
            is_new = hashes[slot] != number or times[slot] <= latest
            if is_new:
                hashes[slot], times[slot] = number, now
            are_new.append(is_new)
        return are_new

    def forget(self, body: bytes) -> None:
        """Take back a note: the body turned out to be undecodable, so each copy of it is."""
        number = self._number(body)
        if self._hashes[number % self._slots] == number:
            self._hashes[number % self._slots] = 0

    def _number(self, body: bytes) -> int:
        """Python's own hash of bytes, SipHash under a key of this process: a tenth of the time of any other."""
        return (hash(body) ^ self._key) & _64_BITS or 1  # 0 marks an empty slot
