"""The REST client, on `requests` with keep-alive."""

import http.client
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlsplit

import requests
import urllib3

from bench.core.errors import in_words, printable
from bench.serving import json_codec
from bench.serving.access import DIRECT, Access
from bench.serving.bounded_http import BoundedAdapter, bounded, time_left
from bench.serving.content_coding import check_size, plain_body
from bench.serving.errors import (
    CREDENTIALS_ADVICE,
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    OwnLimit,
    Rejected,
    ServerFailed,
    ServingError,
    Unavailable,
    lack_of,
    no_tls,
    redacting,
)
from bench.serving.headers import NO_HEADERS, Headers
from bench.serving.json_codec import BodyForm
from bench.serving.tls import client_context
from bench.serving.types import MAX_RESPONSE_BYTES, ModelMetadata, PredictRequest, PredictResponse, VersionStatus
from bench.workload.trace_context import HEADER

_CHUNK: Final = 1 << 16
# Bytes; a version has a few hundred.
_MAX_STATUS: Final = 1_000_000
_OK: Final = 200
_UNAVAILABLE: Final = (429, 502, 503)
_DEADLINE: Final = (408, 504)
# Exceptions for an answer that is truncated or not valid.
_BROKEN: Final = (
    requests.exceptions.ChunkedEncodingError,
    http.client.HTTPException,
    urllib3.exceptions.InvalidChunkLength,
    # Values of Content-Length that contradict each other.
    urllib3.exceptions.InvalidHeader,
)


def predict_path(request: PredictRequest) -> str:
    """The path of a POST to `:predict`, with version or label."""
    path = _model_path(request.model)
    if request.version is not None:
        path += f"/versions/{request.version}"
    elif request.label is not None:
        path += f"/labels/{quote(request.label, safe='')}"
    return path + ":predict"


