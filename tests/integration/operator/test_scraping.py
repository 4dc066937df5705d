import asyncio

import aiohttp
import pytest
from aiohttp import web

from onguard.counts import Report, encode_report
from onguard_operator import scrape
from onguard_operator.scrape import NotReadable, Scraper, Value

REPORT = Report(
    sidecar_version="1", wire_boot="w", analyst_boot="a", model="m", revision="r", arm="candidate", epoch_now=9
)


def pod(name: str) -> dict:
    return {"metadata": {"name": name, "namespace": "shop", "uid": name}, "status": {"podIP": "10.0.0.1"}}


ANSWERS = {
    "refused": {"status": 401},
    "broken": {"status": 500},
    "garbage": {"body": b"\xc1"},
    "large": {"body": b"x" * (scrape.MAX_BODY + 1)},
    "redirect": {"status": 302, "headers": {"Location": "/good"}},
}


@pytest.fixture
async def scraper(monkeypatch: pytest.MonkeyPatch):
    """Pods that answer by their name."""
    monkeypatch.setattr(scrape, "POD_DEADLINE_S", 0.3)
    asked = []

    async def counts(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        asked.append((request.headers.get("Authorization"), request.query.get("since")))
        await asyncio.sleep(1.0 if name == "slow" else 0.0)
        return web.Response(**ANSWERS.get(name, {"body": encode_report(REPORT)}))

    app = web.Application()
    app.router.add_get("/{name}", counts)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]

    def url(item: dict) -> str | None:
        name = item["metadata"]["name"]
        if name == "unborn":
            return None
        return f"http://127.0.0.1:1/{name}" if name == "gone" else f"http://127.0.0.1:{port}/{name}"

    async with aiohttp.ClientSession() as session:
        yield Scraper(session, url), asked
    await runner.cleanup()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("slow", "TimedOut"),
        ("refused", "TokenRefused"),
        ("broken", "BadStatus"),
        ("garbage", "BadReport"),
        ("large", "TooLarge"),
        ("redirect", "BadStatus"),
        ("gone", "Unreachable"),
        ("unborn", "NoAddress"),
    ],
)
async def test_a_pod_that_cannot_be_read_is_a_reason_and_no_exception(scraper, name: str, reason: str) -> None:
    reader, _ = scraper
    reading = (await reader.read([pod(name)], "t", {}))[name]
    assert isinstance(reading, NotReadable)
    assert reading.reason == reason


async def test_readable_pods_are_read_beside_others_with_the_token_and_the_last_epoch(scraper) -> None:
    reader, asked = scraper
    readings = await reader.read([pod("good"), pod("slow")], "secret", {"good": 7})
    assert readings["good"] == Value(REPORT)
    assert isinstance(readings["slow"], NotReadable)
    assert ("Bearer secret", "7") in asked


def test_the_condition_names_the_policy_that_would_let_us_in_and_no_secret() -> None:
    pods = [pod("a"), pod("b")]
    condition = scrape.scrapable(pods, {"a": Value(REPORT), "b": NotReadable("TimedOut")}, operator_namespace="onguard")
    assert (condition.status, condition.reason) == ("False", "TimedOut")
    assert "kubernetes.io/metadata.name: onguard" in condition.message
    assert scrape.scrapable([], {}, operator_namespace="onguard").status == "Unknown"
    assert scrape.scrapable(pods[:1], {"a": Value(REPORT)}, operator_namespace="onguard").status == "True"


def test_the_policy_that_is_shown_is_valid_yaml_of_a_network_policy() -> None:
    import yaml

    policy = yaml.safe_load(scrape.network_policy(pod("a"), "onguard"))
    assert policy["kind"] == "NetworkPolicy"
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": 15090}]
