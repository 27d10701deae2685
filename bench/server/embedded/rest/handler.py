"""The REST endpoint: from URLs and bodies to requests, from answers and errors to bodies (http_rest_api_handler.cc)."""

import re
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from bench.server.embedded.api import examples, predict
from bench.server.embedded.api.metadata import metadata_json, status_json
from bench.server.embedded.base import metrics
from bench.server.embedded.base.limits import INT64_MAX
from bench.server.embedded.base.status import Code, StatusError, faults_are_internal, http_status, invalid_argument
from bench.server.embedded.base.unpacking import GZIP_BITS, NotPackedError, UnpackedTooLargeError, unpack
from bench.server.embedded.manager.model_manager import ModelManager
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.models.signatures import DEFAULT_SIGNATURE
from bench.server.embedded.net.http_message import DEFAULT_TYPE, Request, Response, error_page
from bench.server.embedded.rest import json_fast
from bench.server.embedded.rest.json_examples import classification_request, regression_request
from bench.server.embedded.rest.json_reader import JsonObject
from bench.server.embedded.rest.json_request import parse_object, predict_inputs, signature_name
from bench.server.embedded.rest.json_response import classification_answer, predict_answer, regression_answer
from bench.server.embedded.rest.json_writer import LONGEST_ECHO, quoted

_JSON: Final = "application/json"
# The methods that Serving allows in libevent (evhttp_server.cc).
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_DISPATCHED: Final = re.compile(r"(?i:/v1/).*")
_SPEC: Final = r"(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?"
_PREDICTION: Final = re.compile(r"(?i)/v1/models/([^/:]+)" + _SPEC + r":(classify|regress|predict)")
_STATUS: Final = re.compile(r"(?i)/v1/models(?:/([^/:]+))?" + _SPEC + r"(?:\/(metadata))?")
# Lists and objects of a body: each takes some hundred bytes in memory and two in the body.
_MAX_CONTAINERS: Final = 1_000_000
# Commas and backslashes of a body that the exact reader reads, in Python: up to two seconds.
_MAX_EXACT: Final = 250_000
# Bytes of an error: what it repeats of the body may be a name of any length.
_LONGEST_ERROR: Final = LONGEST_ECHO + 4096
_ORIGIN: Final = re.compile(rb"https?://")
_CORS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)


@dataclass(frozen=True, slots=True)
class RestOptions:
    """Options of the endpoint.

    Args:
        timeout: seconds that a request may run.
        prometheus_path: path of the metrics page; None for no page.
        cors: whether answers have CORS headers.
        check_method: whether a signature's method name must match the call.
        max_unpacked: bytes of the largest body that comes compressed.
    """

    timeout: float = 30.0
    prometheus_path: str | None = None
    cors: bool = False
    check_method: bool = False
    max_unpacked: int = 16 << 20


@dataclass(slots=True)
class _Call:
    """The parts of a request's URL."""

    model: str = ""
    version: int | None = None
    label: str | None = None
    api: str = ""


