"""
The account of HTTP/2: the analyst frames and judges it, so it keeps a ledger of its own in the wire's form.

Both regions of that ledger are ours. It belongs to one boot of the wire and outlives the analyst: what was under way
when an analyst died is counted then. It is added to the wire's own by
:mod:`onguard_sidecar.analyst.merging`, so that who reads sees one account.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from onguard_sidecar import ledger as ledgers
from onguard_sidecar.exchange import Exchange, Fields
from onguard_sidecar.ledger import WIRE_FIELDS, WIRE_INDEX, Ledger, LedgerError, Snapshot
from onguard_sidecar.wire.accounts import Accounts
from onguard_sidecar.wire.config import WireConfig
from onguard_sidecar.wire.pending import Pending

Take = Callable[[Exchange], tuple[str, int]]
"""Decodes and counts an exchange: the ledger's field that it belongs to, and the rows that were counted."""
_COUNTERS: Final = len(WIRE_FIELDS)
LOST: Final = "undecodable_lost"


class Http2Account:
    """
    The ledger, and the wire's way of counting into it.

    Args:
        path: of the file.
        boots: of the wire, and of the analyst.
        config: the wire's.
        take: what exchanges are handed to.
        wall_ns: wall-clock time less monotonic time.

    Raises:
        LedgerError: the volume has no room for it.
    """

    def __init__(self, path: Path, boots: tuple[int, int], config: WireConfig, take: Take, *, wall_ns: int) -> None:
        self.wire_boot = boots[0]
        ledger = _resumed(path, boots[0]) or Ledger.open_wire(path, ledgers.layout_of("", ()), boots[0])
        if ledger.is_private:
            ledger.close()
            raise LedgerError("expected room for a ledger on the shared volume")
        self._outcomes = Ledger.open_analyst(path, boots[1])
        self._take = take
        self._fresh: Counter[str] = Counter()
        with _histograms_kept(ledger):
            self.accounts = Accounts(ledger, self, random.random, wall_ns=wall_ns)
            self.accounts.configure(config)
        self._settle_the_dead()

    def offer(self, exchanges: Sequence[Fields], _size: int) -> None:
        """Decode and count at once: the outbox of these accounts."""
        for exchange in exchanges:
            self.accounts.tally[WIRE_INDEX["handed_over"]] += 1
            outcome, rows = self._take(Exchange(*exchange))
            self._fresh[outcome] += 1
            self._fresh["rows"] += rows

    def lose(self, pending: Pending) -> None:
        """A call on a connection that can't be read any more: in the account, not judged."""
        is_inference = pending.unit >= 0
        self.accounts.lose(pending)
        if is_inference:
            self.accounts.count("truncated", -1)
            self.accounts.count("handed_over")
            self._fresh[LOST] += 1

    def publish(self, now: int) -> None:
        """Show everything up to ``now``."""
        self.accounts.publish(now)
        self.publish_outcomes()

    def publish_outcomes(self) -> None:
        """Show what became of exchanges, and counters; histograms and epochs follow with the next sweep."""
        if self._fresh:
            self.accounts.ledger.publish(_COUNTERS)  # handed over first: what is accounted for was
            fresh, self._fresh = self._fresh, Counter()
            self._outcomes.add_all(fresh)

    def snapshot(self) -> Snapshot:
        """All counters as published."""
        return self._outcomes.snapshot()

    def close(self) -> None:
        """Unmap; the counters stay in the file."""
        self._outcomes.close()
        self.accounts.ledger.close()

    def _settle_the_dead(self) -> None:
        """What an earlier analyst had under way, or was decoding, died with it."""
        accounts, under_way = self.accounts, self.accounts.read("in_flight")
        accounts.count("in_flight", -under_way)
        accounts.count("requests", under_way)
        died = accounts.read("handed_over") - self._outcomes.accounted() - accounts.read("dropped_analyst_died")
        accounts.count("handed_over", under_way)
        accounts.count("dropped_analyst_died", under_way + max(died, 0))
        for gauge in ("connections_open", "copy_bytes"):
            accounts.show(gauge, 0)
        accounts.ledger.publish()


def _resumed(path: Path, boot: int) -> Ledger | None:
    """The ledger of an earlier analyst of this boot of the wire."""
    try:
        return Ledger.resume_wire(path, boot)
    except LedgerError:
        return None


@contextmanager
def _histograms_kept(ledger: Ledger) -> Iterator[None]:
    """New accounts start histograms and epochs again; where the bounds are the same after all, they go on."""
    before = ledger.tally[ledgers.LAYOUT :]
    yield
    own = slice(ledgers.LAYOUT, ledgers.DURATION)
    if ledger.tally[own] == before[: ledgers.DURATION - ledgers.LAYOUT]:
        ledger.tally[ledgers.LAYOUT :] = before
