"""Server-sent events (HTML standard, 9.2.6): the data of each event of a stream that was copied whole."""

from collections.abc import Iterator


def data_of(body: bytes) -> Iterator[bytes]:
    r"""
    The ``data`` of every event that is complete, lines joined by a newline. Comments and other fields are skipped.

    >>> list(data_of(b': hi\n\ndata: {"a":\ndata: 1}\n\nevent: x\ndata:[DONE]\r\n\r\ndata: cut'))
    [b'{"a":\n1}', b'[DONE]']
    """
    lines: list[bytes] = []
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for line in body.split(b"\n")[:-1]:
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []
