import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.models import train
from tests.models.load import Background, Load, Plan, send
from tests.models.scoring import Bug
from tests.models.server import Serving, application
from tests.models.traffic import Mix, bodies, path

MODEL = train.load(Path(train.__file__).with_name("model.json"))


def server(bug: Bug = Bug.NONE) -> TestServer:
    return TestServer(application(Serving("churn", MODEL, bug, "7")))


@pytest.mark.parametrize("protocol", ["v1", "v2"])
async def test_both_protocols_give_the_same_answers(protocol: str) -> None:
    async with TestClient(server()) as client:
        body = next(bodies(np.random.default_rng(3), Mix(rows=5, protocol=protocol)))
        response = await client.post(path("churn", protocol), data=body)
        answer = await response.json()
        reference = await client.post(path("churn", "v1"), data=next(bodies(np.random.default_rng(3), Mix(rows=5))))
        expected = (await reference.json())["predictions"]
    assert response.status == 200
    assert (answer["predictions"] if protocol == "v1" else answer["outputs"][0]["data"]) == expected


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/v1/models/churn:predict", b"{", 400),
        ("/v1/models/churn:predict", b'{"instances": []}', 400),
        ("/v1/models/churn:predict", b'{"instances": [[1, 2]]}', 400),
        ("/v2/models/churn/infer", b'{"inputs": [{"name": "autopay"}]}', 400),
        ("/v1/models/other:predict", b"{}", 404),
    ],
)
async def test_a_malformed_request_is_refused(target: str, body: bytes, status: int) -> None:
    async with TestClient(server()) as client:
        assert (await client.post(target, data=body)).status == status


@pytest.mark.parametrize("target", ["/healthz", "/v2/health/live", "/v2/models/churn"])
async def test_a_release_that_never_gets_ready_is_alive(target: str) -> None:
    async with TestClient(server(Bug.NEVER_READY)) as client:
        assert (await client.get(target)).status == 200
        assert (await client.get("/v2/health/ready")).status == 503


async def test_the_load_generator_counts_what_the_client_saw_and_opens_connections_anew() -> None:
    app = application(Serving("churn", MODEL, Bug.SCALING, "1"))
    peers = set()

    @web.middleware
    async def watch(request: web.Request, handler: object) -> web.StreamResponse:
        peers.add(request.transport.get_extra_info("peername"))
        return await handler(request)

    app.middlewares.append(watch)
    async with TestServer(app) as running:
        plan = Plan(url=str(running.make_url("/")), rate=400, connections=4, per_connection=5)
        tally = await send(plan, 1.0, lambda _: None)
    assert tally.sent > 200
    assert tally.sent == sum(tally.outcomes.values()) == len(tally.latencies_s)
    assert set(tally.outcomes) == {"200", "500"}
    assert tally.failed == tally.outcomes["500"]
    assert tally.not_by_model == 0
    assert len(peers) >= tally.sent / 5


def test_a_server_that_is_not_there_is_counted_not_raised() -> None:
    with Background(Plan(url="http://127.0.0.1:9", rate=200)) as load:
        while load.tally.sent < 5:
            pass
    assert load.tally.outcomes["200"] == 0
    assert load.tally.not_by_model == load.tally.sent


def test_traffic_can_be_changed_on_the_way() -> None:
    load = Load(Plan(url="http://127.0.0.1:9"))
    load.change(dataclasses.replace(load.plan.mix, missing={"data_gb": 1.0}))
    assert json.loads(next(load._bodies))["instances"][0]["data_gb"] is None


def test_a_crashing_release_says_so_and_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.server"], env={"BUG": "crash"}, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert "BUG=crash" in done.stderr


def test_the_retraining_job_prints_why_it_was_started(tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_text('{"cause": "population"}')
    environment = {"ONGUARD_EVIDENCE": str(tmp_path / "evidence.json"), "ONGUARD_CAUSE": "population"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.models.retrain"], env=environment, capture_output=True, text=True, timeout=60
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {"environment": environment, "evidence": {"cause": "population"}}
    assert second["trained"]["weights"] == pytest.approx(dict(MODEL.weights), abs=2e-6)
