"""A proxy as one writes it with aiohttp: ``python aiohttp_proxy.py PORT MODEL_PORT``."""

import sys

from aiohttp import ClientSession, TCPConnector, web

PORT, MODEL_PORT = map(int, sys.argv[1:])
SESSION = web.AppKey("session", ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    url = f"http://127.0.0.1:{MODEL_PORT}{request.rel_url}"
    async with request.app[SESSION].request(
        request.method, url, data=await request.read(), headers=request.headers
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def client(app: web.Application):
    app[SESSION] = ClientSession(connector=TCPConnector(limit=0))
    yield
    await app[SESSION].close()


app = web.Application(client_max_size=64 << 20)
app.cleanup_ctx.append(client)
app.router.add_route("*", "/{tail:.*}", forward)
web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None)
