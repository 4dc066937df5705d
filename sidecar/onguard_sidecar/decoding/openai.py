"""
OpenAI's completions and chat completions, whole or as server-sent events.

Text itself is never a feature; what is counted of it are its length and its form. A request has one row for each prompt
(a chat: one), an answer one for each choice:

* inputs: ``prompt_chars``, ``messages``, ``attachments``, ``max_tokens``, ``temperature``, ``top_p``, ``n``, ``tools``,
  ``stream``, ``response_format``;
* outputs: ``completion_tokens``, ``prompt_tokens``, ``completion_chars``, ``finish_reason``, ``refusal``,
  ``valid_json``, ``tool_calls``.

``completion_tokens`` is the server's ``usage`` over the number of choices. A stream without usage has as many as it has
events with text, which is how servers send them but no promise.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from onguard_sidecar.decoding import json_text, rows, server_sent
from onguard_sidecar.decoding.batch import MAX_ROWS, Decoded, Reason, Undecodable
from onguard_sidecar.decoding.heads import Head

EVENT_STREAM: Final = "text/event-stream"
_DONE: Final = b"[DONE]"
MAX_CHOICES: Final = 128
"""Choices of one answer, which is the most that the API gives."""


class _Request(msgspec.Struct):
    messages: list[Any] | None = None
    prompt: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    n: Any = None
    tools: Any = None
    stream: Any = None
    response_format: Any = None


class _Message(msgspec.Struct):
    """Of a chat: ``message``, or ``delta`` in a stream."""

    content: Any = None
    refusal: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def decode_request(body: bytes) -> Decoded:
    """
    Inputs of a completion or a chat completion.

    >>> batch = decode_request(b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}], "temperature": 0}')
    >>> dict(zip(batch.names, (c[0] for c in batch.values)))["prompt_chars"]
    5
    """
    document = json_text.loose(body)
    if isinstance(document, Undecodable):
        return document
    try:
        request = msgspec.convert(document, _Request)
    except msgspec.ValidationError:
        return Undecodable(Reason.NO_DECODER)
    settings = _settings(request)
    if request.messages is not None:
        texts = [text for message in request.messages for text in _texts(message)]
        attachments = sum(_attachments(message) for message in request.messages)
        chars, count = sum(map(len, texts)), len(request.messages)
        return rows.of_rows([{"prompt_chars": chars, "messages": count, "attachments": attachments} | settings])
    prompts = _prompts(request.prompt)
    if prompts is None or len(prompts) > MAX_ROWS:
        return Undecodable(Reason.NO_DECODER if prompts is None else Reason.TOO_LARGE)
    return rows.of_rows([{"prompt_chars": chars} | settings for chars in prompts])


def _settings(request: _Request) -> dict[str, object]:
    kind = request.response_format.get("type") if isinstance(request.response_format, dict) else None
    return {
        "max_tokens": request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "n": request.n,
        "tools": len(request.tools) if isinstance(request.tools, list) else 0,
        "stream": bool(request.stream),
        "response_format": kind if isinstance(kind, str) else None,
    }


def _prompts(prompt: Any) -> list[int | None] | None:
    """Characters of each prompt; None for one of tokens; None in all where it is no prompt."""
    if isinstance(prompt, str):
        return [len(prompt)]
    if not isinstance(prompt, list) or not prompt:
        return None
    if all(isinstance(item, int) for item in prompt):
        return [None]
    fits = all(isinstance(item, str | list) for item in prompt)
    return [len(item) if isinstance(item, str) else None for item in prompt] if fits else None


def _texts(message: Any) -> Iterator[str]:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text


def _attachments(message: Any) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else []
    return sum(1 for part in parts if isinstance(part, dict) and "text" not in part)


def decode_response(body: bytes, head: Head) -> Decoded:
    """
    Outputs, one row for each choice.

    >>> from onguard_sidecar.decoding.heads import NONE
    >>> answer = b'{"choices": [{"text": "[1]", "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}'
    >>> batch = decode_response(answer, NONE)
    >>> [c[0] for c in batch.values]
    [3, None, 3, 'stop', False, True, 0]
    """
    if head.content_type.startswith(EVENT_STREAM):
        return _streamed(body)
    answer = json_text.strict(_ANSWER, body)
    if answer is None:
        document = json_text.loose(body)
        return document if isinstance(document, Undecodable) else Undecodable(Reason.NO_DECODER)
    return _rows([_Spoken().hear(choice) for choice in answer.choices], answer.usage)


class _Spoken:
    """What one choice has said so far."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.finish: str | None = None
        self.refused = False
        self.tools: set[object] = set()

    def hear(self, choice: _Choice) -> "_Spoken":
        """Take a whole choice, or the next piece of one."""
        said = choice.message or choice.delta or _Message(content=choice.text)
        if isinstance(said.content, str) and said.content:
            self.parts.append(said.content)
        self.refused |= bool(said.refusal)
        self.finish = choice.finish_reason or self.finish
        for number, call in enumerate(said.tool_calls if isinstance(said.tool_calls, list) else []):
            index = call.get("index", number) if isinstance(call, dict) else number
            self.tools.add(index if isinstance(index, int) else number)
        return self

    def row(self, tokens: float | None, prompt_tokens: int | None) -> dict[str, object]:
        text = "".join(self.parts)
        return {
            "completion_tokens": tokens,
            "prompt_tokens": prompt_tokens,
            "completion_chars": len(text),
            "finish_reason": self.finish,
            "refusal": self.refused or self.finish == "content_filter",
            "valid_json": _is_json(text),
            "tool_calls": len(self.tools),
        }


def _is_json(text: str) -> bool:
    """An object or an array: a bare word or number is not what somebody who asked for JSON wants."""
    text = text.strip()
    return text[:1] in ("{", "[") and bool(text) and not isinstance(_document(text), Undecodable)


def _document(text: str) -> Any:
    return json_text.loose(text.encode("utf-8", "surrogatepass"))


def _rows(choices: Sequence[_Spoken], usage: _Usage | None, *, streamed: bool = False) -> Decoded:
    if not choices:
        return Undecodable(Reason.BAD_SHAPE)
    if len(choices) > MAX_CHOICES:
        return Undecodable(Reason.TOO_LARGE)
    total = usage.completion_tokens if usage else None
    each = None if total is None else total if len(choices) == 1 else total / len(choices)
    prompt = usage.prompt_tokens if usage else None
    return rows.of_rows(
        [choice.row(len(choice.parts) if each is None and streamed else each, prompt) for choice in choices]
    )


def _streamed(body: bytes) -> Decoded:
    choices: dict[int, _Spoken] = {}
    usage, done = None, False
    for data in server_sent.data_of(body):
        if data.strip() == _DONE:
            done = True
            break
        chunk = json_text.strict(_ANSWER, data)
        if chunk is None:
            return Undecodable(Reason.NO_DECODER)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            if choice.index not in choices and len(choices) >= MAX_CHOICES:
                return Undecodable(Reason.TOO_LARGE)
            choices.setdefault(choice.index, _Spoken()).hear(choice)
    if not done and not all(choice.finish for choice in choices.values()):
        return Undecodable(Reason.BAD_SHAPE)  # the stream ended in the middle
    return _rows([choices[index] for index in sorted(choices)], usage, streamed=True)
