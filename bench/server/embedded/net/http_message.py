"""HTTP/1 requests and responses as bytes, by the rules of libevent's server, which Serving uses."""

import http
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

HTML_TYPE: Final = "text/html"
# What libevent says where an answer has no type of its own.
DEFAULT_TYPE: Final = "text/html; charset=ISO-8859-1"

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_VERSION: Final = re.compile(rb"HTTP/(\d{1,9})\.(\d{1,9})")
_METHODS_WITH_BODY: Final = ("POST", "PUT", "PATCH")
# Characters of a path and of a query in RFC 3986; libevent's parser refuses others.
_PATH: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_AUTHORITY: Final = re.compile(r"//[^/?#]*")
_MAX_HEAD: Final = 1 << 20


class BadRequestError(Exception):
    """Bytes that are no HTTP request; the connection cannot go on."""


@dataclass(slots=True)
class Request:
    """A request.

    Args:
        method: upper case.
        path: without scheme, host and query.
        target: path, query and fragment.
        headers: by name in lower case; of a name given twice the first.
        body: as sent, not unpacked.
        keep_alive: whether the connection stays open after the answer.
        minor: the version's second number.
    """

    method: str
    path: str
    target: str
    headers: Mapping[bytes, bytes]
    body: bytes = b""
    keep_alive: bool = True
    minor: int = 1


@dataclass(slots=True)
class Response:
    """A response."""

    status: int
    body: bytes = b""
    content_type: str = DEFAULT_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


@dataclass(slots=True)
class Reader:
    """Requests out of the bytes of a connection."""

    buffer: bytearray = field(default_factory=bytearray)
    wants_continue: bool = False
    _request: Request | None = None
    _length: int = 0
    _chunked: bool = False
    _parts: list[bytes] = field(default_factory=list)

    def next(self) -> Request | None:
        """The next whole request; None while bytes are missing.

        Raises:
            BadRequestError: it is none.
        """
        if self._request is None and not self._read_head():
            return None
        request = self._request
        assert request is not None
        body = self._chunks() if self._chunked else self._sized()
        if body is None:
            return None
        self._request = None
        request.body = body
        return request

    def _read_head(self) -> bool:
        # Blank lines before a request are passed over.
        while self.buffer and self.buffer[0] in b"\r\n":
            del self.buffer[:1]
        end = _HEAD_END.search(self.buffer)
        if end is None:
            if len(self.buffer) > _MAX_HEAD:
                raise BadRequestError
            return False
        lines = bytes(self.buffer[: end.start()]).split(b"\n")
        del self.buffer[: end.end()]
        request = _parse_head(lines)
        self._frame(request)
        self._request = request
        return True

    def _frame(self, request: Request) -> None:
        """How long the body is. Where a method has none, one that is announced is read over all the same."""
        headers = request.headers
        self._chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        length = headers.get(b"content-length")
        if length is None:
            self._length = 0
            endless = request.method in _METHODS_WITH_BODY and not self._chunked
            if endless and headers.get(b"connection", b"close").lower() != b"close":
                # Libevent refuses a body that might never end on a connection that is to stay open.
                raise BadRequestError
        elif not length.isdigit():
            raise BadRequestError
        else:
            # No body has 19 digits of bytes, and Python refuses to read very long numbers.
            self._length = int(length.lstrip(b"0")[:19] or b"0")
        self.wants_continue = headers.get(b"expect", b"").lower() == b"100-continue" and (
            self._chunked or len(self.buffer) < self._length
        )

    def _sized(self) -> bytes | None:
        length = self._length
        if len(self.buffer) < length:
            return None
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return body

    def _chunks(self) -> bytes | None:
        """A chunked body, once it is there as a whole; chunks that are there are taken out of the buffer."""
        while True:
            line_end = self.buffer.find(b"\n")
            if line_end < 0:
                return None
            try:
                size = int(self.buffer[:line_end].split(b";")[0].strip(), 16)
            except ValueError:
                raise BadRequestError from None
            if size < 0:
                raise BadRequestError
            if size == 0:
                return self._end_of_chunks(line_end + 1)
            start = line_end + 1
            after = self.buffer.find(b"\n", start + size)
            if len(self.buffer) < start + size or after < 0:
                return None
            self._parts.append(bytes(self.buffer[start : start + size]))
            del self.buffer[: after + 1]

    def _end_of_chunks(self, at: int) -> bytes | None:
        """The body, if the trailers after the last chunk are there up to their blank line."""
        while True:
            line_end = self.buffer.find(b"\n", at)
            if line_end < 0:
                return None
            blank = not self.buffer[at:line_end].strip()
            at = line_end + 1
            if blank:
                del self.buffer[:at]
                body = b"".join(self._parts)
                self._parts.clear()
                return body


