"""Every payload in tests/data/formats, decoded by its own format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onguard import contract
from onguard_sidecar.decoding.batch import Batch, Decoded, Undecodable
from onguard_sidecar.decoding.formats import FORMATS, Decode, Format
from onguard_sidecar.decoding.heads import NONE

DATA = Path(__file__).parents[2] / "data" / "formats"
FILES = sorted(DATA.glob("*.json"))


def cases(side: str) -> list[Any]:
    return [
        pytest.param(FORMATS[golden["format"]], case, id=f"{golden['format']}: {case['name']}")
        for golden in (json.loads(path.read_text()) for path in FILES)
        for case in golden[side]
    ]


def plain(batch: Batch) -> dict[str, list[Any]]:
    names = batch.names or tuple(map(str, range(batch.width)))
    return {name: [none(v) for v in list(batch.column(i))] for i, name in enumerate(names)}


def none(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value


def read(decode: Decode, case: dict[str, Any]) -> Decoded:
    text = case["body"].encode()
    binary = "binary" in case
    head = NONE._replace(
        content_type=case.get("content_type", ""),
        json_bytes=case.get("json_bytes", len(text)) if binary else None,
        grpc_encoding=case.get("grpc_encoding", ""),
    )
    return decode(text + bytes.fromhex(case.get("binary", "")), head)


def check(decoded: Batch | Undecodable, case: dict[str, Any]) -> None:
    if "reason" in case:
        assert decoded == Undecodable(case["reason"])
        return
    assert isinstance(decoded, Batch), decoded
    assert decoded.rows == case["rows"]
    assert plain(decoded) == case["columns"]


def test_there_is_a_file_for_every_format() -> None:
    assert {json.loads(path.read_text())["format"] for path in FILES} == set(FORMATS)


def test_every_format_can_be_configured_by_its_name() -> None:
    assert {contract.PROTOCOL_AUTO, *FORMATS} == set(contract.PROTOCOLS)


@pytest.mark.parametrize(("fmt", "case"), cases("requests"))
def test_a_request_is_read_as_its_specification_says(fmt: Format, case: dict[str, Any]) -> None:
    check(read(fmt.decode_request, case), case)


@pytest.mark.parametrize(("fmt", "case"), cases("responses"))
def test_an_answer_is_read_as_its_specification_says(fmt: Format, case: dict[str, Any]) -> None:
    check(read(fmt.decode_response, case), case)
