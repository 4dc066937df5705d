"""A model that streams 20 events, 1 ms apart, as chat completions do: ``python streaming_model.py PORT``."""

import asyncio
import sys

import uvloop

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"token "}}]}\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = 20
GAP_S = 0.001


class Stream(asyncio.Protocol):
    """One request at a time, whole in one arrival."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(HEAD)
        self.send(EVENTS)

    def send(self, left: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(CHUNK if left else DONE)
        if left:
            asyncio.get_running_loop().call_later(GAP_S, self.send, left - 1)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Stream, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()


uvloop.run(main())
