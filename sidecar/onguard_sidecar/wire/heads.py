"""
Heads of HTTP/1 messages: strict parsing of what decides where a message ends (RFC 9112).

What two parsers could read differently is refused here: the connection then goes on as opaque bytes. Equal heads come
again and again on a keep-alive connection, so parsed ones are remembered.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from onguard_sidecar.wire.limits import FREE_BYTES

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELDS: Final = rb"((?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+)\r\n"
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb"++) ([^\x00-\x20\x7f]++) HTTP/1\.([01])\r\n" + _FIELDS)
_RESPONSE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?\r\n" + _FIELDS)
_DECIDING: Final = re.compile(
    rb"(?im)^(content-length|transfer-encoding|connection|upgrade):[ \t]*+([^\r]*+)\r\n",
)
_PREFIX: Final = re.compile(_TOKEN + rb"{1,32}+(?: |\Z)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")

CHUNKED: Final = -1
"""Length of a body in chunks."""
UNTIL_END: Final = -2
"""Length of a body that the end of the connection ends."""
REMEMBERED: Final = 256
"""Heads kept per direction; with at most 4 KiB each, twice, they stay below 2 MiB."""
REMEMBERED_BYTES: Final = 4096
_EMPTY_LINE: Final = 4
"""Bytes that end a head: its last line's end and the empty line."""


class FramingError(ValueError):
    """The bytes are not HTTP/1, or their framing is ambiguous."""


class NotHttpError(FramingError):
    """The bytes cannot be the start of an HTTP/1 request: TLS, HTTP/2, or something else."""


class FramingLimitError(FramingError):
    """It may be HTTP/1, but framing it would cost more than is allowed."""


class RequestHead(NamedTuple):
    """What of a request's head decides framing and counting."""

    length: int
    """Body bytes, or CHUNKED."""
    is_head: bool
    is_connect: bool
    upgrade: bool
    inference: bool
    is_ordinary: bool
    """Inference, of known and small length, and nothing special comes of it: no HEAD, CONNECT, Upgrade."""


class ResponseHead(NamedTuple):
    """What of an answer's head decides framing; ``length`` before the request's method is considered."""

    status: int
    length: int
    """Body bytes, CHUNKED or UNTIL_END."""
    keeps_alive: bool
    is_ordinary: bool
    """A final answer whose length is known, that has a body whatever was asked (but HEAD), and does not end it all."""


def parse_request(head: bytes, is_inference: Callable[[bytes, bytes], bool]) -> RequestHead:
    """
    Parse from the request line to the empty line.

    Raises:
        FramingError: not HTTP/1.0 or 1.1, or ambiguous.
    """
    found = _REQUEST.fullmatch(head)
    if not found:
        if not may_begin_request(head[:64]):
            raise NotHttpError("expected an HTTP/1 request head")
        raise FramingError("expected an HTTP/1 request head")
    method, target, minor, fields = found.groups()
    length, tokens, upgrade = _framing(fields, minor)
    upgrades, inference = upgrade and b"upgrade" in tokens, is_inference(method, target)
    return RequestHead(
        length=0 if length == UNTIL_END else length,
        is_head=method == b"HEAD",
        is_connect=method == b"CONNECT",
        upgrade=upgrades,
        inference=inference,
        is_ordinary=inference and not upgrades and 0 <= length <= FREE_BYTES and method not in (b"HEAD", b"CONNECT"),
    )


def parse_response(head: bytes) -> ResponseHead:
    """
    Parse from the status line to the empty line.

    Raises:
        FramingError: not HTTP/1.0 or 1.1, or ambiguous.
    """
    found = _RESPONSE.fullmatch(head)
    if not found:
        raise FramingError("expected an HTTP/1 response head")
    minor, status, fields = found.groups()
    length, tokens, _ = _framing(fields, minor)
    keeps_alive = b"close" not in tokens and (minor == b"1" or b"keep-alive" in tokens)
    is_ordinary = keeps_alive and length >= 0 and status[:1] != b"1" and status not in (b"204", b"304")
    return ResponseHead(int(status), length, keeps_alive, is_ordinary)


