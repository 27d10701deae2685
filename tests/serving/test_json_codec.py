import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from bench.serving import json_codec
from bench.serving.errors import InvalidResponse
from bench.serving.json_codec import BodyForm
from bench.serving.types import PredictRequest, SignatureInfo, TensorInfo, VersionStatus

INPUTS = {"ids": np.array([[1, 2], [3, 4]], np.int32), "n": np.array([2, 1], np.int32)}


def test_row_form() -> None:
    body = json.loads(json_codec.predict_body(PredictRequest(INPUTS, "score")))
    assert body == {"signature_name": "score", "instances": [{"ids": [1, 2], "n": 2}, {"ids": [3, 4], "n": 1}]}


def test_columnar_form() -> None:
    body = json.loads(json_codec.predict_body(PredictRequest(INPUTS, "score"), BodyForm.COLUMNAR))
    assert body == {"signature_name": "score", "inputs": {"ids": [[1, 2], [3, 4]], "n": [2, 1]}}


def test_bodies_are_compact() -> None:
    assert b" " not in json_codec.predict_body(PredictRequest(INPUTS))


@pytest.mark.parametrize("bad", [{"a": np.zeros(2), "b": np.zeros(3)}, {"a": np.array(1.0)}, {}])
def test_row_form_needs_one_batch(bad: Any) -> None:
    with pytest.raises(ValueError, match="first dimension"):
        json_codec.predict_body(PredictRequest(bad))


def test_scalars_and_views_go_in_columnar_form() -> None:
    inputs = {"x": np.array(1.5), "y": np.arange(6).reshape(2, 3).T}
    assert json.loads(json_codec.predict_body(PredictRequest(inputs), BodyForm.COLUMNAR))["inputs"] == {
        "x": 1.5,
        "y": [[0, 3], [1, 4], [2, 5]],
    }


def test_strings_and_bytes() -> None:
    inputs = {"s": np.array([b"\xff\x00", "é"], object)}
    body = json.loads(json_codec.predict_body(PredictRequest(inputs), BodyForm.COLUMNAR))
    assert body["inputs"] == {"s": [{"b64": "/wA="}, "é"]}


@pytest.mark.parametrize("form", list(BodyForm))
def test_non_finite_inputs_are_serving_tokens(form: Any) -> None:
    body = json_codec.predict_body(PredictRequest({"x": np.array([np.nan, np.inf, -np.inf, 1], np.float32)}), form)
    assert all(token in body for token in (b"NaN", b"Infinity", b"-Infinity"))


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (b'{"predictions": [[0.5, 1.0], [2.0, 3.0]]}', {"": [[0.5, 1.0], [2.0, 3.0]]}),
        (b'{"predictions": [{"a": 1.0, "b": [2]}, {"a": 3.0, "b": [4]}]}', {"a": [1.0, 3.0], "b": [[2], [4]]}),
        (b'{"predictions": []}', {"": []}),
        (b'{"outputs": [[1.0]]}', {"": [[1.0]]}),
        (b'{"outputs": 3.0}', {"": 3.0}),
        (b'{"outputs": {"a": [1.0], "b": [[2]]}}', {"a": [1.0], "b": [[2]]}),
        (b'{"outputs": [{"b64": "/wA="}, "plain"]}', {"": [b"\xff\x00", "plain"]}),
        (b'{"outputs": [["a", "bc"]], "more": "text"}', {"": [["a", "bc"]]}),
        (b'{"outputs": [[1.5, 2.0]], "more": "text"}', {"": [[1.5, 2.0]]}),
        (b'{"outputs": "text"}', {"": "text"}),
        (b'{"predictions": [{"a": 1.0, "b": "x"}, {"a": 3.0, "b": "yz"}]}', {"a": [1.0, 3.0], "b": ["x", "yz"]}),
        (b'{"predictions": [{"a\\"": 1.0}, {"a\\"": 3.0}]}', {'a"': [1.0, 3.0]}),
    ],
)
def test_answers_of_both_forms(body: bytes, outputs: Any) -> None:
    read = json_codec.predict_outputs(body)
    assert {name: array.tolist() for name, array in read.items()} == outputs


