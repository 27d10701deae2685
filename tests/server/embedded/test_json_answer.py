"""Bodies of answers."""

import json

import numpy as np
import pytest

from bench.server.embedded.json_answer import classification_answer, predict_answer, regression_answer
from bench.server.embedded.json_request import Layout
from bench.server.embedded.status import StatusError
from bench.server.embedded.tensors import DT_STRING, DTYPES, Tensor
from bench.serving.protos import types_pb2


def tensor(values: object, dtype: int = types_pb2.DT_FLOAT) -> Tensor:
    array = np.array(values, DTYPES[dtype].array)
    return Tensor(dtype, array.shape, array.ravel())


def strings(*values: bytes) -> Tensor:
    return Tensor(DT_STRING, (len(values),), list(values))


@pytest.mark.parametrize(
    ("layout", "outputs", "answer"),
    [
        (Layout.ROW, [("y", tensor([1.5, 2]))], {"predictions": [1.5, 2.0]}),
        (Layout.ROW, [("y", tensor([[1], [2]])), ("z", tensor([3, 4], types_pb2.DT_INT32))],
         {"predictions": [{"y": [1.0], "z": 3}, {"y": [2.0], "z": 4}]}),
        (Layout.ROW, [("y", tensor([[], []]))], {"predictions": [[], []]}),
        (Layout.ROW, [("s", strings(b"a", b'"\n')), ("s_bytes", strings(b"\xff", b""))],
         {"predictions": [{"s": "a", "s_bytes": {"b64": "/w=="}}, {"s": '"\n', "s_bytes": {"b64": ""}}]}),
        (Layout.COLUMNAR, [("y", tensor(1.5))], {"outputs": 1.5}),
        (Layout.COLUMNAR, [("y", tensor([[1, 2]])), ("b", tensor([True, False], types_pb2.DT_BOOL))],
         {"outputs": {"y": [[1.0, 2.0]], "b": [True, False]}}),
        (Layout.COLUMNAR, [("s", strings(b"a"))], {"outputs": ["a"]}),
        (Layout.COLUMNAR, [("s", strings(b"a")), ("u", tensor([2**64 - 1], types_pb2.DT_UINT64))],
         {"outputs": {"s": ["a"], "u": [2**64 - 1]}}),
        (Layout.COLUMNAR, [("y", tensor([1, float("inf")]))], {"outputs": [1.0, float("inf")]}),
    ],
)  # fmt: skip
def test_answers(layout: Layout, outputs: list[tuple[str, Tensor]], answer: object) -> None:
    assert json.loads(predict_answer(outputs, layout)) == answer


def test_tokens_for_what_is_no_number() -> None:
    body = predict_answer([("y", tensor([float("nan"), float("-inf"), 3.1666667]))], Layout.ROW)
    assert body == b'{"predictions":[NaN,-Infinity,3.16666675]}'


def test_more_dimensions_than_numpy_has() -> None:
    body = predict_answer([("y", Tensor(types_pb2.DT_FLOAT, (1,) * 100, np.float32([2.5])))], Layout.COLUMNAR)
    assert body == b'{"outputs":' + b"[" * 100 + b"2.5" + b"]" * 100 + b"}"


def test_a_deep_answer_keeps_its_shape() -> None:
    values = np.arange(12, dtype=np.float32)
    shape = (*(1,) * 40, 3, 2, 2)
    value = json.loads(predict_answer([("y", Tensor(types_pb2.DT_FLOAT, shape, values))], Layout.COLUMNAR))["outputs"]
    for _ in range(40):
        (value,) = value
    assert value == values.reshape(3, 2, 2).tolist()


def test_text_that_is_no_unicode_goes_out_as_it_is() -> None:
    assert predict_answer([("s", strings(b"\xff"))], Layout.ROW) == b'{"predictions":["\xff"]}'


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([("y", tensor(1.0))], "Tensor name: y has no shape information "),
        ([("y", tensor([]))], "Tensor name: y has invalid batch size: 0"),
        ([("y", tensor([1])), ("z", tensor([1, 2]))], "Tensor name: z has inconsistent batch size: 2 expecting: 1"),
        ([("h", tensor([1], types_pb2.DT_HALF))], "Failed to write JSON value for tensor type: half"),
    ],
)
def test_what_rows_cannot_hold(outputs: list[tuple[str, Tensor]], error: str) -> None:
    with pytest.raises(StatusError) as caught:
        predict_answer(outputs, Layout.ROW)
    assert caught.value.message == error


def test_results() -> None:
    assert regression_answer([3.5, 4.0]) == b'{"results":[3.5,4.0]}'
    assert classification_answer([[(b"low", 3.5), (b'"', 1.0)], []]) == b'{"results":[[["low",3.5],["\\"",1.0]],[]]}'