def may_begin_request(start: bytes) -> bool:
    """Whether a request head can still come of these first bytes: tells TLS and HTTP/2 early."""
    return bool(_PREFIX.match(start)) and not start.startswith(b"PRI * HTTP/2.0")


def _framing(fields: bytes, minor: bytes) -> tuple[int, frozenset[bytes], bool]:
    """Body length, tokens of Connection, whether Upgrade is there. RFC 9112, section 6."""
    lengths: list[bytes] = []
    codings: list[bytes] = []
    tokens: set[bytes] = set()
    upgrade = False
    for name, value in _DECIDING.findall(fields):
        key = name.lower()
        if key == b"content-length":
            lengths.append(value.rstrip(b" \t"))
        elif key == b"transfer-encoding":
            codings.append(value.rstrip(b" \t").lower())
        elif key == b"connection":
            tokens.update(token.strip(b" \t") for token in value.lower().split(b","))
        else:
            upgrade = True
    return _length(lengths, codings, minor), frozenset(tokens), upgrade


def _length(lengths: list[bytes], codings: list[bytes], minor: bytes) -> int:
    if codings:
        if codings != [b"chunked"] or lengths or minor == b"0":
            raise FramingError("expected `chunked` alone as transfer coding of HTTP/1.1, without Content-Length")
        return CHUNKED
    if not lengths:
        return UNTIL_END
    if len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0]):
        raise FramingError("expected one decimal Content-Length")
    return int(lengths[0])


_Head = TypeVar("_Head", RequestHead, ResponseHead)
Ordinary = tuple[bytes, int, int]
"""A head, the length of its body, its status (0: a request)."""


class Heads:
    """
    Parsed heads of one configuration, remembered by their bytes.

    The memory is bounded and never leaves the process; it is forgotten as a whole when full.

    Attributes:
        requests, responses: what is remembered.
        ordinary_requests, ordinary_answers: those of ordinary exchanges, by their bytes without the empty line.
    """

    def __init__(self, is_inference: Callable[[bytes, bytes], bool]) -> None:
        self._is_inference = is_inference
        self.requests: dict[bytes, RequestHead] = {}
        self.responses: dict[bytes, ResponseHead] = {}
        self.ordinary_requests: dict[bytes, Ordinary] = {}
        self.ordinary_answers: dict[bytes, Ordinary] = {}

    def configure(self, is_inference: Callable[[bytes, bytes], bool]) -> None:
        """Classify by another configuration from now on."""
        self._is_inference = is_inference
        self.requests.clear()
        self.ordinary_requests.clear()

    def request(self, head: bytes) -> RequestHead:
        """
        As :func:`parse_request`.

        Raises:
            FramingError: as there.
        """
        parsed = self.requests.get(head)
        if parsed is None:
            parsed = parse_request(head, self._is_inference)
            if _remember(self.requests, self.ordinary_requests, head, parsed) and parsed.is_ordinary:
                self.ordinary_requests[head[:-_EMPTY_LINE]] = (head, parsed.length, 0)
        return parsed

    def response(self, head: bytes) -> ResponseHead:
        """
        As :func:`parse_response`.

        Raises:
            FramingError: as there.
        """
        parsed = self.responses.get(head)
        if parsed is None:
            parsed = parse_response(head)
            if _remember(self.responses, self.ordinary_answers, head, parsed) and parsed.is_ordinary:
                self.ordinary_answers[head[:-_EMPTY_LINE]] = (head, parsed.length, parsed.status)
        return parsed


def _remember(memory: dict[bytes, _Head], ordinary: dict[bytes, Ordinary], head: bytes, parsed: _Head) -> bool:
    """Whether the head is one that may be remembered."""
    if len(head) > REMEMBERED_BYTES:
        return False
    if len(memory) >= REMEMBERED:
        memory.clear()
        ordinary.clear()
    memory[head] = parsed
    return True
