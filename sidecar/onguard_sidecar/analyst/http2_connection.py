"""
One connection of HTTP/2: events of both directions become calls, as long as nothing of it is missing.

Which stream is which is known from the frames alone. A stream's end is that of its answer, once its request has ended
too; a reset ends it at once. Codes are those of RFC 9113, section 7.
"""

from collections.abc import Callable, Iterator
from typing import Final

from onguard_sidecar.analyst.calls import Asked, Call, Desk
from onguard_sidecar.analyst.streamed_calls import StreamedCall
from onguard_sidecar.decoding import open_inference_grpc as protocol
from onguard_sidecar.decoding.http2 import PREFACE, Content, GoAway, Half, Headers, Http2Error, Reset, TableSize
from onguard_sidecar.exchange import CLIENT_ABORTED, STALE, UPSTREAM_RESET
from onguard_sidecar.wire.pending import Pending

STREAMS: Final = 256
"""Calls under way on one connection, as many as HTTP/1 may pipeline; more are counted as truncated. Servers of gRPC
allow 100, or any number."""
_REFUSED_STREAM: Final = 7
NEWEST: Final = (1 << 31) - 1
OfStream = Headers | Content | Reset
CLIENT: Final = 0
SERVER: Final = 1


class Connection:
    """
    A connection that is followed.

    Args:
        desk: counts its calls.
        is_inference: by method and target.

    Attributes:
        shed: calls that were too many.
    """

    def __init__(self, desk: Desk, is_inference: Callable[[bytes, bytes], bool]) -> None:
        self._desk, self._is_inference = desk, is_inference
        self._halves = (Half(PREFACE), Half())
        self._offsets = [0, 0]
        self._calls: dict[int, Call | StreamedCall] = {}
        self._newest = 0
        self.shed = 0

    def feed(self, side: int, offset: int, data: bytes, now: int) -> None:
        """
        Take what arrived on one side.

        Raises:
            Http2Error: something is missing, or the bytes can't be followed.
        """
        if offset != self._offsets[side]:
            raise Http2Error(f"expected byte {self._offsets[side]} of a direction, got byte {offset}")
        self._offsets[side] += len(data)
        for event in self._halves[side].feed(data):
            if isinstance(event, TableSize):
                self._halves[1 - side].allow_table(event.size)
            elif isinstance(event, GoAway):
                self._refuse(event.last if side == SERVER else NEWEST, now)
            elif side == CLIENT:
                self._asked(event, now)
            else:
                self._answered(event, now)

    def under_way(self) -> Iterator[Pending]:
        """What waits for an answer."""
        for call in self._calls.values():
            yield from call.under_way()

    def end(self, flag: int, now: int) -> None:
        """The connection ends, and with it all that is under way; ``flag`` says by whom."""
        for call in self._calls.values():
            call.stop(flag, now)
        self._calls.clear()

    def lose(self) -> None:
        """Nothing more will be known of it."""
        for call in self._calls.values():
            call.lose()
        self._calls.clear()

    def _asked(self, event: OfStream, now: int) -> None:
        if isinstance(event, Headers) and event.stream > self._newest and event.stream % 2:
            self._newest = event.stream
            self._begin(event.stream, Asked(event.fields, self._is_inference), now)
        call = self._calls.get(event.stream)
        if call is None:
            return
        if isinstance(event, Content):
            call.request(event.data, now)
        if isinstance(event, Reset):
            call.stop(CLIENT_ABORTED, now)
        elif event.ends:
            call.request_done()
        self._forget_if_over(event.stream)

    def _begin(self, stream: int, asked: Asked, now: int) -> None:
        if len(self._calls) >= STREAMS:
            self.shed += 1
            self._desk.shed(self._desk.begin(asked, now))
            return
        is_streamed = asked.head.inference and asked.path == protocol.STREAM_PATH.encode()
        self._calls[stream] = (StreamedCall if is_streamed else Call)(self._desk, asked, now)

    def _answered(self, event: OfStream, now: int) -> None:
        call = self._calls.get(event.stream)
        if call is None:
            return
        match event:
            case Headers(_, fields, ends):
                call.answer_head(fields, now)
                if ends:
                    call.answer_done(fields, now)
            case Content(_, data, ends):
                call.answer(data, now)
                if ends:
                    call.answer_done((), now)
            case Reset(_, code):
                call.refuse(STALE, now) if code == _REFUSED_STREAM else call.stop(UPSTREAM_RESET, now)
        self._forget_if_over(event.stream)

    def _refuse(self, last: int, now: int) -> None:
        """RFC 9113, 8.7: the model has not looked at those above ``last``; clients send them again by themselves."""
        for stream in [stream for stream in self._calls if stream > last]:
            self._calls.pop(stream).refuse(STALE, now)

    def _forget_if_over(self, stream: int) -> None:
        if self._calls[stream].is_over:
            del self._calls[stream]
