"""Bodies of `:predict`: every refusal's text, and the quick reader against the exact one."""

import json
from typing import Any

import numpy as np
import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.rest import json_fast
from bench.server.embedded.rest.json_reader import parse
from bench.server.embedded.rest.json_request import Layout, decode_base64, parse_object, predict_inputs, signature_name
from bench.server.embedded.runtime.tensors import Tensor
from bench.serving.protos import types_pb2

FLOAT = {"x": types_pb2.DT_FLOAT}
INT = {"a": types_pb2.DT_INT32}
PAIR = {"a": types_pb2.DT_INT32, "n": types_pb2.DT_STRING}
TEXT = {"n": types_pb2.DT_STRING}

ROW = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "


def exact(body: bytes, types: dict[str, int]) -> tuple[Layout, dict[str, Tensor | None]]:
    return predict_inputs(parse_object(body), {alias.encode(): dtype for alias, dtype in types.items()}, "")


@pytest.mark.parametrize(
    ("types", "body", "error"),
    [
        (FLOAT, b"", "JSON Parse error: The document is empty"),
        (FLOAT, b" ", "JSON Parse error: The document is empty. at offset: 1"),
        (FLOAT, b"[1]", "JSON Value: [\n    1\n] Is not object"),
        (FLOAT, b"{}", "Missing 'inputs' or 'instances' key"),
        (
            FLOAT,
            b'{"inputs":1,"instances":2}',
            'JSON Value: {\n    "inputs": 1,\n    "instances": 2\n} Not formatted correctly expecting only one of '
            "'inputs' or 'instances' keys to exist ",
        ),
        (FLOAT, b'{"instances":1}', "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array"),
        (FLOAT, b'{"instances":[]}', "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array"),
        (FLOAT, b'{"instances":["1"]}', ROW + 'JSON Value: "1" Type: String is not of expected type: float'),
        (FLOAT, b'{"instances":[true]}', ROW + "JSON Value: true Type: True is not of expected type: float"),
        (FLOAT, b'{"instances":[null]}', ROW + "JSON Value: null Type: Null is not of expected type: float"),
        (INT, b'{"instances":[1.5]}', ROW + "JSON Value: 1.5 Type: Number is not of expected type: int32"),
        (INT, b'{"instances":[1.0]}', ROW + "JSON Value: 1.0 Type: Number is not of expected type: int32"),
        (
            INT,
            b'{"instances":[2147483648]}',
            ROW + "JSON Value: 2147483648 Type: Number is not of expected type: int32",
        ),
        (
            INT,
            b'{"inputs":{"b64":"AA=="}}',
            'JSON Value: {\n    "b64": "AA=="\n} Type: Object is not of expected type: int32',
        ),
        (INT, b'{"inputs":[1,[2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (INT, b'{"inputs":[[1],2]}', "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        (INT, b'{"inputs":[[1,2,3],[1,2]]}', "Encountered list at unexpected size: 2 at level: 1 expected size: 3"),
        (INT, b'{"inputs":[[],[1]]}', "Encountered list at unexpected size: 1 at level: 1 expected size: 0"),
        (
            INT,
            b'{"instances":[1,[2]]}',
            ROW.replace("0", "1") + "Expecting shape [] but got: [1]",
        ),
        (
            INT,
            b'{"instances":[[1,2],[1]]}',
            ROW.replace("0", "1") + "Expecting tensor size: 2 but got: 1",
        ),
        (
            INT,
            b'{"instances":[[[1,2]],[[1],[2]]]}',
            ROW.replace("0", "1") + "Expecting shape [1,2] but got: [2,1]",
        ),
        (INT, b'{"instances":[{"a":1},2]}', "Expecting object but got list at item 1 of input list"),
        (INT, b'{"instances":[1,{"a":2}]}', "Expecting value/list but got object at item 1 of input list"),
        (
            PAIR,
            b'{"instances":[[1]]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (
            PAIR,
            b'{"inputs":[1]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map",
        ),
        (PAIR, b'{"inputs":{"a":[1]}}', "Missing named input: n in 'inputs' object."),
        (
            PAIR,
            b'{"instances":[{"a":1}]}',
            "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys must be equal to: "
            "a,n",
        ),
        (
            PAIR,
            b'{"instances":[{"a":1,"n":"","zz":3}]}',
            "Failed to process element: 0 key: zz of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not "
            "have named input: zz",
        ),
        (TEXT, b'{"instances":[{"b64":"*"}]}', ROW + "Unable to base64 decode"),
        (TEXT, b'{"inputs":[{"b64":1}]}', 'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data'),
        ({"h": types_pb2.DT_HALF}, b'{"inputs":1}', "Conversion of JSON Value: 1 to type: half"),
        ({}, b'{"inputs":1}', "Failed to get input map for signature: DEFAULT"),
    ],
)
def test_refusals(types: dict[str, int], body: bytes, error: str) -> None:
    with pytest.raises(StatusError) as caught:
        exact(body, types)
    assert caught.value.message == error
    # The quick reader never decides about a body that is refused.
    fast = json_fast.read(body)
    if fast is not None and types:
        assert json_fast.predict_inputs(fast, {alias: ("", dtype) for alias, dtype in types.items()}) is None


def test_a_type_without_json_form_is_unimplemented() -> None:
    with pytest.raises(StatusError) as caught:
        exact(b'{"inputs":1}', {"h": types_pb2.DT_HALF})
    assert caught.value.code is Code.UNIMPLEMENTED


def test_the_signature_must_be_a_string() -> None:
    assert signature_name(parse_object(b'{"signature_name":"s"}')) == "s"
    with pytest.raises(StatusError) as caught:
        signature_name(parse_object(b'{"signature_name":1}'))
    assert caught.value.message == (
        'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
        "'signature_name' key must be a string value."
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"eA==", b"x"),
        (b"eA", b"x"),
        (b" e A =\n=", b"x"),
        (b"", b""),
        (b"eHk=", b"xy"),
        (b"eA..", b"x"),
        (b"+/8", b"\xfb\xff"),
    ],
)
def test_base64_takes_blanks_and_lacks_padding(text: bytes, value: bytes) -> None:
    assert decode_base64(parse(b'{"b64":' + json.dumps(text.decode()).encode() + b"}")) == value


