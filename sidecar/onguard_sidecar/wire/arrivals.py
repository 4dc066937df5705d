"""
What was forwarded and waits to be framed and counted: many arrivals at once, in a tight loop.

An *ordinary* exchange is an inference request that came alone and whole, and an answer that did, both with heads that
were seen before, on a connection on which nothing else is under way. The two are looked at together, in one pass, and
nothing is made of them but what the analyst gets. Everything else goes through the framer, which counts the same.
"""

from typing import Final, Protocol

from onguard_sidecar.exchange import Fields
from onguard_sidecar.handover import OVERHEAD
from onguard_sidecar.ledger import WIRE_INDEX
from onguard_sidecar.wire.accounts import Accounts
from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import Heads
from onguard_sidecar.wire.request_framing import END

SEEN_MAX: Final = 64
"""Arrivals that wait to be framed: looking at them holds the loop for about 0.1 ms."""
SEEN_LARGE: Final = 16 << 10
"""Bytes of an arrival that is framed at once, so that at most SEEN_MAX times as much (1 MiB) waits."""
_FROM_CLIENT: Final = WIRE_INDEX["bytes_from_client"]
_FROM_MODEL: Final = WIRE_INDEX["bytes_from_model"]
_UNKNOWN: Final = (b"", -1, 0)


class Connection(Protocol):
    """
    The connection that bytes came by.

    Attributes:
        framer: frames what is not ordinary.
        number: of the connection in this boot.
        is_at_rest: nothing is under way on it, and it is judged by its first requests already.
    """

    framer: Framer
    number: int
    is_at_rest: bool

    def rest(self) -> None:
        """Set ``is_at_rest`` anew: the framer has taken something."""


Arrival = tuple[Connection, bytes | None, int, bytes | None, int]
"""What the client sent (None: nothing) and when, and what the model sent then (None: nothing) and when."""


class Arrivals:
    """
    Arrivals of all connections.

    Attributes:
        waiting: what is still to be looked at, in the order in which it came.
    """

    def __init__(self, accounts: Accounts, heads: Heads) -> None:
        self._accounts, self._heads = accounts, heads
        self.waiting: list[Arrival] = []

    def settle(self) -> None:
        """Frame and count all that waits."""
        waiting, self.waiting = self.waiting, []
        accounts, tally, cells = self._accounts, self._accounts.tally, self._accounts.good
        requests, answers = self._heads.ordinary_requests.get, self._heads.ordinary_answers.get
        times: list[int] = []
        copies: list[Fields] = []
        size = 0
        for client, request, since, answer, now in waiting:
            if request is not None and answer is not None and client.is_at_rest and now < accounts.row_end:
                head, _, body = request.partition(END)
                head, length, _ = requests(head, _UNKNOWN)
                answer_head, _, answer_body = answer.partition(END)
                answer_head, answer_length, status = answers(answer_head, _UNKNOWN)
                took = now - since
                if (
                    length == len(body)
                    and answer_length == len(answer_body)
                    and status in cells
                    and took <= accounts.quick_ns
                ):
                    number = client.framer.number
                    client.framer.number = number + 1
                    tally[cells[status]] += 1
                    tally[_FROM_CLIENT] += len(request)
                    tally[_FROM_MODEL] += len(answer)
                    times.append(took)
                    if accounts.takes_all or accounts.sampled():
                        size += OVERHEAD + len(request) + len(answer)
                        started = since + accounts.wall_ns
                        copies.append((client.number, number, started, took, took, status, 0, 0, 1,
                                       head, body, answer_head, answer_body))  # fmt: skip
                    continue
            if times and max(since, now) >= accounts.row_end:  # theirs is the epoch before
                accounts.leave_ordinary(times, copies, size)
                times, copies, size = [], [], 0
            self._frame(client, request, since, answer, now)
        if times:
            accounts.leave_ordinary(times, copies, size)

    def _frame(self, client: Connection, request: bytes | None, since: int, answer: bytes | None, now: int) -> None:
        tally, framer = self._accounts.tally, client.framer
        if request is not None:
            tally[_FROM_CLIENT] += len(request)
            framer.feed_client(request, since)
        if answer is not None:
            tally[_FROM_MODEL] += len(answer)
            framer.feed_server(answer, now)
        client.rest()
