"""/metrics, /counts and /healthz over HTTP."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from onguard import contract
from onguard.counts import Report, decode_report, from_wire
from onguard.profile import encode_profile
from onguard_sidecar.analyst.settings import Settings
from tests.integration.analyst.conftest import GOOD, TOKEN, FakeWire, config, exchange
from tests.unit.analyst.references import CHURN, numeric, profile

BEARER = {"Authorization": f"Bearer {TOKEN}"}


def swap(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.rename(path)


async def get(url: str, **headers: str) -> tuple[int, bytes, str]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.read(), response.headers["Content-Type"]


async def counts(base: str, query: str = "") -> Report:
    status, body, _ = await get(f"{base}/counts{query}", **BEARER)
    assert status == 200
    return decode_report(body)


async def counts_when(base: str, met: Callable[[Report], bool]) -> Report:
    for _ in range(100):
        report = await counts(base)
        if met(report):
            return report
        await asyncio.sleep(0.05)
    raise AssertionError("expected another report within 5 s")


async def served(wire: FakeWire, first: int = 0, requests: int = 60) -> None:
    wire.connect()
    await wire.send(*(exchange(GOOD % (first + i)) for i in range(requests)))
    await wire.accounted(requests)


async def test_counts_are_the_counters_of_this_boot(analyst: str, wire: FakeWire, settings: Settings) -> None:
    await served(wire)
    report = await counts(analyst)
    assert (report.model, report.revision, report.arm) == ("churn", "5f6d", "candidate")
    assert (report.profile_hash, report.config_error, report.profile_error) == (CHURN.hash, "", "")
    assert report.wire_boot == wire.ledger.snapshot().wire_boot
    assert report.analyst_boot == wire.ledger.snapshot().analyst_boot
    assert report.ledger["analysed"] == 60
    assert report.counts is not None
    assert from_wire(report.counts, CHURN).units == 60 * contract.UNIT


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Bearer "}]
)
async def test_counts_need_the_models_token(analyst: str, wire: FakeWire, headers: dict[str, str]) -> None:
    status, body, _ = await get(f"{analyst}/counts", **headers)
    assert status == 401
    assert TOKEN.encode() not in body


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "9" * 30])
async def test_an_odd_since_is_a_bad_request(analyst: str, wire: FakeWire, since: str) -> None:
    assert (await get(f"{analyst}/counts?since={since}", **BEARER))[0] == 400


async def test_without_configuration_or_ledger_there_are_no_counts_yet(analyst: str, settings: Settings) -> None:
    assert (await get(f"{analyst}/counts", **BEARER))[0] == 503
    assert (await get(f"{analyst}/healthz"))[0] == 200
    assert (await get(f"{analyst}/metrics"))[0] == 200


async def test_it_is_read_only(analyst: str, wire: FakeWire) -> None:
    async with aiohttp.ClientSession() as session:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            for path in ("/counts", "/metrics", "/healthz"):
                async with session.request(method, analyst + path, headers=BEARER, data=b"x") as response:
                    assert response.status == 405


async def test_another_reference_is_another_boot_with_fresh_counts(
    analyst: str, wire: FakeWire, settings: Settings
) -> None:
    await served(wire)
    before = await counts(analyst)
    other = profile(numeric("age"), numeric("spend"))
    swap(settings.profile_path, encode_profile(other))
    after = await counts_when(analyst, lambda report: report.profile_hash == other.hash)
    assert after.analyst_boot != before.analyst_boot
    assert after.wire_boot == before.wire_boot
    assert after.counts is not None
    assert (after.counts.rows, after.ledger["analysed"]) == (0, 60)


async def test_a_bad_reference_is_told_and_the_last_good_one_counts_on(
    analyst: str, wire: FakeWire, settings: Settings
) -> None:
    await served(wire)
    swap(settings.profile_path, b'{"rows": 1}')
    swap(settings.config_path, b"{")
    report = await counts_when(analyst, lambda report: bool(report.profile_error and report.config_error))
    assert "profile" in report.profile_error
    assert report.counts is not None
    assert (report.profile_hash, report.counts.rows) == (CHURN.hash, 60)
    page = (await get(f"{analyst}/metrics"))[1].decode()
    labels = 'arm="candidate",model="churn",revision="5f6d"'
    assert f"{contract.METRIC_PROFILE_ERROR}{{{labels}}} 1.0" in page
    assert f"{contract.METRIC_SIDECAR_CONFIG_ERROR}{{{labels}}} 1.0" in page


async def test_the_page_is_clean_for_promtool(analyst: str, wire: FakeWire, settings: Settings) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: apt-get install --no-install-recommends prometheus"
    swap(settings.config_path, config(feature_bins=True))
    await served(wire)
    await asyncio.sleep(0.3)
    status, page, content_type = await get(f"{analyst}/metrics")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert contract.METRIC_FEATURE_PSI.encode() in page
    assert contract.METRIC_FEATURE_BIN.encode() in page
    checked = await asyncio.to_thread(
        subprocess.run, [promtool, "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


async def test_openmetrics_is_given_to_whom_asks_for_it(analyst: str, wire: FakeWire) -> None:
    await served(wire)
    accept = "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"
    status, page, content_type = await get(f"{analyst}/metrics", Accept=accept)
    assert (status, content_type.split(";")[0]) == (200, "application/openmetrics-text")
    names = {family.name for family in text_string_to_metric_families(page.decode())}
    assert {"onguard_requests", "onguard_feature_psi"} <= names
    assert not any(name.endswith("_created") for name in names)


async def test_no_value_of_a_payload_reaches_the_page_or_the_counts(
    analyst: str, wire: FakeWire, settings: Settings
) -> None:
    secret = "alice@example.com"
    swap(settings.config_path, config(feature_bins=True))
    wire.connect()
    bodies = [
        f'{{"instances": [{{"age": "{secret}", "spend": 1, "city": "{secret}", "{secret}": 1}}]}}',
        f'{{"{secret}": 1}}',
        secret,
    ]
    head = f"POST /v1/models/{secret}:predict?{secret} HTTP/1.1\r\nX-{secret}: {secret}\r\n\r\n".encode()
    await wire.send(*(exchange(body.encode(), secret.encode())._replace(request_head=head) for body in bodies))
    await wire.accounted(3)
    page = (await get(f"{analyst}/metrics"))[1]
    report = (await get(f"{analyst}/counts", **BEARER))[1]
    assert b"alice" not in page
    assert b"alice" not in report


async def test_scrapers_beyond_the_limit_hear_503_and_the_rest_is_served(analyst: str, wire: FakeWire) -> None:
    await served(wire)
    answers = await asyncio.gather(*(get(f"{analyst}/metrics") for _ in range(40)))
    statuses = {status for status, _, _ in answers}
    assert 200 in statuses
    assert statuses <= {200, 503}
