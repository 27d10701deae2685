"""The REST client, on `requests` with keep-alive."""

import http.client
from collections.abc import Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlsplit

import requests
import urllib3

from bench.core.errors import in_words, printable
from bench.core.units import format_bytes
from bench.serving import json_codec
from bench.serving.bounded_http import BoundedAdapter, bounded, time_left
from bench.serving.content_coding import check_coding
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Rejected,
    ServerFailed,
    ServingError,
    Unavailable,
)
from bench.serving.json_codec import BodyForm
from bench.serving.tls import TlsOptions
from bench.serving.types import MAX_RESPONSE_BYTES, ModelMetadata, PredictRequest, PredictResponse, VersionStatus

_CHUNK: Final = 1 << 16
# Bytes; a version has a few hundred.
_MAX_STATUS: Final = 1_000_000
_OK: Final = 200
_UNAVAILABLE: Final = (429, 502, 503)
_DEADLINE: Final = (408, 504)
# Exceptions for an answer that is truncated or not valid.
_BROKEN: Final = (
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.DecodeError,
    http.client.HTTPException,
    urllib3.exceptions.InvalidChunkLength,
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


def raise_for_status(status: int, body: bytes) -> None:
    """Returns for HTTP status 200.

    Raises:
        ServingError: any other status, with the text of the body.
    """
    if status == _OK:
        return
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
        url: scheme, host and port, such as `http://127.0.0.1:8501`.
        form: layout of the tensors in a body.
        headers: sent with every request.
        tls: certificates for `https`.
        max_response: size limit of a decoded response, bytes.
    """

    protocol = "rest"

    def __init__(
        self,
        url: str,
        form: BodyForm = BodyForm.ROW,
        headers: Mapping[str, str] | None = None,
        tls: TlsOptions | None = None,
        max_response: int = MAX_RESPONSE_BYTES,
    ) -> None:
        self.url = url.rstrip("/")
        self.form = form
        self._max_response = max_response
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, BoundedAdapter())
        self._session.trust_env = False
        self._session.headers.update({"Content-Type": "application/json", **(headers or {})})
        tls = tls or TlsOptions()
        self._session.verify = str(tls.ca) if tls.ca else True
        if tls.cert and tls.key:
            self._session.cert = (str(tls.cert), str(tls.key))

    def predict(self, request: PredictRequest, timeout: float) -> PredictResponse:
        body = json_codec.predict_body(request, self.form)
        answer = self.post(predict_path(request), body, timeout)
        return PredictResponse(json_codec.predict_outputs(answer), None, len(body), len(answer))

    def post(self, path: str, body: bytes, timeout: float) -> bytes:
        """The body of a 200 answer to a POST of `body`."""
        return self._call("POST", path, body, timeout, self._max_response)

    def get(self, path: str, timeout: float) -> bytes:
        """The body of a 200 answer to a GET."""
        return self._call("GET", path, None, timeout, self._max_response)

    def status(self, model: str, timeout: float) -> tuple[VersionStatus, ...]:
        most = min(self._max_response, _MAX_STATUS)
        return json_codec.version_status(self._call("GET", _model_path(model), None, timeout, most))

    def metadata(self, model: str, timeout: float) -> ModelMetadata:
        return json_codec.model_metadata(self.get(f"{_model_path(model)}/metadata", timeout))

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> "RestClient":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _call(self, method: str, path: str, body: bytes | None, timeout: float, most: int) -> bytes:
        try:
            with (
                bounded(timeout),
                self._session.request(
                    method, self.url + path, data=body, timeout=timeout, stream=True, allow_redirects=False
                ) as response,
            ):
                answer = _read(response, most)
                raise_for_status(response.status_code, answer)
                return answer
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, UnicodeError) as error:
            _raise_mapped(error, self.url, timeout)


def _read(response: requests.Response, most: int) -> bytes:
    """The decoded body.

    Raises:
        InvalidResponse: it is too large, or has a coding that is not supported.
        TimeoutError: the time is over.
    """
    if response.status_code == _OK:
        check_coding(response.headers.get("Content-Encoding", ""), urllib3.HTTPResponse.CONTENT_DECODERS)
    body = bytearray()
    while part := response.raw.read1(_CHUNK, decode_content=True):
        body += part
        if len(body) > most:
            raise InvalidResponse(
                f"the response has more than {format_bytes(most)}; send fewer sentences or raise the limit"
            )
        time_left()
    return bytes(body)


def _raise_mapped(error: Exception, url: str, timeout: float) -> NoReturn:
    """Raises the ServingError for a foreign exception."""
    host = urlsplit(url).netloc
    timeouts = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        raise ConnectFailed(f"no trusted connection to {host} ({_reason(error)}); check the certificates") from error
    if isinstance(error, requests.ConnectTimeout | urllib3.exceptions.ConnectTimeoutError):
        raise ConnectFailed(f"nothing answers at {host} within {timeout:g} s; is the server up?") from error
    if isinstance(error, timeouts) or (isinstance(error, requests.ConnectionError) and "timed out" in str(error)):
        raise DeadlineExceeded(f"no answer from {host} within {timeout:g} s; allow more time or send less") from error
    if any(isinstance(cause, _BROKEN) and not isinstance(cause, ConnectionError) for cause in _causes(error)):
        raise InvalidResponse(f"invalid answer from {host} ({_reason(error)}); is this TensorFlow Serving?") from error
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.ProtocolError | OSError):
        raise ConnectFailed(f"no connection to {host} ({_reason(error)}); is the server up?") from error
    raise ServingError(f"the request to {host} could not be made ({_reason(error)}); check the address") from error


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and its causes, outermost first."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _reason(error: BaseException) -> str:
    """The innermost cause, on one line."""
    cause = _causes(error)[-1]
    return printable(in_words(cause)) if isinstance(cause, Exception) else type(cause).__name__
