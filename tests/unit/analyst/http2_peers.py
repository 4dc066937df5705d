"""Both ends of an HTTP/2 connection, by other people's encoders: what they would have sent, as (side, bytes)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from onguard_sidecar import chunks
from onguard_sidecar.analyst.http2 import Http2
from onguard_sidecar.chunks import Chunk
from onguard_sidecar.decoding import grpc_messages
from onguard_sidecar.decoding.http2 import PREFACE
from onguard_sidecar.decoding.inference_messages import REQUEST, RESPONSE, STREAM_RESPONSE
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.ledger import Snapshot

CLIENT, SERVER = chunks.CLIENT, chunks.SERVER
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
BOOT = f"{7:016x}"
MS = 1_000_000
Said = list[tuple[int, bytes]]


def asked(age: float = 31.0, id: str = "1") -> bytes:  # noqa: A002
    message = REQUEST(model_name="churn", id=id)
    message.inputs.add(name="age", datatype="FP32", shape=[1]).contents.fp32_contents.append(age)
    return grpc_messages.framed(message.SerializeToString())


def answer(score: float = 0.5, id: str = "1") -> bytes:  # noqa: A002
    message = RESPONSE(model_name="churn", id=id)
    message.outputs.add(name="score", datatype="FP32", shape=[1]).contents.fp32_contents.append(score)
    return grpc_messages.framed(message.SerializeToString())


def streamed(score: float = 0.5, id: str = "1", error: str = "") -> bytes:  # noqa: A002
    inner = b"" if error else answer(score, id)[5:]
    return grpc_messages.framed(STREAM_RESPONSE(infer_response=inner, error_message=error).SerializeToString())


class Talk:
    """A conversation that is written down; each direction has its own table of header compression."""

    def __init__(self) -> None:
        self._encoders = (Encoder(), Encoder())
        self.said: Said = [(CLIENT, PREFACE)]
        self.frame(CLIENT, SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 100}))
        self.frame(SERVER, SettingsFrame(0, {SettingsFrame.MAX_FRAME_SIZE: 1 << 20}))
        self.frame(CLIENT, SettingsFrame(0, flags=["ACK"]), WindowUpdateFrame(0, window_increment=9))
        self.frame(SERVER, PingFrame(0, b"12345678"), SettingsFrame(0, flags=["ACK"]))

    def frame(self, side: int, *frames: Frame) -> "Talk":
        self.said.append((side, b"".join(frame.serialize() for frame in frames)))
        return self

    def raw(self, side: int, data: bytes) -> "Talk":
        self.said.append((side, data))
        return self

    def block(self, side: int, fields: Iterable[tuple[str, str]]) -> bytes:
        return self._encoders[side].encode(list(fields))

    def head(self, side: int, stream: int, *fields: tuple[str, str], ends: bool = False, cuts: int = 0) -> "Talk":
        block = self.block(side, fields)
        flags = ["END_STREAM"] * ends
        if not cuts:
            return self.frame(side, HeadersFrame(stream, block, flags=[*flags, "END_HEADERS"]))
        size = -(-len(block) // (cuts + 1))
        pieces = [block[at : at + size] for at in range(0, len(block), size)]
        rest = [ContinuationFrame(stream, piece) for piece in pieces[1:]]
        rest[-1].flags.add("END_HEADERS")
        return self.frame(side, HeadersFrame(stream, pieces[0], flags=flags), *rest)

    def data(self, side: int, stream: int, data: bytes, *, ends: bool = False, pad: int = 0) -> "Talk":
        flags = ["END_STREAM"] * ends + ["PADDED"] * bool(pad)
        return self.frame(side, DataFrame(stream, data, flags=flags, pad_length=pad))

    def ask(self, stream: int, body: bytes | None = None, path: str = INFER, *fields: tuple[str, str]) -> "Talk":
        """A request; without a body the client goes on."""
        told = ((":method", "POST"), (":scheme", "http"), (":path", path), ("content-type", "application/grpc"))
        self.head(CLIENT, stream, *told, ("te", "trailers"), *fields)
        return self if body is None else self.data(CLIENT, stream, body, ends=True)

    def begin_answer(self, stream: int, *fields: tuple[str, str]) -> "Talk":
        return self.head(SERVER, stream, (":status", "200"), ("content-type", "application/grpc"), *fields)

    def end_answer(self, stream: int, grpc_status: str = "0") -> "Talk":
        return self.head(SERVER, stream, ("grpc-status", grpc_status), ("grpc-message", ""), ends=True)

    def reply(self, stream: int, body: bytes, grpc_status: str = "0") -> "Talk":
        return self.begin_answer(stream).data(SERVER, stream, body).end_answer(stream, grpc_status)

    def reset(self, side: int, stream: int, code: int = 8) -> "Talk":
        return self.frame(side, RstStreamFrame(stream, error_code=code))

    def goaway(self, last: int) -> "Talk":
        return self.frame(SERVER, GoAwayFrame(0, last_stream_id=last))

    def push(self, stream: int, promised: int) -> "Talk":
        block = self.block(SERVER, [(":method", "GET"), (":path", "/style.css"), ("x-pushed", "yes")])
        return self.frame(SERVER, PushPromiseFrame(stream, promised, block, flags=["END_HEADERS"]))

    def priority(self, stream: int) -> "Talk":
        return self.frame(CLIENT, PriorityFrame(stream, depends_on=0, stream_weight=7, exclusive=True))

    def table(self, side: int, size: int) -> "Talk":
        """``side`` allows the other one a table of so many bytes, which that one uses."""
        self._encoders[1 - side].header_table_size = size
        return self.frame(side, SettingsFrame(0, {SettingsFrame.HEADER_TABLE_SIZE: size}))


def cut(said: Said, at: int) -> Said:
    """The same, in pieces of ``at`` bytes."""
    return [(side, data[i : i + at]) for side, data in said for i in range(0, len(data), at)]


def to_chunks(said: Said, connection: int = 1, *, step_ns: int = MS) -> Iterator[Chunk]:
    """As the wire hands them over, one each millisecond."""
    offsets = [0, 0]
    for number, (side, data) in enumerate(said):
        yield Chunk(connection, side, offsets[side], (number + 1) * step_ns, data)
        offsets[side] += len(data)


class Bench:
    """HTTP/2 as the analyst reads it, with an analysis that keeps what it is given."""

    def __init__(self, folder: Path, *, conf: str = "version=1\nlatency_bounds_s=0.1\nerror_statuses=429\n") -> None:
        self.folder = folder
        (folder / "wire.conf").write_text(conf)
        self.kept: list[Exchange] = []
        self.faults: list[Exception] = []
        self.outcome = "analysed"
        self.http2 = self.another()
        self.http2.open(BOOT, 1)

    def another(self) -> Http2:
        return Http2(self.folder / "ledger-http2", self.folder / "wire.conf", self.take, self.faults.append)

    def take(self, exchange: Exchange) -> tuple[str, int]:
        self.kept.append(exchange)
        return self.outcome, 1

    def feed(self, said: Said, connection: int = 1) -> "Bench":
        self.http2.feed("wire", list(to_chunks(said, connection)))
        return self

    def end(self, kind: int = chunks.CLIENT_END, connection: int = 1, now: int = 10_000 * MS) -> "Bench":
        self.http2.feed("wire", [Chunk(connection, kind, 0, now)])
        return self

    def snapshot(self) -> Snapshot:
        found = self.http2.own()
        assert found is not None
        return found

    def counters(self) -> dict[str, int]:
        hidden = ("published_ns", "limit_", "connections_open", "copy_bytes", "rows")
        return {name: n for name, n in self.snapshot().counters.items() if n and not name.startswith(hidden)}


def is_whole(counters: dict[str, int]) -> bool:
    """Every request is in exactly one counter."""
    own = ("not_inference", "stale", "sampled_out", "truncated", "handed_over")
    analyst = [n for n in counters if n in ("analysed", "duplicate", "probe") or n.startswith("undecodable_")]
    died = counters.get("dropped_analyst_died", 0)
    accounted = sum(counters.get(name, 0) for name in analyst) + died
    return counters.get("requests", 0) == sum(counters.get(name, 0) for name in own) and accounted == counters.get(
        "handed_over", 0
    )
