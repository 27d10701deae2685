"""HTTP/1 requests and responses as bytes, by the rules of libevent's server, which Serving uses."""

import http
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bench.server.embedded.base.limits import INT64_MAX

HTML_TYPE: Final = "text/html"
# Libevent's type of an answer without one.
DEFAULT_TYPE: Final = "text/html; charset=ISO-8859-1"

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_VERSION: Final = re.compile(rb"HTTP/(\d{1,9})\.(\d{1,9})")
_NO_NAME: Final = re.compile(rb"[\x00-\x20\x7f]")
_FRAMING: Final = (b"content-length", b"transfer-encoding")
_METHODS_WITH_BODY: Final = ("POST", "PUT", "PATCH")
# A path and a query in RFC 3986; libevent's parser refuses other characters.
_PATH: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_AUTHORITY: Final = re.compile(r"//[^/?#]*")
# Bytes of a request line and headers, and lines of them.
_MAX_HEAD: Final = 1 << 17
_MAX_LINES: Final = 1000
# Line breaks before a request, which are skipped.
_LINE_BREAKS: Final = b"\r\n"
# Around a header's value: others, like a vertical tab, are a part of it (RFC 9110, 5.6.3).
_BLANKS: Final = b" \t\r"
# The longest end of a head.
_END_BYTES: Final = 4
# Bytes that a header takes beside its own.
_HEADER_BYTES: Final = 150
# Bytes of a chunk's size or of a trailer.
_MAX_LINE: Final = 1 << 16
# No 64-bit integer has more; Python refuses to convert very long texts.
_INT64_DIGITS: Final = 20
_INTEGERS: Final = {
    10: re.compile(rb"[ \t\n\v\f\r]*([+-]?)([0-9]+)"),
    16: re.compile(rb"[ \t\n\v\f\r]*([+-]?)(?:0[xX](?=[0-9A-Fa-f]))?([0-9A-Fa-f]+)"),
}


class BadRequestError(Exception):
    """The bytes are not an HTTP request; the connection must close."""


class TooLargeError(Exception):
    """A body is larger than allowed; the connection must close."""


@dataclass(slots=True)
class Request:
    """A request.

    Args:
        method: as sent.
        path: without scheme, host and query.
        target: path, query and fragment.
        headers: values by name in lower case; the first of a repeated name.
        body: as sent, with its content coding.
        keep_alive: whether the connection stays open after the answer.
        minor: the minor version.
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
    """Splits the bytes of a connection into requests.

    Args:
        buffer: bytes that are not read yet; the owner appends to it.
        max_body: bytes of the largest body.

    Attributes:
        wants_continue: whether the client waits for `100 Continue`.
    """

    buffer: bytearray = field(default_factory=bytearray)
    max_body: int = INT64_MAX
    wants_continue: bool = False
    _request: Request | None = None
    _length: int = 0
    _chunks: "_ChunkedBody | None" = None
    # Bytes of the buffer that hold no end of a head.
    _searched: int = 0
    # Bytes that the head of a request takes whose body is not complete.
    _head: int = 0

    def next(self) -> Request | None:
        """The next complete request; None while bytes are missing.

        Raises:
            BadRequestError: the bytes are not an HTTP request.
            TooLargeError: its body is larger than allowed.
        """
        if self._request is None and not self._read_head():
            return None
        request = self._request
        assert request is not None
        body = self._sized() if self._chunks is None else self._chunks.take(self.buffer)
        if body is None:
            return None
        self._request = self._chunks = None
        # It waits no longer: after the answer, a 100 would pass for the answer to its next request.
        self.wants_continue = False
        self._head = 0
        request.body = body
        return request

    def held(self) -> int:
        """Bytes in memory."""
        return self._head + len(self.buffer) + (self._chunks.size if self._chunks else 0)

    def _read_head(self) -> bool:
        if not self._searched:
            blank = len(self.buffer) - len(self.buffer.lstrip(_LINE_BREAKS))
            del self.buffer[:blank]
        end = _HEAD_END.search(self.buffer, self._searched)
        if (end.start() if end else len(self.buffer)) > _MAX_HEAD:
            raise BadRequestError
        if end is None:
            # A client that sends byte by byte must not have all of them searched each time.
            self._searched = max(len(self.buffer) - _END_BYTES, 0)
            return False
        self._searched = 0
        lines = bytes(self.buffer[: end.start()]).split(b"\n")
        del self.buffer[: end.end()]
        if len(lines) > _MAX_LINES:
            raise BadRequestError
        self._request = _parse_head(lines)
        self._head = end.end() + _HEADER_BYTES * len(lines)
        self._frame(self._request)
        return True

    def _frame(self, request: Request) -> None:
        """Sets how the body is delimited. The body of a method that has none is read and ignored."""
        headers = request.headers
        coding = headers.get(b"transfer-encoding")
        chunked = coding is not None
        if coding is not None:
            # Libevent ignores other codings, so that a proxy that does not may see other requests than the server.
            if coding.lower() != b"chunked":
                raise BadRequestError
            if b"content-length" in headers or not request.minor:
                request.keep_alive = False
        self._chunks = _ChunkedBody(self.max_body) if chunked else None
        self._length = 0 if chunked else _body_length(request)
        if self._length > self.max_body:
            raise TooLargeError
        self.wants_continue = headers.get(b"expect", b"").lower() == b"100-continue" and (
            chunked or len(self.buffer) < self._length
        )

    def _sized(self) -> bytes | None:
        length = self._length
        if len(self.buffer) < length:
            return None
        with memoryview(self.buffer) as view:
            body = bytes(view[:length])
        del self.buffer[:length]
        return body


@dataclass(slots=True)
class _ChunkedBody:
    """A chunked body, read as libevent reads it (evhttp_handle_chunked_read).

    Args:
        most: bytes of the largest body.
    """

    most: int
    _body: bytearray = field(default_factory=bytearray)
    _missing: int = 0
    _in_trailer: bool = False
    _trailer: int = 0
    # Bytes of the buffer that hold no end of a line.
    _searched: int = 0

    @property
    def size(self) -> int:
        """Bytes of the body so far."""
        return len(self._body)

    def take(self, buffer: bytearray) -> bytes | None:
        """Removes complete lines and chunks from the buffer; the body after the trailer's blank line, None before it.

        Raises:
            BadRequestError: a line that is neither a size nor, after the last chunk, a header.
            TooLargeError: the body is larger than allowed.
        """
        while True:
            if len(buffer) < self._missing:
                return None
            if self._missing:
                with memoryview(buffer) as view:
                    self._body += view[: self._missing]
                del buffer[: self._missing]
                self._missing = 0
            line = self._take_line(buffer)
            if line is None:
                return None
            if not self._in_trailer:
                self._on_size(line)
            elif not line:
                return bytes(self._body)
            elif b":" not in line and line[0] not in b" \t":
                raise BadRequestError
            else:
                self._trailer += len(line) + 1
                if self._trailer > _MAX_HEAD:
                    raise BadRequestError

    def _on_size(self, line: bytes) -> None:
        """A chunk's size in hexadecimal; what follows a blank is ignored, and so is a blank line."""
        if not line.partition(b"\0")[0]:
            return
        size, rest = _leading_integer(line, 16)
        if size < 0 or rest[:1] not in (b"", b" "):
            raise BadRequestError
        if len(self._body) + size > self.most:
            raise TooLargeError
        self._missing = size
        self._in_trailer = not size

    def _take_line(self, buffer: bytearray) -> bytes | None:
        """Removes the first line from the buffer; None while its end is missing."""
        end = buffer.find(b"\n", self._searched)
        if (end if end >= 0 else len(buffer)) > _MAX_LINE:
            raise BadRequestError
        if end < 0:
            self._searched = len(buffer)
            return None
        self._searched = 0
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line.removesuffix(b"\r")


