"""What releases of TensorFlow Serving after 2.15 answer differently, as their sources say: the clients take both.

2.18 cuts what an error repeats of a request after about 256 bytes, wherever that is; from 2.19 on outputs over gRPC may
come as raw content (`--enable_serialization_as_tensor_content`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE
from bench.load.engine.checker import Checker
from bench.load.engine.payloads import request_sentences
from bench.results.records import WrongKind
from bench.serving import json_codec
from bench.serving.errors import Rejected
from bench.serving.grpc_client import GrpcClient
from bench.serving.messages import PredictResponse, TensorProto, TensorShapeProto, data_type
from bench.serving.rest import RestClient
from bench.serving.tensors import to_proto
from bench.serving.types import PredictRequest
from tests.support.programmed_servers import grpc_server, rest_server
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(20)
INDEX = 2
REQUEST = PredictRequest({"x": np.array([1.0], np.float32)}, "score")
CUT = ("not a number: " + "é" * 256).encode()[:-1]


def typed(array: Any) -> Any:
    """As 2.15 writes an output; `to_proto` writes raw content."""
    shape = TensorShapeProto(dim=[{"size": size} for size in array.shape])
    return TensorProto(dtype=data_type("DT_FLOAT"), tensor_shape=shape, float_val=array.ravel().tolist())


def message(outputs: dict[str, Any], form: Callable[[Any], Any]) -> Any:
    found = PredictResponse(model_spec={"name": "bert", "version": {"value": 3}})
    for name, array in outputs.items():
        found.outputs[name].CopyFrom(form(array))
    return found.SerializeToString()


def rows(outputs: dict[str, Any]) -> Any:
    """The answer to `instances`: a value a row, or an object a row where there are several outputs."""
    if len(outputs) == 1:
        (values,) = outputs.values()
        return json_codec.dumps({"predictions": values})
    each = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return json_codec.dumps({"predictions": each})


def columns(outputs: dict[str, Any]) -> Any:
    """The answer to `inputs`: the values themselves, or an object of outputs."""
    (first, *others) = outputs.values()
    return json_codec.dumps({"outputs": outputs if others else first})


FORMS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "typed": ("grpc", lambda outputs: message(outputs, typed)),
    "content": ("grpc", lambda outputs: message(outputs, to_proto)),
    "rows": ("rest", rows),
    "columns": ("rest", columns),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("signature", [COMPACT_SIGNATURE, ARTICLE_SIGNATURE])
def test_answers_are_checked_in_every_form(signature: str, form: str) -> None:
    protocol, body = FORMS[form]
    key = GoldenChecker(GOLDEN, request_sentences(GOLDEN, 2), signature)
    right = {name: np.asarray(values, np.float32) for name, values in key.outputs(INDEX).items()}
    checker = Checker(key)
    assert checker.check(protocol, INDEX, body(right))[0] is None
    wrong = {name: values.copy() for name, values in right.items()}
    for values in wrong.values():
        values[0, 0] = -99.0
    assert checker.check(protocol, INDEX, body(wrong))[0] is WrongKind.DRIFT


@pytest.mark.parametrize("form", [typed, to_proto])
def test_outputs_over_grpc_in_both_forms(form: Callable[[Any], Any]) -> None:
    output = np.array([[-1.5, -2.5]], np.float32)
    with (
        grpc_server(lambda *_: message({"log_prob": output}, form)) as address,
        GrpcClient(address) as client,
    ):
        response = client.predict(REQUEST, 5)
    assert response.outputs["log_prob"].tolist() == output.tolist()
    assert response.version == 3


ERRORS = {
    "inside a character": b'{"error": "' + CUT + b'"}',
    "before the text's end": b'{"error": "' + CUT,
    "inside an escape": b'{"error": "not a number: \\u00"}',
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_whose_text_is_cut_is_an_error_of_one_line(name: str) -> None:
    with (
        rest_server(lambda *_: (400, ERRORS[name])) as url,
        RestClient(url) as client,
        pytest.raises(Rejected) as caught,
    ):
        client.predict(REQUEST, 5)
    assert caught.value.code == "400"
    text = str(caught.value)
    assert "\n" not in text
    assert "not a number" in text
    assert len(text) < 400


def test_a_state_without_the_empty_message_of_a_version_that_is_well() -> None:
    """Serving writes it; another serializer of the same message leaves empty texts out."""
    body = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}}]}'
    (status,) = json_codec.version_status(body)
    assert (status.version, status.state, status.error_message) == (1, "AVAILABLE", "")
