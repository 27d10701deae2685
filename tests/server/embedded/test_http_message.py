"""From bytes to HTTP requests, and from responses to bytes."""

import pytest

from bench.server.embedded.net import http_message
from bench.server.embedded.net.http_message import (
    BadRequestError,
    Reader,
    Request,
    Response,
    TooLargeError,
    error_page,
    to_bytes,
)

END = http_message._HEAD_END


def read(*pieces: bytes) -> list[Request]:
    """The requests in bytes that arrive in pieces."""
    reader, found = Reader(), []
    for piece in pieces:
        reader.buffer += piece
        while request := reader.next():
            found.append(request)
    assert not reader.buffer
    return found


def test_a_request_with_a_body() -> None:
    (request,) = read(b"POST /a/b?x=1#y HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX: 1\r\nx: 2\r\n\r\nabc")
    assert (request.method, request.path, request.target) == ("POST", "/a/b", "/a/b?x=1#y")
    assert (request.body, request.headers[b"x"], request.keep_alive) == (b"abc", b"1", True)


def test_bytes_may_come_one_by_one() -> None:
    message = b"\r\nPOST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3 x\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    (request,) = read(*(bytes([byte]) for byte in message))
    assert request.body == b"abcde"


CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "chunks",
    [
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" \t3\r\nabc\r\n0\r\n\r\n",
        b"3 and more\r\nabc\r\n0 \r\n\r\n",
        b"3\0z\r\nabc\r\n-0\r\n\r\n",
        b"3\nabc\n\n\r\n0\nX: y\n z\n\n",
        b"1\r\na2\r\nbc0\r\n\r\n",
        b"0" * 5000 + b"3\r\nabc\r\n0\r\n\r\n",
        # A size without a digit is the last one.
        b"3\r\nabc\r\n \r\n\r\n",
    ],
)
def test_chunks_that_libevent_accepts(chunks: bytes) -> None:
    (request,) = read(CHUNKED + chunks)
    assert request.body == b"abc"


@pytest.mark.parametrize(
    "chunks",
    [
        b"1_0\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3;name=value\r\nabc\r\n0\r\n\r\n",
        b"3\t\r\nabc\r\n0\r\n\r\n",
        b"0x\r\n\r\n",
        b"\xd9\xa3\r\nabc\r\n0\r\n\r\n",
        # Bytes after a chunk are the next size.
        b"3\r\nabcXY\r\n0\r\n\r\n",
        b"0\r\nno header\r\n\r\n",
    ],
)
def test_chunks_that_libevent_refuses(chunks: bytes) -> None:
    with pytest.raises(BadRequestError):
        read(CHUNKED + chunks)


@pytest.mark.parametrize("begin", [b"3 ", b"0\r\nX: "])
def test_a_line_of_a_chunked_body_is_bounded(begin: bytes) -> None:
    reader = Reader(bytearray(CHUNKED + begin))
    assert reader.next() is None
    with pytest.raises(BadRequestError):
        for _ in range(1000):
            reader.buffer += b"x" * 1000
            assert reader.next() is None
    assert len(reader.buffer) < 100_000


@pytest.mark.parametrize("size", [b"7fffffffffffffff", b"f" * 5000])
def test_a_chunk_of_very_many_bytes_is_waited_for(size: bytes) -> None:
    reader = Reader(bytearray(CHUNKED + size + b"\r\nabc"))
    assert reader.next() is None


@pytest.mark.parametrize("length", [b"+3", b"003", b"3\0x"])
def test_lengths_that_libevent_accepts(length: bytes) -> None:
    assert read(b"POST / HTTP/1.1\r\nContent-Length: %b\r\n\r\nabc" % length)[0].body == b"abc"


def test_the_length_of_a_chunked_body_does_not_matter() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nContent-Length: x\r\n\r\n"
    assert read(head + b"1\r\na\r\n0\r\n\r\n")[0].body == b"a"


def test_requests_may_come_together() -> None:
    first, second = read(b"GET /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nxxPOST /2 HTTP/1.1\r\n\r\n")
    assert (first.target, first.body, second.target, second.body) == ("/1", b"xx", "/2", b"")


def test_a_head_is_held_until_its_body_is_complete() -> None:
    headers = b"".join(b"%d: %b\r\n" % (number, b"x" * 50) for number in range(900))
    reader = Reader(bytearray(b"POST / HTTP/1.1\r\n" + headers + b"Content-Length: 1\r\n\r\n"))
    assert reader.next() is None
    assert reader.held() > len(headers) + 900 * 100
    reader.buffer += b"x"
    assert reader.next() is not None
    assert reader.held() == 0