def _body_length(request: Request) -> int:
    """The bytes that `Content-Length` announces (evhttp_get_body_length)."""
    text = request.headers.get(b"content-length")
    if text is None:
        connection = request.headers.get(b"connection", b"close").lower()
        if request.method in _METHODS_WITH_BODY and connection != b"close":
            # Libevent refuses a body that ends with the connection where the connection is to stay open.
            raise BadRequestError
        return 0
    length, rest = _leading_integer(text, 10)
    if text[:1] in (b"", b"\0") or rest or length < 0:
        raise BadRequestError
    return length


def _leading_integer(text: bytes, base: int) -> tuple[int, bytes]:
    """The integer that C's `strtoll` reads from a text, limited to 64 bits, and the text after it."""
    text = text.partition(b"\0")[0]
    found = _INTEGERS[base].match(text)
    if found is None:
        return 0, text
    digits = found[2].lstrip(b"0")
    value = int(digits or b"0", base) if len(digits) < _INT64_DIGITS else INT64_MAX
    return min(value, INT64_MAX) * (-1 if found[1] == b"-" else 1), text[found.end() :]


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
        value = value.strip(_BLANKS)
        # A folded line, a blank in a name, a lone carriage return: proxies differ in how they read them.
        if not colon or not name or _NO_NAME.search(name) or b"\r" in value:
            raise BadRequestError
        name = name.lower()
        if name not in headers:
            headers[name] = value
        elif name in _FRAMING:
            raise BadRequestError
    minor = int(found[2])
    connection = headers.get(b"connection", b"").lower()
    keep_alive = connection != b"close" if minor else connection == b"keep-alive"
    path, target = _split_uri(uri)
    return Request(method.decode("latin-1"), path, target, headers, keep_alive=keep_alive, minor=minor)


def _split_uri(uri: bytes) -> tuple[str, str]:
    """The path, and the path with query and fragment, by RFC 3986 (evhttp_uri_parse)."""
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
        # The text before the colon is not a scheme, and a relative path must not have a colon there.
        raise BadRequestError
    return path, before + hash_sign + fragment


def error_page(status: int) -> Response:
    """Libevent's page for an HTTP error, after which the connection closes (evhttp_send_error)."""
    phrase = reason(status)
    body = (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n<H1>{phrase}</H1>\n</BODY></HTML>\n".encode()
    )
    return Response(status, body, HTML_TYPE, close=True)


def reason(status: int) -> str:
    """The reason phrase of a status."""
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
    """A response as bytes on the wire."""
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
