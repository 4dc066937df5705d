"""Exchanges over a real SOCK_SEQPACKET socket: each is accounted for in exactly one field, whatever it holds."""

import asyncio
import json
import logging
import random
import socket
from typing import Any

import pytest

from onguard_sidecar.analyst import analysis
from onguard_sidecar.analyst.settings import Settings
from onguard_sidecar.ledger import ANALYST_ACCOUNT
from tests.integration.analyst.conftest import GOOD, FakeWire, exchange

SECRET = "4111-1111-1111-1111"


async def test_every_exchange_is_in_exactly_one_field(analyst: str, wire: FakeWire) -> None:
    wire.connect()
    good = [exchange(GOOD % i) for i in range(120)]
    await wire.send(*good, *good[:20], exchange(b"{"), exchange(b'{"instances": [[1]]}'), exchange(b"[1]"))
    counters = await wire.accounted(143)
    accounted = {name: counters[name] for name in ANALYST_ACCOUNT if counters[name]}
    assert accounted == {
        "analysed": 120,
        "duplicate": 20,
        "undecodable_bad_json": 1,
        "undecodable_mismatch": 1,
        "undecodable_no_decoder": 1,
    }
    assert counters["rows"] == 120


async def test_a_body_of_a_megabyte_comes_in_fragments(analyst: str, wire: FakeWire) -> None:
    wire.connect()
    rows = [{"age": i % 50, "spend": 1.5, "city": "a"} for i in range(30_000)]
    body = json.dumps({"instances": rows}).encode()[: 1 << 20]
    whole = json.dumps({"instances": rows[:20_000]}).encode()
    await wire.send(exchange(body), exchange(whole, b"{}"), exchange(GOOD % 1))
    counters = await wire.accounted(3)
    assert (counters["undecodable_bad_json"], counters["undecodable_response"], counters["analysed"]) == (1, 1, 1)
    assert counters["rows"] == 20_001


async def test_what_is_not_the_wires_ends_that_connection_only(analyst: str, wire: FakeWire) -> None:
    wire.connect()
    wire.send_datagram(b"GET / HTTP/1.1\r\n\r\n")
    wire.close()
    for attempt in range(15):
        junk = random.Random(attempt).randbytes(500)
        wire.connect()
        wire.send_datagram((b"OGB2", b"OGF1", b"OGS1")[attempt % 3] + junk)
        wire.close()
        await asyncio.sleep(0)
    wire.connect()
    await wire.send(exchange(GOOD % 1))
    assert (await wire.accounted(1))["analysed"] == 1


async def test_an_analyst_without_a_ledger_refuses_and_is_asked_again(analyst: str, settings: Settings) -> None:
    early = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    early.connect(str(settings.socket_path))
    early.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(early, 10) == b""
    early.close()
    wire = FakeWire(settings)
    wire.connect()
    await wire.send(exchange(GOOD % 1))
    assert (await wire.accounted(1))["analysed"] == 1
    wire.close()
    wire.ledger.close()


async def test_a_wire_that_starts_again_gets_its_own_account(analyst: str, wire: FakeWire) -> None:
    wire.connect()
    await wire.send(exchange(GOOD % 1))
    await wire.accounted(1)
    old = wire.ledger
    wire.restart()
    wire.connect()
    await wire.send(exchange(GOOD % 2), exchange(GOOD % 3))
    assert (await wire.accounted(2))["analysed"] == 2
    assert old.accounted() == 1
    old.close()


async def test_an_unexpected_error_costs_one_payload_and_is_logged_without_it(
    analyst: str, wire: FakeWire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(exchange: Any, head: Any) -> Any:
        raise KeyError(exchange.request_body.decode())

    wire.connect()
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(analysis.Analysis, "_read", lambda self, exchange, head: broken(exchange, head))
        await wire.send(*(exchange(f'{{"card": "{SECRET}", "n": {i}}}'.encode()) for i in range(5)))
        await wire.accounted(5)
    await wire.send(exchange(GOOD % 1))
    counters = await wire.accounted(6)
    assert (counters["undecodable_internal"], counters["analysed"]) == (5, 1)
    assert sum("could not be read" in record.message for record in caplog.records) == 1
    assert SECRET not in caplog.text
