"""Bodies of answers, to the byte: the layouts are those that tensorflow_model_server 2.15.1 was seen to give."""

import json

import numpy as np
import pytest

from bench.server.embedded.base.status import StatusError
from bench.server.embedded.rest.json_request import Layout
from bench.server.embedded.rest.json_response import classification_answer, predict_answer, regression_answer
from bench.server.embedded.runtime.tensors import DT_STRING, DTYPES, Tensor
from bench.serving.protos import types_pb2

ROW, COLUMNAR = Layout.ROW, Layout.COLUMNAR


def tensor(values: object, dtype: int = types_pb2.DT_FLOAT) -> Tensor:
    array = np.array(values, DTYPES[dtype].array)
    return Tensor(dtype, array.shape, array.ravel())


def strings(*values: bytes) -> Tensor:
    return Tensor(DT_STRING, (len(values),), list(values))


def body(layout: Layout, *outputs: tuple[str, Tensor]) -> str:
    return predict_answer(outputs, layout).decode()


@pytest.mark.parametrize(
    ("output", "rows", "columns"),
    [
        (tensor([1.5, 2]), "[1.5, 2.0\n    ]", "[\n        1.5,\n        2.0\n    ]"),
        (tensor([[1, 2], [3, 4]]), "[[1.0, 2.0], [3.0, 4.0]\n    ]",
         "[\n        [\n            1.0,\n            2.0\n        ],\n"
         "        [\n            3.0,\n            4.0\n        ]\n    ]"),
        (tensor([[[True]]], types_pb2.DT_BOOL), "[[[true]]\n    ]",
         "[\n        [\n            [\n                true\n            ]\n        ]\n    ]"),
        (tensor([[], []]), "[[], []\n    ]", "[\n        [],\n        []\n    ]"),
        (tensor(np.zeros((2, 0, 3))), "[[], []\n    ]", "[\n        [],\n        []\n    ]"),
        (tensor([[[], []]]), "[[[], []]\n    ]", "[\n        [\n            [],\n            []\n        ]\n    ]"),
        (strings(b"a", b'"\n'), '["a", "\\"\\n"\n    ]', '[\n        "a",\n        "\\"\\n"\n    ]'),
        (tensor([-1, 7], types_pb2.DT_INT64), "[-1, 7\n    ]", "[\n        -1,\n        7\n    ]"),
        # No row has a number of a type without a form in JSON: nothing is refused.
        (tensor([[]], types_pb2.DT_COMPLEX64), "[[]\n    ]", "[\n        []\n    ]"),
        (tensor([[], []], types_pb2.DT_HALF), "[[], []\n    ]", "[\n        [],\n        []\n    ]"),
    ],
)  # fmt: skip
def test_one_output(output: Tensor, rows: str, columns: str) -> None:
    assert body(ROW, ("y", output)) == f'{{\n    "predictions": {rows}\n}}'
    assert body(COLUMNAR, ("y", output)) == f'{{\n    "outputs": {columns}\n}}'


def test_a_scalar() -> None:
    assert body(COLUMNAR, ("y", tensor(1.5))) == '{\n    "outputs": 1.5\n}'
    scalars = body(COLUMNAR, ("s", Tensor(DT_STRING, (), [b"x"])), ("y", tensor(3)))
    assert scalars == '{\n    "outputs": {\n        "s": "x",\n        "y": 3.0\n    }\n}'


@pytest.mark.parametrize("dtype", [types_pb2.DT_COMPLEX128, types_pb2.DT_BFLOAT16, types_pb2.DT_QINT8])
def test_nothing_at_all_of_a_type_that_json_lacks(dtype: int) -> None:
    assert body(COLUMNAR, ("y", tensor([], dtype))) == '{\n    "outputs": []\n}'


def test_several_outputs() -> None:
    outputs = (("y", tensor([[1, 2], [3, 4]])), ("z", tensor([5, 6], types_pb2.DT_INT32)))
    assert body(ROW, *outputs) == (
        '{\n    "predictions": [\n'
        '        {\n            "y": [1.0, 2.0],\n            "z": 5\n        },\n'
        '        {\n            "y": [3.0, 4.0],\n            "z": 6\n        }\n'
        "    ]\n}"
    )
    assert body(COLUMNAR, ("y", tensor([[1]])), ("z", tensor([], types_pb2.DT_INT32))) == (
        '{\n    "outputs": {\n        "y": [\n            [\n                1.0\n            ]\n        ],\n'
        '        "z": []\n    }\n}'
    )