def test_a_client_that_waits_for_100_continue() -> None:
    reader = Reader(bytearray(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"))
    assert reader.next() is None
    assert reader.wants_continue


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 1\r\n\r\na", b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"]
)
def test_a_client_whose_body_is_there_waits_for_nothing(rest: bytes) -> None:
    reader = Reader(bytearray(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\n" + rest))
    assert reader.next() is not None
    assert not reader.wants_continue


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (CHUNKED + b"0\r\n\r\n", True),
        (CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n", False),
        (CHUNKED.replace(b"1.1", b"1.0")[:-2] + b"Connection: keep-alive\r\n\r\n0\r\n\r\n", False),
    ],
)
def test_how_long_a_connection_lasts(head: bytes, keep_alive: bool) -> None:
    assert read(head)[0].keep_alive is keep_alive


@pytest.mark.parametrize("before", [b"", b"http://host:1", b"http:", b"//host"])
def test_a_url_with_a_scheme_and_a_host(before: bytes) -> None:
    (request,) = read(b"GET %s/v1/models?x HTTP/1.1\r\n\r\n" % before)
    assert (request.path, request.target) == ("/v1/models", "/v1/models?x")


# Headers of a body's length that proxies read in different ways (RFC 9112, 6.1 and 6.3).
READ_DIFFERENTLY = [
    b"Content-Length: 0\r\nContent-Length: 11",
    b"Content-Length: 11\r\ncontent-length: 11",
    b"Content-Length: 11\r\nTransfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
]


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\n" * 1001 + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 200_000,
        b"GET /a%zz HTTP/1.1\r\n\r\n",
        b"GET 1a:/b HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: \0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        *(b"POST / HTTP/1.1\r\n%b\r\n\r\n1\r\na\r\n0\r\n\r\n" % lines for lines in READ_DIFFERENTLY),
        # Libevent would wait for the end of a connection that is to stay open.
        b"POST / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_bytes_that_are_not_a_request(message: bytes) -> None:
    with pytest.raises(BadRequestError):
        read(message)


def test_a_response() -> None:
    (request,) = read(b"GET / HTTP/1.1\r\n\r\n")
    head, _, body = to_bytes(Response(404, b"{}", "application/json", (("X", "y"),)), request, True).partition(
        b"\r\n\r\n"
    )
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 404 Not Found"
    assert {b"Content-Type: application/json", b"X: y", b"Content-Length: 2"} <= set(lines)
    assert not any(line.startswith(b"Connection") for line in lines)
    assert body == b"{}"


def test_head_gets_no_body() -> None:
    (request,) = read(b"HEAD / HTTP/1.1\r\n\r\n")
    assert to_bytes(Response(400, b"{}"), request, True).endswith(b"\r\n\r\n")


def test_the_page_for_an_error_ends_the_connection() -> None:
    page = error_page(404)
    assert page.body == (
        b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
    )
    assert b"Connection: close\r\n" in to_bytes(page, None, not page.close)


def test_a_large_body_is_refused() -> None:
    for message in (b"Content-Length: 4\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\n"):
        reader = Reader(bytearray(b"POST / HTTP/1.1\r\n" + message), max_body=3)
        with pytest.raises(TooLargeError):
            reader.next()
    assert Reader(bytearray(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"), max_body=3).next() is not None


def test_trailers_without_end_are_refused() -> None:
    reader = Reader(bytearray(CHUNKED + b"0\r\n"))
    with pytest.raises(BadRequestError):
        for _ in range(100_000):
            reader.buffer += b"a: b\r\n"
            assert reader.next() is None


def test_a_head_that_comes_byte_by_byte_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its newest bytes are: otherwise a slow client costs the square of what it sends."""
    searched = []

    class Counting:
        def search(self, buffer: bytearray, start: int) -> object:
            searched.append(len(buffer) - start)
            return END.search(buffer, start)

    monkeypatch.setattr(http_message, "_HEAD_END", Counting())
    (request,) = read(*(bytes([byte]) for byte in b"GET / HTTP/1.1\r\nA: " + b"b" * 1000 + b"\r\n\r\n"))
    assert request.headers[b"a"] == b"b" * 1000
    assert max(searched) < 10
