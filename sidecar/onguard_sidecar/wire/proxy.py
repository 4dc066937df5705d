"""
The data path: one model connection for each client connection; bytes first, framing second.

Everything that arrives on one side is written to the other before anything looks at it. What arrived is framed and
counted a few milliseconds later, many arrivals at once: the same work in a tight loop costs half of what it costs
between two system calls. Flow control, half-close and resets of one side become those of the other. The only answer
of the wire's own is 502, when the model can't be reached and the client speaks HTTP/1.
"""

import asyncio
from time import monotonic_ns
from typing import Final

from onguard_sidecar.ledger import WIRE_INDEX
from onguard_sidecar.wire.accounts import ConnectionAccount
from onguard_sidecar.wire.arrivals import SEEN_LARGE
from onguard_sidecar.wire.framing import Framer
from onguard_sidecar.wire.heads import may_begin_request
from onguard_sidecar.wire.traffic import Traffic
from onguard_sidecar.wire.transports import NOT_CONNECTED, prepared, prepared_local, reset, unacknowledged, unread

LINGER_S: Final = 2.0
"""After the wire's own end of a connection: time for the client to close its side, so that no reset overtakes bytes."""
REFUSE_S: Final = 5.0
"""Time for the first bytes of a client whose model can't be reached."""
HALF_CLOSED_NS: Final = 60_000_000_000
"""Quiet time after which a connection whose model side has ended is closed."""
UNREACHABLE: Final = (
    b"HTTP/1.1 502 Bad Gateway\r\nOnGuard-Wire: model-unreachable\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 18\r\nConnection: close\r\n\r\nmodel unreachable\n"
)
_FROM_MODEL: Final = WIRE_INDEX["bytes_from_model"]