def test_bytes() -> None:
    x = strings(b"\xffx")
    assert body(ROW, ("a", strings(b"x")), ("a_bytes", x)) == (
        '{\n    "predictions": [\n        {\n            "a": "x",\n            "a_bytes": {\n'
        '                "b64": "/3g="\n            }\n        }\n    ]\n}'
    )
    assert body(COLUMNAR, ("a", strings(b"x")), ("a_bytes", x)) == (
        '{\n    "outputs": {\n        "a": [\n            "x"\n        ],\n        "a_bytes": [\n            {\n'
        '                "b64": "/3g="\n            }\n        ]\n    }\n}'
    )
    assert body(ROW, ("a_bytes", strings(b"", b"x"))) == (
        '{\n    "predictions": [{\n            "b64": ""\n        }, {\n            "b64": "eA=="\n        }\n    ]\n}'
    )
    pairs = Tensor(DT_STRING, (1, 2), [b"", b"x"])
    assert body(ROW, ("a_bytes", pairs)) == (
        '{\n    "predictions": [[{\n                "b64": ""\n            }, {\n                "b64": "eA=="\n'
        "            }]\n    ]\n}"
    )
    # An alias that ends so says nothing about numbers.
    assert body(COLUMNAR, ("n_bytes", tensor([1]))) == '{\n    "outputs": [\n        1.0\n    ]\n}'


def test_names_are_quoted() -> None:
    assert json.loads(body(ROW, ('"', tensor([1])), ("\n", tensor([2])))) == {"predictions": [{'"': 1.0, "\n": 2.0}]}


def test_tokens_for_what_is_no_number() -> None:
    text = body(ROW, ("y", tensor([float("nan"), float("-inf"), 3.1666667, float("inf")])))
    assert text == '{\n    "predictions": [NaN, -Infinity, 3.16666675, Infinity\n    ]\n}'


def test_more_dimensions_than_numpy_has() -> None:
    text = body(ROW, ("y", Tensor(types_pb2.DT_FLOAT, (1,) * 100, np.array([2.5], np.float32))))
    assert text == '{\n    "predictions": ' + "[" * 100 + "2.5" + "]" * 99 + "\n    ]\n}"


@pytest.mark.parametrize("layout", Layout)
def test_a_deep_answer_keeps_its_shape(layout: Layout) -> None:
    values = np.arange(12, dtype=np.float32)
    shape = (*(1,) * 240, 3, 2, 2)
    value = json.loads(body(layout, ("y", Tensor(types_pb2.DT_FLOAT, shape, values))))[layout.value]
    for _ in range(240):
        (value,) = value
    assert value == values.reshape(3, 2, 2).tolist()


def test_text_that_is_no_unicode_goes_out_as_it_is() -> None:
    assert predict_answer([("s", strings(b"\xff"))], ROW) == b'{\n    "predictions": ["\xff"\n    ]\n}'


@pytest.mark.parametrize(
    ("outputs", "error"),
    [
        ([("y", tensor(1.0))], "Tensor name: y has no shape information "),
        ([("y", tensor([]))], "Tensor name: y has invalid batch size: 0"),
        ([("y", tensor([1])), ("z", tensor([1, 2]))], "Tensor name: z has inconsistent batch size: 2 expecting: 1"),
        ([("h", tensor([1], types_pb2.DT_HALF))], "Failed to write JSON value for tensor type: half"),
        ([("c", tensor([1], types_pb2.DT_COMPLEX64))], "Failed to write JSON value for tensor type: complex64"),
        ([("q", tensor([1], types_pb2.DT_QUINT8))], "Failed to write JSON value for tensor type: quint8"),
    ],
)
def test_what_rows_cannot_hold(outputs: list[tuple[str, Tensor]], error: str) -> None:
    with pytest.raises(StatusError) as caught:
        predict_answer(outputs, ROW)
    assert caught.value.message == error


def test_results() -> None:
    assert regression_answer([3.5, 4.0]) == b'{\n    "results": [3.5, 4.0]\n}'
    assert classification_answer([[(b"low", 3.5), (b'"', 1.0)], []]) == (
        b'{\n    "results": [[["low", 3.5], ["\\"", 1.0]], []\n    ]\n}'
    )