def _model_path(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"


def raise_for_status(status: int, body: bytes, headers: Headers = NO_HEADERS) -> None:
    """Returns for HTTP status 200.

    Args:
        status: of the answer.
        body: of the answer.
        headers: those of the request, whose values are taken out of the text.

    Raises:
        ServingError: any other status, with the text of the body.
    """
    if status == _OK:
        return
    # Before it is cut, and in the text, where a value is no longer escaped.
    with redacting(headers):
        _raise_for_error(status, headers.redact_bytes(body))


def _raise_for_error(status: int, body: bytes) -> NoReturn:
    if status < 400:
        raise InvalidResponse(
            f"HTTP {status} where TensorFlow Serving answers directly; check the address", str(status)
        )
    text = json_codec.error_text(body) or "no reason given"
    code = str(status)
    if status in _UNAVAILABLE:
        raise Unavailable(
            f"the server is overloaded or not ready (HTTP {status}: {text}); send less or try later", code
        )
    if status in _DEADLINE:
        raise DeadlineExceeded(f"the server ran out of time (HTTP {status}: {text}); allow more time", code)
    if status in (401, 403, 407):
        raise Rejected(f"the server refused the request (HTTP {status}: {text}); {CREDENTIALS_ADVICE}", code, text)
    if status < 500:
        raise Rejected(
            f"the server refused the request (HTTP {status}: {text}); check model, signature and inputs", code, text
        )
    if status == 501:
        raise Rejected(f"the server does not implement this (HTTP {status}: {text})", code)
    raise ServerFailed(f"the server failed (HTTP {status}: {text}); look at its log", code)


class RestClient:
    """A `ServingClient` over REST. One connection, kept alive; not for use from two threads at once.

    Proxies and credentials in the environment are not used: they would be measured with the server.

    Args:
        url: scheme, host, port and path prefix, such as `http://127.0.0.1:8501`.
        access: headers and certificates.
        form: layout of the tensors in a body.
        compressed: whether the bodies that are given are gzipped.
        max_response: size limit of a response, bytes, before and after decoding.
        context: TLS context that clients share; None for one of its own.

    Raises:
        UsageError: the certificates cannot be used.
    """

    protocol = "rest"

    def __init__(
        self,
        url: str,
        access: Access = DIRECT,
        form: BodyForm = BodyForm.ROW,
        max_response: int = MAX_RESPONSE_BYTES,
        *,
        compressed: bool = False,
        context: Any = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.form = form
        self._access = access
        self._max_response = max_response
        self._session = requests.Session()
        if context is None and self.url.startswith("https:"):
            context = client_context(access.tls)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter(context))
        self._session.trust_env = False
        # No cookies, as in the fast client: a balancer may bind a connection to one server by them.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # As bytes, so that values leave as they are.
        given = {name: value.encode("latin-1") for name, value in access.headers.revealed()}
        self._session.headers.update({"Content-Type": "application/json", "Accept-Encoding": "identity", **given})
        if compressed:
            self._session.headers["Content-Encoding"] = "gzip"

    def predict(self, request: PredictRequest, timeout: float) -> PredictResponse:
        body = json_codec.predict_body(request, self.form)
        answer = self.post(predict_path(request), body, timeout)
        with redacting(self._access.headers):
            outputs = json_codec.predict_outputs(answer)
        return PredictResponse(outputs, None, len(body), len(answer))

    def post(self, path: str, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        """The body of a 200 answer to a POST of `body`; `traceparent` is the header of that name."""
        more = {HEADER: traceparent} if traceparent else {}
        return self._call("POST", path, body, timeout, self._max_response, more)

    def get(self, path: str, timeout: float) -> bytes:
        """The body of a 200 answer to a GET."""
        return self._call("GET", path, None, timeout, self._max_response)

    def status(self, model: str, timeout: float) -> tuple[VersionStatus, ...]:
        most = min(self._max_response, _MAX_STATUS)
        answer = self._call("GET", _model_path(model), None, timeout, most)
        with redacting(self._access.headers):
            versions = json_codec.version_status(answer)
        return tuple(version.without(self._access.headers) for version in versions)

    def metadata(self, model: str, timeout: float) -> ModelMetadata:
        answer = self.get(f"{_model_path(model)}/metadata", timeout)
        with redacting(self._access.headers):
            return json_codec.model_metadata(answer)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> "RestClient":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None,
        timeout: float,
        most: int,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        try:
            with (
                redacting(self._access.headers),
                bounded(timeout),
                self._session.request(
                    method,
                    self.url + path,
                    data=body,
                    headers=headers,
                    timeout=timeout,
                    stream=True,
                    allow_redirects=False,
                ) as response,
            ):
                answer = _read(response, most)
                raise_for_status(response.status_code, answer, self._access.headers)
                return answer
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            raise _mapped(error, self.url, timeout, self._access.headers) from error


def _read(response: requests.Response, most: int) -> bytes:
    """The decoded body.

    Raises:
        InvalidResponse: it is too large, has a coding that is not supported, or is not valid in it.
        TimeoutError: the time is over.
    """
    body = bytearray()
    # The library takes a body that ends within a coding for a whole one.
    while part := response.raw.read1(_CHUNK, decode_content=False):
        body += part
        check_size(len(body), most)
        time_left()
    coding = response.headers.get("Content-Encoding", "")
    if not coding:
        return bytes(body)
    return plain_body(bytes(body), coding, most, time_left, good=response.status_code == _OK)


def _mapped(error: Exception, url: str, timeout: float, headers: Headers) -> ServingError:
    """The ServingError for a foreign exception, without the values of headers."""
    host = urlsplit(url).netloc
    reason = _reason(error, headers)
    if (lack := lack_of(_causes(error))) is not None:
        return OwnLimit(host, lack)
    timeouts = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return no_tls(host, reason)
    if isinstance(error, timeouts) or (isinstance(error, requests.ConnectionError) and "timed out" in str(error)):
        return DeadlineExceeded(f"no answer from {host} within {timeout:g} s; allow more time or send less")
    if any(isinstance(cause, _BROKEN) and not isinstance(cause, ConnectionError) for cause in _causes(error)):
        return InvalidResponse(f"invalid answer from {host} ({reason}); is this TensorFlow Serving?")
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.ProtocolError | OSError):
        return ConnectFailed(f"no connection to {host} ({reason}); is the server up?")
    return ServingError(f"the request to {host} could not be made ({reason}); check the address")


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and its causes, outermost first."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _reason(error: BaseException, headers: Headers) -> str:
    """The innermost cause, on one line."""
    cause = _causes(error)[-1]
    return printable(headers.redact(in_words(cause))) if isinstance(cause, Exception) else type(cause).__name__
