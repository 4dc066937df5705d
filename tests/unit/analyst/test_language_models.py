"""Answers of language models: tokens, ends and pace, from the exchange's own times."""

import json
from typing import Any

import pytest
from prometheus_client.core import Metric

from onguard import contract
from onguard.profile import Feature, Group, Kind, Numeric, Role
from onguard_sidecar.analyst.page import View, families
from tests.unit.analyst.references import profile
from tests.unit.analyst.test_analysing_exchanges import analysis, exchange

PATH = "/v1/chat/completions"
MS = 1_000_000
USAGE = {"prompt_tokens": 9, "completion_tokens": 4}


def asked(text: str) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


def whole(content: str, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"} | more
    return json.dumps({"choices": [choice], "usage": USAGE}).encode()


def stream(*parts: str) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in parts]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


STREAMED = {
    "path": PATH,
    "response_head": b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
    "ttfb_ns": 40 * MS,
    "duration_ns": 340 * MS,
    "chunks": 4,
    "gap_ns": 150 * MS,
}


def numeric_of(name: str, group: Group, kind: Kind = Kind.NUMERIC) -> Feature:
    numeric = Numeric(minimum=0, maximum=1000, mean=100, sd=50)
    return Feature(
        name=name, kind=kind, role=Role.LLM, group=group, edges=(5.0,), counts=(1, 1, 0, 0, 0, 0), numeric=numeric
    )


CHAT = profile(
    numeric_of("prompt_chars", Group.INPUT),
    numeric_of("completion_tokens", Group.OUTPUT),
    Feature(
        name="finish_reason",
        kind=Kind.CATEGORICAL,
        role=Role.LLM,
        group=Group.OUTPUT,
        categories=("stop", "length"),
        counts=(1, 1, 0, 0, 0, 0, 0),
    ),
)


def page(tally: Any) -> dict[str, Metric]:
    return {family.name: family for family in families(View(labels={"model": "m"}, tally=tally))}


def value(family: Metric, **labels: str) -> float:
    return next(s.value for s in family.samples if labels.items() <= s.labels.items())


def test_tokens_and_ends_are_counted_without_any_reference() -> None:
    one = analysis(None)
    assert one.take(exchange(asked("a"), whole("Hello"), path=PATH), now=0) == "analysed"
    assert one.take(exchange(asked("b"), whole("", finish_reason="odd word"), path=PATH), now=0) == "analysed"
    shown = page(one.tally)
    assert value(shown["onguard_llm_tokens"], kind="prompt") == 18
    assert value(shown["onguard_llm_tokens"], kind="completion") == 8
    assert value(shown["onguard_llm_choices"], finish_reason="stop") == 1
    assert value(shown["onguard_llm_choices"], finish_reason="other") == 1


def test_the_pace_of_a_stream_is_that_of_its_exchange() -> None:
    one = analysis(None)
    assert one.take(exchange(asked("a"), stream("Hel", "lo"), **STREAMED), now=0) == "analysed"
    shown = page(one.tally)
    for name, bound_s in ((contract.METRIC_LLM_TTFT, 0.05), (contract.METRIC_LLM_GAP, 0.1)):
        family = shown[name]
        assert value(family, le=str(bound_s)) == 1
        assert next(s.value for s in family.samples if s.name.endswith("_sum")) == pytest.approx(
            {0.05: 0.04, 0.1: 0.1}[bound_s]
        )
    assert value(shown[contract.METRIC_LLM_LONGEST_GAP], le="0.1") == 0
    assert value(shown[contract.METRIC_LLM_LONGEST_GAP], le="0.25") == 1


def test_the_times_of_a_whole_answer_say_nothing_of_its_tokens() -> None:
    one = analysis(None)
    one.take(exchange(asked("a"), whole("Hello"), path=PATH), now=0)
    assert one.tally.speech.first_token.histogram.buckets.count(0) == len(
        one.tally.speech.first_token.histogram.buckets
    )


def test_a_reference_compares_lengths_and_ends() -> None:
    one = analysis(CHAT)
    assert one.take(exchange(asked("Hi"), whole("Hello"), path=PATH), now=0) == "analysed"
    assert one.take(exchange(asked("Hello there"), stream(*"abcdefgh"), **STREAMED), now=0) == "analysed"
    counts = one.counts()
    assert counts is not None
    blocks = [counts.bins[CHAT.layout.block(i)].tolist() for i in range(3)]
    assert blocks == [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0]]


def test_a_stream_that_broke_off_is_told() -> None:
    one = analysis(None)
    cut = stream("Hel", "lo")[:60]
    assert one.take(exchange(asked("a"), cut, **STREAMED), now=0) == "undecodable_response"


def test_models_that_speak_no_language_have_no_such_series() -> None:
    one = analysis()
    one.take(exchange(), now=0)
    assert not any(name.startswith("onguard_llm") for name in page(one.tally))