def test_non_finite_answers_can_be_read() -> None:
    """Serving writes tokens that JSON does not have."""
    (values,) = json_codec.predict_outputs(b'{\n "predictions": [NaN, Infinity, -Infinity, 1.5\n ]\n}').values()
    assert math.isnan(values[0])
    assert values[1:].tolist() == [math.inf, -math.inf, 1.5]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>no</html>",
        b"[1]",
        b"3",
        b"null",
        b"{}",
        b'{"error": "no"}',
        b'{"predictions": [[1, 2], [3]]}',
        b'{"predictions": [{"a": 1}, {"b": 1}]}',
        b'{"predictions": 3, "x": 1',
        b'{"outputs": [{"b64": "*"}]}',
        b'{"predictions": [["a", "b"], ["c"]]}',
        b'{"predictions": [["a"], [["c"]]]}',
        json.dumps({"outputs": dict.fromkeys(map(str, range(101)), 0)}).encode(),
        json.dumps({"predictions": [dict.fromkeys(map(str, range(101)), 0)]}).encode(),
        b'{"predictions": [[1.0, NaN]',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_anything_else_is_an_invalid_response(body: bytes) -> None:
    with pytest.raises(InvalidResponse) as caught:
        json_codec.predict_outputs(body)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        {"predictions": ["x" * 20_000] + [""] * 10_000},
        {"outputs": {"a": [[1.5], ["x" * 20_000], *[[""]] * 10_000]}},
        {"predictions": [{"a": "x" * 20_000}] + [{"a": ""}] * 10_000},
        {"predictions": ["x" * 20_000] + [""] * 10_000, "model": {"name": "m", "labels": ["a", 'b"']}},
    ],
)
def test_one_long_text_does_not_make_all_as_long(value: Any) -> None:
    """60 kB of an answer took 800 MB."""
    body = json.dumps(value, separators=(",", ":")).encode()
    tracemalloc.start()
    try:
        ((name, array),) = json_codec.predict_outputs(body).items()
        assert tracemalloc.get_traced_memory()[1] < 100 * len(body)
    finally:
        tracemalloc.stop()
    assert name in ("", "a")
    assert array.dtype == object


@pytest.mark.parametrize("key", ["predictions", "outputs"])
@pytest.mark.parametrize("more", [{"model_spec": {"name": "m", "tags": ["a", 3]}}, {"trace": None}, {"id": "7"}])
def test_more_keys_in_an_answer_do_not_make_objects_of_its_numbers(
    key: str, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They took three times as long: texts outside the outputs counted as texts in them."""
    body = json.dumps({**more, key: [[1.5, 2.5]]}).encode()
    # What looks at each value, for a text among them.
    monkeypatch.setattr(np, "array", None)
    assert json_codec.predict_outputs(body)[""].tolist() == [[1.5, 2.5]]


def test_error_texts_are_one_short_line() -> None:
    assert json_codec.error_text(b'{"error": "a\\n  b"}') == "a b"
    assert json_codec.error_text(b"<h1>Not\nFound</h1>") == "<h1>Not Found</h1>"
    assert json_codec.error_text(b"") == ""
    assert json_codec.error_text(b'{"error": [1]}') == '{"error": [1]}'
    assert json_codec.error_text(b"[" * 1000 + b"]" * 1000) == "[" * 199 + "\N{HORIZONTAL ELLIPSIS}"
    assert len(json_codec.error_text(json.dumps({"error": "x" * 5000}).encode())) == 200


def test_model_status() -> None:
    body = b"""{"model_version_status": [{"version": "123", "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""}}]}"""
    assert json_codec.version_status(body) == (VersionStatus(123, "AVAILABLE"),)
    endless, numbered = body.replace(b'"123"', b"Infinity"), body.replace(b'"AVAILABLE"', b"30")
    for bad in (b"{}", b"[]", b'{"model_version_status": [{}]}', b'{"model_version_status": 3}', endless, numbered):
        with pytest.raises(InvalidResponse):
            json_codec.version_status(bad)


def test_model_metadata() -> None:
    shape = {"dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}], "unknown_rank": False}
    unknown = {"dim": [], "unknown_rank": True}
    signature = {
        "inputs": {"a": {"dtype": "DT_INT32", "tensor_shape": shape, "name": "a:0"}},
        "outputs": {"y": {"dtype": "DT_FLOAT", "tensor_shape": unknown, "name": "y:0"}},
        "method_name": "tensorflow/serving/predict",
    }
    value: Any = {
        "model_spec": {"name": "m", "signature_name": "", "version": "7"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    }
    metadata = json_codec.model_metadata(json.dumps(value).encode())
    assert (metadata.model, metadata.version) == ("m", 7)
    assert metadata.signatures["serving_default"] == SignatureInfo(
        "tensorflow/serving/predict",
        {"a": TensorInfo("a", "DT_INT32", (-1, 3))},
        {"y": TensorInfo("y", "DT_FLOAT", None)},
    )
    value["metadata"]["signature_def"]["signature_def"] = []
    for bad in (b'{"metadata": {}}', json.dumps(value).encode()):
        with pytest.raises(InvalidResponse):
            json_codec.model_metadata(bad)