def _parse_head(lines: list[bytes]) -> Request:
    first = lines[0].rstrip(b"\r")
    method, _, rest = first.partition(b" ")
    uri, _, version = rest.rpartition(b" ")
    found = _VERSION.fullmatch(version)
    if not found or not method or not uri or int(found[1]) != 1:
        raise BadRequestError
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise BadRequestError
        headers.setdefault(name.lower(), value.strip())
    minor = int(found[2])
    connection = headers.get(b"connection", b"").lower()
    keep_alive = connection != b"close" if minor else connection == b"keep-alive"
    path, target = _split_uri(uri)
    return Request(method.decode("latin-1"), path, target, headers, keep_alive=keep_alive, minor=minor)


def _split_uri(uri: bytes) -> tuple[str, str]:
    """Path, and path with query and fragment, by RFC 3986 (evhttp_uri_parse)."""
    text = uri.decode("latin-1")
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
    authority = _AUTHORITY.match(text)
    if authority:
        text = text[authority.end() :] or "/"
    before, hash_sign, fragment = text.partition("#")
    path, _, query = before.partition("?")
    if not (_PATH.fullmatch(path) and _QUERY.fullmatch(query) and _QUERY.fullmatch(fragment)):
        raise BadRequestError
    if not scheme and ":" in path.partition("/")[0]:
        # What stands before the colon is no scheme, and a path cannot begin so.
        raise BadRequestError
    return path, before + hash_sign + fragment


def error_page(status: int) -> Response:
    """Libevent's page for an error of its own; the connection ends with it (evhttp_send_error)."""
    phrase = reason(status)
    body = (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n".encode()
    )
    return Response(status, body, HTML_TYPE, close=True)


def reason(status: int) -> str:
    """The words for a status."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Unknown"


_date: tuple[int, bytes] = (0, b"")


def _date_line() -> bytes:
    global _date
    now = int(time.time())
    when, line = _date
    if when != now:
        line = time.strftime("Date: %a, %d %b %Y %H:%M:%S GMT\r\n", time.gmtime(now)).encode()
        _date = (now, line)
    return line


def to_bytes(response: Response, request: Request | None, keep_alive: bool) -> bytes:
    """A response as it goes over the wire."""
    minor = request.minor if request else 1
    lines = [b"HTTP/1.%d %d %s\r\n" % (minor, response.status, reason(response.status).encode())]
    lines.append(b"Content-Type: %s\r\n" % response.content_type.encode())
    lines += [b"%s: %s\r\n" % (name.encode(), value.encode()) for name, value in response.headers]
    if minor:
        lines.append(_date_line())
    is_head = request is not None and request.method == "HEAD"
    if not is_head:
        lines.append(b"Content-Length: %d\r\n" % len(response.body))
    if not keep_alive:
        lines.append(b"Connection: close\r\n")
    elif not minor:
        lines.append(b"Connection: keep-alive\r\n")
    lines.append(b"\r\n")
    if not is_head:
        lines.append(response.body)
    return b"".join(lines)