class ClientSide(asyncio.Protocol):
    """The connection that a client opened."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.number = traffic.next_number()
        self._account = ConnectionAccount(traffic.accounts, self.number)
        self.framer = Framer(traffic.heads, self._account, traffic.budget)
        self.is_at_rest = False
        self.request: bytes | None = None
        """What came alone and waits for its answer, since ``since``: both are framed together."""
        self.since = 0
        self._write = NOT_CONNECTED.write
        self.transport: asyncio.Transport = NOT_CONNECTED
        self._model = ModelSide(self, traffic)
        self._dialling: asyncio.Task[None] | None = None
        self._aside: list[bytes] | None = []
        """What came before the model was connected (one read at most); None while bytes go to the model."""
        self._refuses = False
        self._discards = False
        """Only the end of the client's side is awaited."""
        self.has_ended = False
        """The client has closed or half-closed."""
        self._holds: set[str] = {"dialling"}
        """Why nothing is read from the client."""
        self.model_ended_ns = 0

    # --- events of the transport ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing until the model is connected."""
        traffic = self._traffic
        self.transport = prepared(transport)
        if not traffic.has_room():
            traffic.accounts.count("connections_refused")
            self.transport.abort()
            return
        traffic.clients.add(self)
        traffic.accounts.count("connections")
        traffic.accounts.count("connections_open")
        loop = asyncio.get_running_loop()
        loop.call_soon(self.hold, "dialling")  # later: uvloop starts to read after this method, whatever it does
        self._dialling = loop.create_task(self._dial())

    def data_received(self, data: bytes) -> None:
        """To the model first, then to the framer."""
        if self._aside is not None:
            self._receive_aside(data)
            return
        self._write(data)
        if self.request is None and len(data) <= self._traffic.alone:
            self.request, self.since = data, monotonic_ns()
        else:
            self._receive_more(data)

    def eof_received(self) -> bool:
        """Half-close towards the model after what is still to be written."""
        self.has_ended = True
        if self._aside is not None:
            return self._dialling is not None
        if self.model_ended_ns:
            self._model.transport.close()
            return False
        if not self._model.transport.is_closing():
            self._model.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: its requests are aborted, the model learns of it at once."""
        if self not in self._traffic.clients:  # there was no room for it
            return
        self._traffic.clients.discard(self)
        self._traffic.backlog.discard(self)
        self._traffic.accounts.count("connections_open", -1)
        self.catch_up()
        self.framer.end_client(monotonic_ns())
        if self._dialling is not None:
            self._dialling.cancel()
        if exc is None:
            self._model.transport.close()
        else:
            reset(self._model.transport)
            self._model.transport.abort()

    def pause_writing(self) -> None:
        """The client reads slower than the model writes."""
        self._model.hold()
        self._traffic.pause(self)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._traffic.backlog.discard(self)
        self._model.release()

    # --- from the model's side --------------------------------------------------------------------------------------

    def hold(self, why: str) -> None:
        """Read no more for now."""
        self._holds.add(why)
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def release(self, why: str) -> None:
        """Read again, if nothing else speaks against it."""
        self._holds.discard(why)
        if not self._holds and not self.transport.is_closing():
            self.transport.resume_reading()

    def end_from_model(self, now: int) -> None:
        """The model has half-closed: so does the wire, or closes if the client had."""
        self.model_ended_ns = now
        if self.has_ended:
            self.transport.close()
        elif not self.transport.is_closing():
            self.transport.write_eof()
            self.release("lame")

    def finish(self) -> None:
        """The wire's own end of this connection: the last byte, then a half-close, then patience."""
        if self._discards or self.transport.is_closing():
            return
        self._discards, self._aside = True, []
        self._model.transport.close()
        self.transport.write_eof()
        if self.has_ended:
            self.transport.close()
            return
        self._holds.clear()
        self.transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.close)

    def cut(self) -> None:
        """End both sides at once: there is no memory for what waits, and neither the model nor the client is broken."""
        self.catch_up()
        self.framer.end_client(monotonic_ns())
        for transport in (self._model.transport, self.transport):
            reset(transport)
            transport.abort()

    # --- of the wire -------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """The framer has taken something: see whether anything is under way."""
        self.is_at_rest = self.framer.is_at_rest and self._account.is_judged

    def await_no_answer(self) -> None:
        """Frame a request that waits for its answer with whatever is framed next."""
        if self.request is not None:
            self._traffic.arrivals.waiting.append((self, self.request, self.since, None, 0))
            self.request = None

    def catch_up(self) -> None:
        """Frame everything that was forwarded on this connection, and what else was answered."""
        self.await_no_answer()
        self._traffic.arrivals.settle()

    def stop_if_answered(self) -> None:
        """Lame duck: once a request is complete whose answer will end the connection, read nothing more."""
        framer = self.framer
        if framer.reason is None and framer.queue and framer.between_requests and not framer.queue[-1].response_head:
            self.hold("lame")

    def is_idle(self) -> bool:
        """Between two requests of HTTP/1."""
        framer = self.framer
        return self.request is None and framer.reason is None and not framer.queue and framer.between_requests

    def is_busy(self) -> bool:
        """A request, an answer or an opaque stream is under way."""
        if self._discards or self._refuses:
            return self.transport.get_write_buffer_size() > 0
        return not self.is_idle() or self.transport.get_write_buffer_size() > 0

    def buffered(self) -> int:
        """Bytes that wait to be written, to either side."""
        return self.transport.get_write_buffer_size() + self._model.transport.get_write_buffer_size()

    def sweep(self, now: int) -> None:
        """Judge what is overdue, close what is half closed and quiet."""
        if self.framer.queue:
            self._traffic.accounts.overdue(self.framer.queue, self._account, now)
        if self.model_ended_ns and now - self.model_ended_ns > HALF_CLOSED_NS:
            self.transport.close()

    async def _dial(self) -> None:
        try:
            await self._traffic.dialler.dial(self._model)
        except OSError:
            self._traffic.accounts.count("upstream_failures")
            self._refuses = True
            asyncio.get_running_loop().call_later(REFUSE_S, self.transport.close)
        self._dialling = None
        self._write = self._model.transport.write
        early, self._aside = self._aside or [], [] if self._refuses else None
        for data in early:
            self.data_received(data)
        if self.has_ended and not self.transport.is_closing():
            self._end_early()
        self.release("dialling")

    def _end_early(self) -> None:
        """The client had half-closed before the model was connected."""
        if not self.eof_received():
            self.transport.close()

    def _receive_more(self, data: bytes) -> None:
        """Bytes that are more than a small request alone, or a lame duck's."""
        traffic = self._traffic
        self.await_no_answer()
        traffic.arrivals.waiting.append((self, data, monotonic_ns(), None, 0))
        traffic.on_edge(len(data))
        if traffic.lame:
            self.stop_if_answered()

    def _receive_aside(self, data: bytes) -> None:
        """Bytes that have no model to go to, or not yet."""
        if self._dialling is not None and self._aside is not None:
            self._aside.append(data)
        elif self._refuses and not self._discards:
            if may_begin_request(data[:64]):
                self._traffic.accounts.count("answered_502")
                self.transport.write(UNREACHABLE)
            self.finish()


