"""
One application behind many servers: ``python origin_apps.py SERVER PORT``, run by the peers' interpreter.

Each answer says what the server made of the request: method, length and hash of target and body. ``/early`` is
answered before its body is read.
"""

import hashlib
import sys


def seen(method: str, target: str, body: bytes) -> bytes:
    """What a request was to its server, free of bytes that the request chose."""
    name = hashlib.sha256(target.encode("latin-1", "replace")).hexdigest()[:8]
    word = method if method.isalpha() else "other"
    return f"seen {word} {name} {len(body)} {hashlib.sha256(body).hexdigest()[:8]}\n".encode()


def wsgi(environ, start_response):
    target = environ.get("RAW_URI") or environ.get("PATH_INFO", "")
    body = b"" if target.startswith("/early") else environ["wsgi.input"].read()
    answer = seen(environ["REQUEST_METHOD"], target, body)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    target, body, more = scope.get("raw_path", b"").decode("latin-1"), b"", True
    while more and not target.startswith("/early"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = seen(scope["method"], target, body)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def serve_aiohttp(port):
    from aiohttp import web

    async def handle(request):
        body = b"" if request.raw_path.startswith("/early") else await request.read()
        return web.Response(body=seen(request.method, request.raw_path, body))

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


def serve_gunicorn(port):
    from gunicorn.app.base import BaseApplication

    class App(BaseApplication):
        def load_config(self):
            told = {"bind": f"127.0.0.1:{port}", "worker_class": "gthread", "threads": 64, "loglevel": "critical"}
            for key, value in told.items():
                self.cfg.set(key, value)

        def load(self):
            return wsgi

    App().run()


def serve_uvicorn(port, http):
    import uvicorn

    uvicorn.run(asgi, host="127.0.0.1", port=port, http=http, log_level="critical", ws="none")


def serve_hypercorn(port):
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.loglevel, config.errorlog = [f"127.0.0.1:{port}"], "CRITICAL", None
    asyncio.run(serve(asgi, config))


def serve_waitress(port):
    import logging

    import waitress

    logging.getLogger("waitress").setLevel(logging.CRITICAL)
    waitress.serve(wsgi, host="127.0.0.1", port=port, threads=64, ident=None)


def serve_tornado(port):
    import asyncio
    import logging

    from tornado import web

    logging.disable(logging.CRITICAL)

    class Seen(web.RequestHandler):
        def answer(self, *_):
            self.finish(seen(self.request.method, self.request.uri, self.request.body))

        get = post = put = head = options = patch = delete = answer

    async def run():
        web.Application([(r".*", Seen)]).listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(run())


SERVERS = {
    "aiohttp": serve_aiohttp,
    "gunicorn": serve_gunicorn,
    "uvicorn-h11": lambda port: serve_uvicorn(port, "h11"),
    "uvicorn-httptools": lambda port: serve_uvicorn(port, "httptools"),
    "hypercorn": serve_hypercorn,
    "waitress": serve_waitress,
    "tornado": serve_tornado,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]))
