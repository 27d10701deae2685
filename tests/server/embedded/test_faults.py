"""A fault of the server itself fails one request: INTERNAL, counted as such, its trace printed."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from tensorflow_serving.apis import predict_pb2

from bench.server.embedded.base import metrics
from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.grpc.methods import GrpcMethods
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.http_message import Request
from bench.server.embedded.rest.handler import RestEndpoint, RestOptions


class Broken:
    """Stands in for the models; whatever is asked of it is a fault."""

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


def counted(model: str) -> list[str]:
    return [line for line in metrics.page().decode().splitlines() if "request_count" in line and f'"{model}"' in line]


def test_over_rest(capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = RestEndpoint(Broken(), RestOptions())  # type: ignore[arg-type]
    target = "/v1/models/faulty-rest:predict"
    answer = endpoint.handle(Request("POST", target, target, {}, b'{"instances": [1]}'))
    assert answer.status == 500
    assert b"the server failed on this request: ZeroDivisionError" in answer.body
    assert "Traceback" in capsys.readouterr().err
    assert ["INTERNAL" in line for line in counted("faulty-rest")] == [True]


@pytest.mark.parametrize("part", [b"[],", b"{},"])
def test_a_body_of_very_many_lists(part: bytes) -> None:
    endpoint = RestEndpoint(Broken(), RestOptions())  # type: ignore[arg-type]
    target = "/v1/models/m:predict"
    body = b'{"instances": [' + part * 1_000_000 + b"1]}"
    for headers, sent in (({}, body), ({b"content-encoding": b"gzip"}, gzip.compress(body, 1))):
        answer = endpoint.handle(Request("POST", target, target, headers, sent))
        assert answer.status == 429
        assert b"lists and objects; 1000000 at most" in answer.body


@pytest.mark.parametrize("api", ["predict", "classify", "regress"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"\\u0069nputs": [' + b"0," * 300_000 + b"0]}",
        b'{"inputs": [' + b"0," * 300_000 + b"NaN]}",
        b'{"inputs": "' + b"\\u0061" * 300_000 + b'"}',
    ],
)
def test_a_body_that_takes_the_exact_reader_long(api: str, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.server.embedded.rest.handler.parse_object", lambda _: pytest.fail("it is read"))
    endpoint = RestEndpoint(Broken(), RestOptions())  # type: ignore[arg-type]
    target = f"/v1/models/m:{api}"
    answer = endpoint.handle(Request("POST", target, target, {}, body))
    assert answer.status == 429
    assert b"commas and backslashes; 250000 at most" in answer.body


def test_many_plain_numbers_are_no_matter() -> None:
    """The models are asked, which are broken here."""
    endpoint = RestEndpoint(Broken(), RestOptions())  # type: ignore[arg-type]
    target = "/v1/models/m:predict"
    body = b'{"inputs": [' + b"0," * 300_000 + b"0]}"
    assert endpoint.handle(Request("POST", target, target, {}, body)).status == 500


@pytest.mark.parametrize("body", [b'"%b"', b'["%b"]', b'{"signature_name": "%b", "instances": [1]}'])
def test_an_error_repeats_so_much_of_a_body_and_no_more(body: bytes) -> None:
    class WithoutSignatures:
        @contextmanager
        def servable(self, *_: object) -> Iterator[Any]:
            yield SimpleNamespace(signatures={})

    endpoint = RestEndpoint(WithoutSignatures(), RestOptions())  # type: ignore[arg-type]
    target = "/v1/models/m:predict"
    answer = endpoint.handle(Request("POST", target, target, {}, body % (b"a" * (2 << 20))))
    assert answer.status == 400
    assert 1 << 20 < len(answer.body) < (1 << 20) + 8192


def test_over_grpc(capsys: pytest.CaptureFixture[str]) -> None:
    methods = GrpcMethods(Broken(), 4)  # type: ignore[arg-type]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "faulty-grpc"
    with pytest.raises(StatusError) as failed:
        methods.handle("/tensorflow.serving.PredictionService/Predict", request.SerializeToString(), Caller())
    assert failed.value.code is Code.INTERNAL
    assert "ZeroDivisionError" in failed.value.message
    assert "Traceback" in capsys.readouterr().err
    assert ["INTERNAL" in line for line in counted("faulty-grpc")] == [True]
