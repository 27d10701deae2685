"""HTTP/1 requests are read as sent, however they are split; other bytes are refused."""

import string
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.server.embedded.net.http_message import BadRequestError, Reader, Request
from tests.support.pieces import CUTS, cut

NAMES = st.text(string.ascii_letters + "-", min_size=1, max_size=12).map(lambda name: "x-" + name)
VALUES = st.text(string.printable.strip() + " ", max_size=20).map(str.strip)
PATHS = st.text(string.ascii_letters + string.digits + "-._~!$&'()*+,;=:@/", max_size=30).map(lambda path: "/a" + path)


@dataclass(frozen=True)
class Sent:
    """A request of a test, and whether its body goes in chunks of a size."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    chunk: int | None

    def to_bytes(self) -> bytes:
        """The request as a client sends it."""
        headers = dict(self.headers)
        body = self.body
        if self.chunk is None:
            headers["Content-Length"] = str(len(body))
        else:
            headers["Transfer-Encoding"] = "chunked"
            pieces = cut(body, [self.chunk])
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


SENT = st.builds(
    Sent,
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE"]),
    path=PATHS,
    headers=st.dictionaries(NAMES, VALUES, max_size=4),
    body=st.binary(max_size=200),
    chunk=st.none() | st.integers(1, 100),
)


def read(data: bytes, cuts: list[int]) -> tuple[list[Request], bool]:
    """The requests in bytes that come in pieces, and whether they end in a refusal."""
    reader, found = Reader(), []
    try:
        for piece in cut(data, cuts):
            reader.buffer += piece
            while request := reader.next():
                found.append(request)
    except BadRequestError:
        return found, True
    return found, False


@given(st.lists(SENT, max_size=4), CUTS)
def test_requests_are_read_as_they_were_sent_however_they_are_cut(sent: list[Sent], cuts: list[int]) -> None:
    found, refused = read(b"".join(each.to_bytes() for each in sent), cuts)
    assert not refused
    assert [(request.method, request.path, request.body) for request in found] == [
        (each.method, each.path, each.body) for each in sent
    ]
    for request, each in zip(found, sent, strict=True):
        first: dict[bytes, bytes] = {}
        for name, value in each.headers.items():
            first.setdefault(name.lower().encode(), value.encode())
        assert {name: request.headers[name] for name in first} == first


PARTS = (
    *(b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.0\r\n", b"GET http:x HTTP/1.1\r\n", b"GET / HTTP/1.99999999999\r\n"),
    *(b"Content-Length: 3\r\n", b"Content-Length: -1\r\n", b"Content-Length: " + b"9" * 5000 + b"\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n", b"\r\n", b"\n", b"\r"),
    *(b"3\r\nabc\r\n", b"0\r\n\r\n", b"-1\r\n", b"zz\r\n", b"ffffffffffffffffffff\r\n", b"abc", b":\r\n", b"\0", b" "),
)


@given(st.lists(st.sampled_from(PARTS) | st.binary(max_size=6), max_size=10).map(b"".join), CUTS)
def test_anything_is_read_or_refused_and_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assert read(data, cuts) == read(data, [])


@pytest.mark.parametrize("version", ["1." + "1" * 5000, "1" * 5000 + ".1"])
def test_a_version_of_very_many_digits_is_refused(version: str) -> None:
    assert read(f"GET / HTTP/{version}\r\n\r\n".encode(), []) == ([], True)


def test_a_length_of_very_many_digits_is_waited_for() -> None:
    """As `strtoll`, which libevent reads it with, takes the largest number."""
    assert read(b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc", []) == ([], False)
    assert read(b"POST / HTTP/1.1\r\nContent-Length: " + b"0" * 5000 + b"3\r\n\r\nabc", [])[0][0].body == b"abc"
