"""HTTP requests out of bytes, and responses as bytes."""

import pytest

from bench.server.embedded.net.http_message import BadRequestError, Reader, Request, Response, error_page, to_bytes


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
    message = b"\r\nPOST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    (request,) = read(*(bytes([byte]) for byte in message))
    assert request.body == b"abcde"


def test_requests_may_come_together() -> None:
    first, second = read(b"GET /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nxxPOST /2 HTTP/1.1\r\n\r\n")
    assert (first.target, first.body, second.target, second.body) == ("/1", b"xx", "/2", b"")


def test_a_client_that_waits_for_leave_to_send() -> None:
    reader = Reader(bytearray(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"))
    assert reader.next() is None
    assert reader.wants_continue


@pytest.mark.parametrize(
    ("head", "keep_alive"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
def test_how_long_a_connection_lasts(head: bytes, keep_alive: bool) -> None:
    assert read(head)[0].keep_alive is keep_alive


@pytest.mark.parametrize("before", [b"", b"http://host:1", b"http:", b"//host"])
def test_a_url_with_a_scheme_and_a_host(before: bytes) -> None:
    (request,) = read(b"GET %s/v1/models?x HTTP/1.1\r\n\r\n" % before)
    assert (request.path, request.target) == ("/v1/models", "/v1/models?x")


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /a%zz HTTP/1.1\r\n\r\n",
        b"GET 1a:/b HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        # Libevent would wait for the end of a connection that is to stay open.
        b"POST / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_what_is_no_request(message: bytes) -> None:
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
