"""WebSocket echo servers for the conformance suite: ``python websocket_apps.py aiohttp|tornado PORT``."""

import asyncio
import sys


def serve_aiohttp(port):
    from aiohttp import WSMsgType, web

    async def echo(request):
        socket = web.WebSocketResponse(max_msg_size=64 << 20)
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/{tail:.*}", echo)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def serve_tornado(port):
    from tornado import web, websocket

    class Echo(websocket.WebSocketHandler):
        def on_message(self, message):
            self.write_message(message, binary=isinstance(message, bytes))

    async def run():
        web.Application([(r".*", Echo)], websocket_max_message_size=64 << 20).listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(run())


SERVERS = {"aiohttp": serve_aiohttp, "tornado": serve_tornado}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]))
