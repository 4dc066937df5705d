"""
Takes what the wire hands over: a listening SOCK_SEQPACKET socket, and a reader for each connection.

Memory is bounded by what is read at a time, one datagram; what we are too slow for stays in the kernel's buffer, and
when that is full the wire drops and counts. Between two datagrams the event loop serves everybody else.
"""

import asyncio
import collections
import contextlib
import logging
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onguard_sidecar import chunks
from onguard_sidecar.analyst.analysis import undecodable
from onguard_sidecar.analyst.books import Books
from onguard_sidecar.analyst.state import State
from onguard_sidecar.decoding.batch import Reason
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.handover import DATAGRAM_MAX, NOTHING, Exchanges, HandoverError, Receiver
from onguard_sidecar.ledger import Snapshot

if TYPE_CHECKING:
    from onguard_sidecar.analyst.http2 import Http2

log: Final = logging.getLogger(__name__)

BACKLOG: Final = 16
MAX_CONNECTIONS: Final = 64
"""One for each worker of the wire, and those that are just closing."""
SWEEP_S: Final = 0.25
"""Between two looks at what is under way on HTTP/2 connections, as often as the wire looks at the rest."""
_KINDS_LOGGED: Final = 100


def listen(path: Path) -> socket.socket:
    """A socket at ``path``, which a socket of an earlier boot may occupy."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    listener.bind(str(path))
    path.chmod(0o660)
    listener.listen(BACKLOG)
    return listener


class Intake:
    """
    Reads exchanges into the state's analysis and accounts for each in the ledger.

    Args:
        state: whose analysis takes them.
        books: where each is accounted for.
        clock: monotonic seconds.

    Attributes:
        faults: unexpected errors of ours.
        malformed: connections ended because a datagram was not the wire's.
    """

    def __init__(self, state: State, books: Books, clock: Callable[[], float]) -> None:
        self._state = state
        self._books = books
        self._clock = clock
        self._receivers: dict[socket.socket, Receiver] = {}
        self._logged: set[str] = set()
        self._listener: socket.socket | None = None
        self._http2: Http2 | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self.faults = 0
        self.malformed = 0

    def start(self, listener: socket.socket) -> None:
        """Accept connections on the running event loop."""
        self._listener = listener
        if self._state.settings.http2_ledger_path.exists():  # an earlier analyst's: its counts go on
            self._begin_http2()
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def stop(self) -> None:
        """Count what has arrived, then close everything."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in list(self._receivers):
            while self._readable(connection):
                pass
            self._close(connection)
        if self._http2 is not None:
            self._http2.close()
        if self._sweeping is not None:
            self._sweeping.cancel()

    def http2(self) -> Snapshot | None:
        """The account of HTTP/2 as of now; None while there was none."""
        return None if self._http2 is None else self._http2.own()

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # it is gone again, or we are out of descriptors: the next one will tell
        connection.setblocking(False)
        if len(self._receivers) >= MAX_CONNECTIONS or self._books.current(self._state.boot) is None:
            # Without a ledger nothing can be accounted for: the wire counts it as dropped and comes again.
            connection.close()
            return
        self._receivers[connection] = Receiver()
        if self._http2 is not None:
            self._open_http2(self._http2)
        asyncio.get_running_loop().add_reader(connection, self._readable, connection)

    def _readable(self, connection: socket.socket) -> bool:
        """Take one datagram; whether there may be more."""
        try:
            datagram = connection.recv(DATAGRAM_MAX + 1)
        except BlockingIOError:
            return False
        except OSError:
            datagram = b""
        if not datagram:
            self._close(connection)
            return False
        try:
            if chunks.are_in(datagram):
                exchanges, pieces = NOTHING, chunks.parse(datagram)
                (self._http2 or self._begin_http2()).feed(connection, pieces)
            else:
                exchanges = self._receivers[connection].feed(datagram)
        except HandoverError as error:
            self.malformed += 1
            log.warning("closing a hand-over connection: %s", error)
            self._close(connection)
            return False
        self._take(exchanges)
        return True

    def _take(self, exchanges: Exchanges) -> None:
        if not len(exchanges):
            return
        now, before = self._clock(), self._state.analysis.tally.rows
        outcomes = collections.Counter(self._outcomes(exchanges, now))
        outcomes["rows"] = self._state.analysis.tally.rows - before
        ledger = self._books.current(self._state.boot)
        if ledger is not None:
            ledger.add_all(outcomes)

    def _begin_http2(self) -> "Http2":
        """With the first connection of HTTP/2, since it costs memory."""
        from onguard_sidecar.analyst.http2 import Http2

        settings = self._state.settings
        self._http2 = Http2(settings.http2_ledger_path, settings.wire_conf_path, self._take_one, self._note)
        self._open_http2(self._http2)
        self._sweep(self._http2)
        return self._http2

    def _open_http2(self, http2: "Http2") -> None:
        """A wire that comes anew may have started anew."""
        ledger = self._books.current(self._state.boot)
        if ledger is not None:
            http2.open(ledger.snapshot().wire_boot, self._state.boot)

    def _sweep(self, http2: "Http2") -> None:
        http2.sweep(time.monotonic_ns())
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep, http2)

    def _take_one(self, exchange: Exchange) -> tuple[str, int]:
        before = self._state.analysis.tally.rows
        outcome = self._outcome(exchange, self._clock())
        return outcome, self._state.analysis.tally.rows - before

    def _outcomes(self, exchanges: Exchanges, now: float) -> list[str]:
        """Of the usual ones all together; where one is not, it is looked for by halves."""
        try:
            outcomes = self._state.analysis.take_plain(exchanges, now=now)
        except Exception as error:  # noqa: BLE001  # as below
            self._note(error)
            return [undecodable(Reason.INTERNAL)] * len(exchanges)
        if outcomes is not None:
            return outcomes
        if len(exchanges) == 1:
            return [self._outcome(exchange, now) for exchange in exchanges]
        half = len(exchanges) // 2
        first, second = exchanges.between(0, half), exchanges.between(half, len(exchanges))
        return self._outcomes(first, now) + self._outcomes(second, now)

    def _outcome(self, exchange: Exchange, now: float) -> str:
        try:
            return self._state.analysis.take(exchange, now=now)
        except Exception as error:  # noqa: BLE001  # whatever a payload provokes costs that payload only
            self._note(error)
            return undecodable(Reason.INTERNAL)

    def _note(self, error: Exception) -> None:
        """Log each kind once, without its text: that may quote the payload."""
        self.faults += 1
        frame = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        if kind not in self._logged and len(self._logged) < _KINDS_LOGGED:
            self._logged.add(kind)
            log.error("a payload could not be read: %s", kind)

    def _close(self, connection: socket.socket) -> None:
        if self._receivers.pop(connection, None) is not None:
            asyncio.get_running_loop().remove_reader(connection)
            if self._http2 is not None:
                self._http2.end(connection)
            connection.close()
