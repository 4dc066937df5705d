"""
A model server that speaks KServe v1 and Open Inference v2, with a release's bug by environment.

``python -m tests.models.server``; environment: MODEL_NAME (churn), MODEL_FILE, PORT (8080), BUG (see scoring.Bug),
VERSION (shown in the answers' ``model_version``), DRAIN_S (seconds to serve on after SIGTERM; 0). It knows nothing of
OnGuard: no image of a user would.
"""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from tests.models.customers import FEATURES
from tests.models.scoring import Bug, Coefficients, ScoringError, chances
from tests.models.train import load

SLOW_S: Final = 0.6
MAX_BODY: Final = 4 << 20


@dataclasses.dataclass(frozen=True)
class Serving:
    """What this process serves."""

    name: str
    model: Coefficients
    bug: Bug
    version: str


SERVING: Final = web.AppKey("serving", Serving)


def rows_of_v1(body: Any) -> list[Mapping[str, Any]]:
    """
    Rows of a KServe v1 request: objects, or arrays in the order of FEATURES.

    >>> rows_of_v1({"instances": [[12, 40.0, 0, None, "yearly", True]]})[0]["contract"]
    'yearly'
    """
    instances = body.get("instances") if isinstance(body, dict) else None
    if not isinstance(instances, list) or not instances:
        raise ValueError("expected a non-empty list `instances`")
    return [row if isinstance(row, dict) else dict(zip(FEATURES, row, strict=True)) for row in instances]


def rows_of_v2(body: Any) -> list[Mapping[str, Any]]:
    """
    Rows of an Open Inference v2 request: one input tensor a feature.

    >>> rows_of_v2({"inputs": [{"name": "autopay", "shape": [2], "datatype": "BOOL", "data": [True, False]}]})
    [{'autopay': True}, {'autopay': False}]
    """
    inputs = body.get("inputs") if isinstance(body, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise ValueError("expected a non-empty list `inputs`")
    columns = {tensor["name"]: tensor["data"] for tensor in inputs}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


async def _answers(request: web.Request, parse: Any) -> tuple[Any, list[float]]:
    serving = request.app[SERVING]
    if request.match_info["name"] != serving.name:
        raise web.HTTPNotFound(text=f"model {serving.name} is served here")
    if serving.bug is Bug.SLOW:
        await asyncio.sleep(SLOW_S)
    try:
        body = await request.json()
        return body, chances(parse(body), serving.model, serving.bug)
    except ScoringError as error:
        raise web.HTTPInternalServerError(text=str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise web.HTTPBadRequest(text=f"malformed request: {error}") from error


async def predict(request: web.Request) -> web.Response:
    """KServe v1."""
    _, answers = await _answers(request, rows_of_v1)
    return web.json_response({"predictions": answers})


async def infer(request: web.Request) -> web.Response:
    """Open Inference v2."""
    serving = request.app[SERVING]
    body, answers = await _answers(request, rows_of_v2)
    output = {"name": "prediction", "shape": [len(answers)], "datatype": "FP64", "data": answers}
    answer = {"model_name": serving.name, "model_version": serving.version, "outputs": [output]}
    return web.json_response(answer | ({"id": body["id"]} if "id" in body else {}))


async def live(_: web.Request) -> web.Response:
    """The process answers."""
    return web.json_response({"live": True})


async def ready(request: web.Request) -> web.Response:
    """The model can score."""
    is_ready = request.app[SERVING].bug is not Bug.NEVER_READY
    return web.json_response({"ready": is_ready}, status=200 if is_ready else 503)


async def metadata(request: web.Request) -> web.Response:
    """Name and version."""
    serving = request.app[SERVING]
    return web.json_response({"name": serving.name, "versions": [serving.version], "platform": "onguard-sample"})


def application(serving: Serving) -> web.Application:
    """The server as an aiohttp application."""
    app = web.Application(client_max_size=MAX_BODY)
    app[SERVING] = serving
    app.router.add_get("/healthz", live)
    app.router.add_get("/v2/health/live", live)
    app.router.add_get("/v2/health/ready", ready)
    app.router.add_get("/v2/models/{name}/ready", ready)
    app.router.add_get("/v2/models/{name}", metadata)
    app.router.add_get("/v1/models/{name}", ready)
    app.router.add_post("/v1/models/{name}:predict", predict)
    app.router.add_post("/v2/models/{name}/infer", infer)
    return app


async def serve(serving: Serving, *, port: int, drain_s: float) -> None:
    """Serve until SIGTERM, then ``drain_s`` longer while the endpoints move on, then finish what is in flight."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(serving), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    await stop.wait()
    await asyncio.sleep(drain_s)
    await runner.cleanup()


def main() -> None:
    bug = Bug(os.environ.get("BUG", ""))
    if bug is Bug.CRASH:
        sys.exit("this release cannot start: BUG=crash")
    path = Path(os.environ.get("MODEL_FILE", Path(__file__).with_name("model.json")))
    serving = Serving(os.environ.get("MODEL_NAME", "churn"), load(path), bug, os.environ.get("VERSION", "1"))
    drain_s = float(os.environ.get("DRAIN_S", "0"))
    asyncio.run(serve(serving, port=int(os.environ.get("PORT", "8080")), drain_s=drain_s))


if __name__ == "__main__":
    main()