@pytest.mark.parametrize("text", ["e", "eA=", "eHk==", "eHl6=", "e=A=", "-_8", "é"])
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(StatusError, match="Unable to base64 decode"):
        decode_base64(parse(b'{"b64":"' + text.encode() + b'"}'))


def test_a_name_given_twice_leaves_values_that_are_cut() -> None:
    """Both of the first row's values go into the tensor; its shape has room for one a row."""
    _, tensors = exact(b'{"instances":[{"x":1,"x":5},{"x":2}]}', FLOAT)
    tensor = tensors["x"]
    assert tensor is not None
    assert (tensor.shape, list(tensor.values)) == ((2,), [1.0, 5.0])


def test_more_dimensions_than_a_tensor_has() -> None:
    body = b'{"inputs":' + b"[" * 255 + b"1" + b"]" * 255 + b"}"
    assert exact(body, FLOAT)[1] == {"x": None}


def test_small_integers_wrap_as_in_the_runtime() -> None:
    tensor = exact(b'{"inputs":[300,-1]}', {"x": types_pb2.DT_UINT8})[1]["x"]
    assert tensor is not None
    assert list(tensor.values) == [44, 255]


@pytest.mark.parametrize(
    ("types", "value"),
    [
        (FLOAT, {"instances": [1, 2.5, -3e9]}),
        (FLOAT, {"inputs": 7}),
        (FLOAT, {"inputs": [[1e39, -1e39, 1e-50]]}),
        (FLOAT, {"inputs": {"x": [[], []]}}),
        (FLOAT, {"instances": [{"x": 1}, {"x": 2}]}),
        (INT, {"signature_name": "s", "instances": [[[1, -2147483648]], [[2147483647, 0]]]}),
        (PAIR, {"instances": [{"a": [1, 2], "n": "é"}, {"a": [3, 4], "n": ""}]}),
        (PAIR, {"inputs": {"n": ["x"], "a": [[1]], "ignored": {"a": 1}}}),
        ({"b": types_pb2.DT_BOOL}, {"inputs": [True, False]}),
        ({"u": types_pb2.DT_INT8}, {"inputs": [300, -129]}),
        ({"l": types_pb2.DT_INT64}, {"inputs": [-(2**63), 2**63 - 1]}),
        ({"d": types_pb2.DT_DOUBLE}, {"inputs": [0.1, 1e300, 2**53 + 1]}),
    ],
)
def test_the_quick_reader_reads_the_same(types: dict[str, int], value: dict[str, Any]) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    layout, expected = exact(body, types)
    fast = json_fast.read(body)
    assert fast is not None
    found = json_fast.predict_inputs(fast, {alias: ("", dtype) for alias, dtype in types.items()})
    if found is None:
        # It left the body to the exact reader, which it may, but not where it is meant to be quick.
        assert "ignored" in value.get("inputs", {})
        return
    assert fast.layout is layout
    assert found.keys() == expected.keys()
    for alias, tensor in found.items():
        other = expected[alias]
        assert other is not None
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(tensor.values, other.values)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances":[1],"instances":[2]}',
        b'{"\\u0069nstances":[1]}',
        b'{"instances":[NaN]}',
        b'\xef\xbb\xbf{"instances":[1]}',
        b'{"instances":[1]}\0',
        b'{"instances":["\xff"]}',
        b'{"signature_name":1,"instances":[1]}',
        b"[1]",
    ],
)
def test_doubts_are_left_to_the_exact_reader(body: bytes) -> None:
    assert json_fast.read(body) is None


def test_a_name_given_twice_in_a_row_is_left_to_the_exact_reader() -> None:
    fast = json_fast.read(b'{"instances":[{"x":1,"x":2}]}')
    assert fast is not None
    assert json_fast.predict_inputs(fast, {"x": ("", types_pb2.DT_FLOAT)}) is None
