"""A unary gRPC call as an HTTP/2 request, and its answer (grpc/doc/PROTOCOL-HTTP2.md), without I/O."""

from collections.abc import Sequence
from typing import Final, NoReturn

from bench.core.units import format_bytes
from bench.serving.errors import InvalidResponse
from bench.serving.grpc_status import code_name, one_line, raise_for_status
from bench.serving.headers import NO_HEADERS, Headers
from bench.serving.http2.client import Request
from bench.serving.http2.frames import CANCEL, ENHANCE_YOUR_CALM, REFUSED_STREAM
from bench.serving.http2.grpc_wire import PREFIX, is_one_message, percent_decoded, timeout_header
from bench.serving.http2.hpack import Header, encode

_AGENT: Final = b"bertbench"
# The status that a reset of the stream stands for; other codes are a protocol error.
_RESETS: Final = {REFUSED_STREAM: "UNAVAILABLE", CANCEL: "CANCELLED", ENHANCE_YOUR_CALM: "RESOURCE_EXHAUSTED"}
# The same for an HTTP status of a proxy (grpc/doc/http-grpc-status-mapping.md).
_STATUSES: Final = {
    b"401": "UNAUTHENTICATED",
    b"403": "PERMISSION_DENIED",
    b"429": "UNAVAILABLE",
    b"502": "UNAVAILABLE",
    b"503": "UNAVAILABLE",
    b"504": "UNAVAILABLE",
}


def call_block(method: str, authority: str, timeout: float, metadata: Sequence[Header], *, secure: bool) -> bytes:
    """The header block of a call.

    Args:
        method: `/package.Service/Method`.
        authority: host and port.
        timeout: seconds that the call may take.
        metadata: names in lower case.
        secure: whether the connection is encrypted.
    """
    return encode(
        [
            (b":method", b"POST"),
            (b":scheme", b"https" if secure else b"http"),
            (b":path", method.encode()),
            (b":authority", authority.encode()),
            (b"te", b"trailers"),
            (b"grpc-timeout", timeout_header(timeout)),
            (b"content-type", b"application/grpc"),
            (b"user-agent", _AGENT),
            *metadata,
        ]
    )


def answer_of(request: Request, address: str, timeout: float, headers: Headers = NO_HEADERS) -> bytes:
    """The message that answers a call.

    Args:
        request: the call, which has ended.
        address: the server's, for error messages.
        timeout: the call's timeout, seconds.
        headers: those of the call, whose values are taken out of the server's text.

    Raises:
        ServingError: the call failed.
    """
    if request.too_large:
        size = format_bytes(len(request.answer))
        raise InvalidResponse(f"the response from {address} exceeds {size}; send fewer sentences or raise the limit")
    if request.reset is not None:
        raise_for_reset(request.reset, address, timeout)
    trailers = dict(request.trailers or ())
    status = trailers.get(b"grpc-status")
    if status is None:
        answered = dict(request.headers or ()).get(b":status", b"none")
        raise_for_http(headers.redact_bytes(answered), address, timeout)
    if status != b"0":
        text = percent_decoded(trailers.get(b"grpc-message", b"")).decode("utf-8", "replace")
        name = code_name(int(status)) if status.isdigit() and len(status) <= 2 else "UNKNOWN"
        raise_for_status(name, one_line(headers.redact(text)), address, timeout)
    body = request.answer
    if not is_one_message(body) or body[0]:
        raise InvalidResponse(f"the answer from {address} is not one uncompressed message; is this TensorFlow Serving?")
    return bytes(body[PREFIX:])


def broken(reason: object, address: str) -> InvalidResponse:
    """The error of a call whose server violates the protocol."""
    return InvalidResponse(f"invalid answer from {address} ({reason}); is this a gRPC port?")


def raise_for_reset(code: int, address: str, timeout: float) -> NoReturn:
    """Raises the ServingError of a stream or connection that the server ended with an HTTP/2 error."""
    if code not in _RESETS:
        raise broken(f"the server reset the stream with HTTP/2 error {code}", address)
    raise_for_status(_RESETS[code], f"the server reset the stream with HTTP/2 error {code}", address, timeout)


def raise_for_http(status: bytes, address: str, timeout: float) -> NoReturn:
    """Raises the ServingError of an answer without a gRPC status, such as a proxy's."""
    text = f"HTTP status {status.decode('latin-1')} without a gRPC status"
    if status not in _STATUSES:
        raise broken(text, address)
    raise_for_status(_STATUSES[status], text, address, timeout)