class RestEndpoint:
    """Answers HTTP requests.

    Args:
        manager: finds the models.
        options: see RestOptions.
    """

    def __init__(self, manager: ModelManager, options: RestOptions) -> None:
        self._manager = manager
        self._options = options
        self._apis = {"predict": self._predict, "classify": self._classify, "regress": self._regress}

    def handle(self, request: Request) -> Response:
        """The answer to a request; never raises."""
        if request.method not in _METHODS:
            return error_page(501)
        if request.path == self._options.prometheus_path:
            return self._metrics_page(request)
        if not _DISPATCHED.fullmatch(request.target):
            return error_page(404)
        started = time.perf_counter()
        call = _Call()
        try:
            response = self._respond(request, call)
            code = Code.OK
            metrics.REQUEST_LATENCY.observe((call.model, call.api, "REST"), started)
        except StatusError as error:
            code = error.code
            response = error.response if isinstance(error, _EmptyError) else _error_response(error)
        metrics.REQUEST_COUNT.add((call.model, code.name))
        if self._options.cors:
            response.headers = _CORS
        return response

    def _metrics_page(self, request: Request) -> Response:
        if request.target != self._options.prometheus_path:
            text = f"Unexpected path: {request.target}. Should be {self._options.prometheus_path}"
            return Response(400, text.encode(), "text/plain")
        return Response(200, metrics.page(), "text/plain")

    @faults_are_internal
    def _respond(self, request: Request, call: _Call) -> Response:
        if request.method == "OPTIONS":
            if not _ORIGIN.search(request.headers.get(b"origin", b"")):
                raise _EmptyError(Code.FAILED_PRECONDITION)
            return Response(200)
        found = None
        if request.method == "POST":
            found = _PREDICTION.fullmatch(request.target)
        elif request.method == "GET":
            found = _STATUS.fullmatch(request.target)
        if found:
            _parse_call(call, found)
        return Response(200, self._body(request, call, found is not None), _JSON)

    def _body(self, request: Request, call: _Call, well_formed: bool) -> bytes:
        if not well_formed:
            raise _malformed(request)
        if request.method == "GET":
            if not call.model:
                raise invalid_argument("Missing model name in request.")
            wants_metadata, call.api = call.api == "metadata", ""
            return self._metadata(call) if wants_metadata else self._status(call)
        # The URL's pattern ignores case, the names of the calls do not.
        answer = self._apis.get(call.api)
        if answer is None:
            raise _malformed(request)
        body = _unpacked(request, self._options.max_unpacked)
        _check_containers(body)
        return answer(call, body)

    def _predict(self, call: _Call, body: bytes) -> bytes:
        fast = json_fast.read(body)
        if fast is None:
            return self._predict_exactly(call, body)
        with self._manager.servable(call.model, call.version, call.label) as servable:
            signature = servable.signatures.get(fast.signature or DEFAULT_SIGNATURE)
            inputs = json_fast.predict_inputs(fast, signature.inputs) if signature and signature.inputs else None
            if signature and inputs is not None:
                outputs = predict.predict(servable, signature, inputs, (), self._caller(), self._options.check_method)
                return predict_answer(outputs, fast.layout)
        return self._predict_exactly(call, body)

    def _predict_exactly(self, call: _Call, body: bytes) -> bytes:
        document = _exactly(body)
        name = signature_name(document)
        with self._manager.servable(call.model, call.version, call.label) as servable:
            signature = servable.signatures.get(name or DEFAULT_SIGNATURE)
            if signature is None:
                raise invalid_argument(
                    f'Serving signature name: "{name or DEFAULT_SIGNATURE}" not found in signature def'
                )
            layout, inputs = predict_inputs(document, signature.input_types, name)
            outputs = predict.predict(servable, signature, inputs, (), self._caller(), self._options.check_method)
            return predict_answer(outputs, layout)

    def _classify(self, call: _Call, body: bytes) -> bytes:
        request = classification_request(_exactly(body))
        with self._manager.servable(call.model, call.version, call.label) as servable:
            result = examples.classify(servable, request, self._caller(), self._options.check_method)
        return classification_answer(
            [(one.label.encode(), one.score) for one in example.classes] for example in result.classifications
        )

    def _regress(self, call: _Call, body: bytes) -> bytes:
        request = regression_request(_exactly(body))
        with self._manager.servable(call.model, call.version, call.label) as servable:
            result = examples.regress(servable, request, self._caller(), self._options.check_method)
        return regression_answer([one.value for one in result.regressions])

    def _metadata(self, call: _Call) -> bytes:
        with self._manager.servable(call.model, call.version, call.label) as servable:
            return metadata_json(servable)

    def _status(self, call: _Call) -> bytes:
        # The label is ignored: Serving asks has_version().
        return status_json(self._manager.statuses(call.model, call.version))

    def _caller(self) -> Caller:
        return Caller(self._options.timeout)


def _malformed(request: Request) -> StatusError:
    return invalid_argument(f"Malformed request: {request.method} {request.target}")


def _error_response(error: StatusError) -> Response:
    return Response(http_status(error.code), b'{\n    "error": ' + quoted(error.raw[:_LONGEST_ERROR]) + b"\n}", _JSON)


class _EmptyError(StatusError):
    """An error whose answer has an empty body."""

    def __init__(self, code: Code, content_type: str = DEFAULT_TYPE) -> None:
        super().__init__(code, "")
        self.response = Response(400, content_type=content_type)


def _parse_call(call: _Call, found: "re.Match[str]") -> None:
    """Sets name, version and label from a matching URL (ParseModelInfo).

    Raises:
        _EmptyError: the version exceeds 64 bits; Serving answers this without a text.
    """
    name, version, label, api = found.groups()
    call.model = _decoded(name or "")
    call.api = api or ""
    if version is not None:
        # Twenty digits exceed 64 bits; Python refuses to convert very long texts.
        number = int(version.lstrip("0")[:20] or "0")
        if number > INT64_MAX:
            raise _EmptyError(Code.INVALID_ARGUMENT, _JSON)
        call.version = number
    if label is not None:
        call.label = _decoded(label)


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode(errors="surrogateescape")


def _check_containers(body: bytes) -> None:
    if len(body) > _MAX_CONTAINERS and (count := body.count(b"[") + body.count(b"{")) > _MAX_CONTAINERS:
        raise StatusError(Code.RESOURCE_EXHAUSTED, f"the body has {count} lists and objects; {_MAX_CONTAINERS} at most")


def _exactly(body: bytes) -> JsonObject:
    """The document that the exact reader finds in a body."""
    if len(body) > _MAX_EXACT and (count := body.count(b",") + body.count(b"\\")) > _MAX_EXACT:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED,
            f"the body has {count} commas and backslashes; {_MAX_EXACT} at most where it is not a plain :predict body",
        )
    return parse_object(body)


def _unpacked(request: Request, most: int) -> bytes:
    """The body without its gzip coding; empty, as in Serving, if it is not valid gzip or too large."""
    if b"gzip" not in request.headers.get(b"content-encoding", b"") or not request.body:
        return request.body
    try:
        unpacked = unpack(request.body, GZIP_BITS, most)
    except (NotPackedError, UnpackedTooLargeError):
        return b""
    return unpacked.data if unpacked.whole else b""
