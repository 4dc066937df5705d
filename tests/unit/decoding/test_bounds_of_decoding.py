"""Limits: expanded size, rows, columns, depth; each has its reason."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable

import brotli  # type: ignore[import-untyped]  # it has no types
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard_sidecar.decoding import delimited, encoding, heads, kserve_v1, open_inference_v2
from onguard_sidecar.decoding.batch import MAX_COLUMNS, MAX_ROWS, Batch, Decoded, Reason, Undecodable
from tests.conftest import examples

BODY = b'{"instances": [[1, 2]]}'


def _br(body: bytes) -> bytes:
    return bytes(brotli.compress(body, quality=5))


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (gzip.compress(BODY), "gzip"),
        (gzip.compress(BODY), " GZIP "),
        (gzip.compress(BODY), "x-gzip"),
        (zlib.compress(BODY), "deflate"),
        (brotli.compress(BODY), "br"),
        (zstd.compress(BODY), "zstd"),
    ],
)
def test_a_known_encoding_is_undone(body: bytes, name: str) -> None:
    assert encoding.expand(body, name) == BODY


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (BODY, "compress"),
        (BODY, "gzip, gzip"),
        *((BODY, name) for name in ("gzip", "br", "zstd")),
        *((b"", name) for name in ("gzip", "br", "zstd")),
        (gzip.compress(BODY)[:-9], "gzip"),
        (brotli.compress(BODY)[:-3], "br"),
        (zstd.compress(BODY)[:-3], "zstd"),
    ],
)
def test_an_unknown_or_broken_encoding_says_so(body: bytes, name: str) -> None:
    assert encoding.expand(body, name) == Undecodable(Reason.UNSUPPORTED_ENCODING)


@pytest.mark.parametrize(("compress", "name"), [(gzip.compress, "gzip"), (_br, "br"), (zstd.compress, "zstd")])
def test_a_bomb_is_not_expanded(compress: Callable[[bytes], bytes], name: str) -> None:
    bomb = compress(b"0" * (64 << 20))
    tracemalloc.start()
    result = encoding.expand(bomb, name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result == Undecodable(Reason.TOO_LARGE)
    assert peak < 4 * encoding.MAX_EXPANDED_BYTES


def test_a_zstd_frame_that_wants_a_large_window_is_not_understood() -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    made = zstd.ZstdCompressor(options=options)
    frame = made.compress(b"0" * 1000) + made.flush()
    assert zstd.decompress(frame) == b"0" * 1000
    assert encoding.expand(frame, "zstd") == Undecodable(Reason.UNSUPPORTED_ENCODING)


@pytest.mark.parametrize("decode", [kserve_v1.decode_request, open_inference_v2.decode_request])
@pytest.mark.parametrize("opening", [b"[", b'{"instances":[', b'{"inputs":[', b'{"a":'])
def test_deep_nesting_is_an_outcome(decode: object, opening: bytes) -> None:
    decoded = decode(opening * 100_000)  # type: ignore[operator]
    assert decoded in (Undecodable(Reason.TOO_DEEP), Undecodable(Reason.BAD_JSON))


def test_too_many_rows_or_columns_are_too_large() -> None:
    for rows in ([[1.0]] * (MAX_ROWS + 1), [1.0] * (MAX_ROWS + 1), [[1.0] * (MAX_COLUMNS + 1)], [["a"] * 5000]):
        assert kserve_v1.decode_request(json.dumps({"instances": rows}).encode()) == Undecodable(Reason.TOO_LARGE)


def test_objects_of_disjoint_names_do_not_grow_as_the_square() -> None:
    rows = [{f"k{i}": 1} for i in range(4000)]
    assert kserve_v1.decode_request(json.dumps({"instances": rows}).encode()) == Undecodable(Reason.TOO_LARGE)


def test_numbers_beyond_a_double_are_no_error() -> None:
    digits = b"1" + b"0" * 400
    decoded = kserve_v1.decode_request(b'{"instances": [[' + digits + b', 1e999, -1e999, "x"]]}')
    assert isinstance(decoded, Batch | Undecodable)


@pytest.mark.parametrize("text", [b'{"instances": [["\xff"]]}', b'{"inst\xff": 1}'])
def test_bytes_that_are_no_utf8_say_so(text: bytes) -> None:
    assert kserve_v1.decode_request(text) == Undecodable(Reason.BAD_UTF8)


@pytest.mark.parametrize(
    "head",
    [b"", b"\r\n", b"GET", b"POST /x", b"POST  HTTP/1.1\r\n", b"\xff\xfe /\xff HTTP/1.1\r\n\r\n", b"Content-Type:"],
)
def test_an_odd_head_is_read_as_far_as_it_goes(head: bytes) -> None:
    assert isinstance(heads.parse(head), heads.Head)


def test_the_names_of_fields_have_no_case() -> None:
    head = heads.parse(b"POST / HTTP/1.1\r\nCONTENT-ENCODING:gzip\r\ncontent-TYPE: Application/JSON\r\n\r\n")
    assert (head.content_encoding, head.content_type) == ("gzip", "application/json")


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(), min_size=1), min_size=1),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_csv_of_numbers_is_read_alike_whichever_way(table: list[list[float]], end: str) -> None:
    body = end.join(",".join(map(repr, row)) for row in table).encode()
    quick = delimited.of_csv(body, header=None)
    with_header = delimited.of_csv(b",".join(b"c%d" % i for i in range(len(table[0]))) + b"\n" + body, header=True)
    assert isinstance(quick, Batch) == isinstance(with_header, Batch)
    if isinstance(quick, Batch) and isinstance(with_header, Batch):
        assert [list(quick.column(i)) for i in range(quick.width)] == [
            list(with_header.column(i)) for i in range(with_header.width)
        ]


@pytest.mark.parametrize("line", [b"1\n", b"\n", b"[1]\n", b"x\n"])
@pytest.mark.parametrize("decode", [lambda body: delimited.of_csv(body, header=None), delimited.of_json_lines])
def test_millions_of_lines_cost_no_more_than_their_bytes(decode: Callable[[bytes], Decoded], line: bytes) -> None:
    body = line * (encoding.MAX_EXPANDED_BYTES // len(line))
    tracemalloc.start()
    decoded = decode(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(decoded, Undecodable)
    assert peak < 8 * encoding.MAX_EXPANDED_BYTES