class ModelSide(asyncio.Protocol):
    """The connection to the model that belongs to one client connection."""

    def __init__(self, client: ClientSide, traffic: Traffic) -> None:
        self._client = client
        self._traffic = traffic
        self._write = NOT_CONNECTED.write
        self.transport: asyncio.Transport = NOT_CONNECTED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The model accepted."""
        self.transport = prepared_local(transport)
        self._write = self._client.transport.write

    def data_received(self, data: bytes) -> None:
        """To the client first, then to the framer; a lame duck looks first."""
        traffic = self._traffic
        if traffic.lame:
            self._receive_lame(data)
            return
        self._write(data)
        client, waiting = self._client, traffic.arrivals.waiting
        waiting.append((client, client.request, client.since, data, monotonic_ns()))
        client.request = None
        if not 1 < len(waiting) < traffic.most or len(data) > SEEN_LARGE:
            traffic.on_edge(len(data))

    def eof_received(self) -> bool:
        """The model ends its side: complete or truncate what is under way, then half-close."""
        client = self._client
        client.catch_up()
        if held := client.framer.flush_lame():
            client.transport.write(held)
        self._end(reset=False)
        client.end_from_model(monotonic_ns())
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """A reset of the model's becomes a reset of the client's, after what is still to be written."""
        client = self._client
        self._traffic.backlog.discard(self)
        # A write may have failed before what the model said was read: a refusal, as a rule.
        if exc is not None and not client.transport.is_closing() and (last := unread(self.transport)):
            self.data_received(last)
        self._end(reset=exc is not None)
        if exc is not None:
            reset(client.transport)
            client.transport.close()

    def pause_writing(self) -> None:
        """The model reads slower than the client writes."""
        self._client.hold("model")
        self._traffic.pause(self)

    def resume_writing(self) -> None:
        """The model has caught up."""
        self._traffic.backlog.discard(self)
        self._client.release("model")

    def cut(self) -> None:
        """As the client's side."""
        self._client.cut()

    def hold(self) -> None:
        """Read no more for now."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def release(self) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def _end(self, *, reset: bool) -> None:
        """Frame what came before the model's end, then that."""
        client = self._client
        client.catch_up()
        if client.has_ended and client.framer.is_unanswered:
            # It has closed or half-closed, which looks alike: nobody waits, as nearly always, and the model noticed.
            client.framer.end_client(monotonic_ns())
        untaken = unacknowledged(client.transport, self.transport) if client.framer.queue else 0
        client.framer.end_server(monotonic_ns(), reset=reset, unacknowledged=untaken)

    def _receive_lame(self, data: bytes) -> None:
        client = self._client
        self._traffic.accounts.tally[_FROM_MODEL] += len(data)
        client.catch_up()
        if passed := client.framer.feed_lame(data, monotonic_ns()):
            client.transport.write(passed)
        if client.framer.closed:
            client.finish()
        elif client.framer.reason is not None:
            client.release("lame")
