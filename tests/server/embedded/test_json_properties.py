"""Bodies of `:predict`: the quick reader never takes what the exact one refuses, and takes the same from it."""

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.server.embedded.base.status import StatusError
from bench.server.embedded.rest import json_fast
from bench.server.embedded.rest.json_reader import JsonError, JsonObject, parse
from bench.server.embedded.rest.json_request import Layout, parse_object, predict_inputs, signature_name
from bench.server.embedded.runtime.tensors import DT_STRING, Tensor
from bench.serving.protos import types_pb2

SIGNATURES: list[dict[str, int]] = [
    {"x": types_pb2.DT_FLOAT},
    {"x": types_pb2.DT_DOUBLE},
    {"x": types_pb2.DT_INT64},
    {"x": types_pb2.DT_UINT8},
    {"x": types_pb2.DT_BOOL},
    {"x": types_pb2.DT_STRING},
    {"b64": types_pb2.DT_STRING},
    {"x": types_pb2.DT_INT32, "y": types_pb2.DT_STRING},
    {"x": types_pb2.DT_FLOAT, "inputs": types_pb2.DT_BOOL},
    {"x": types_pb2.DT_UINT32, "x 1": types_pb2.DT_UINT64},
]

NUMBERS = st.one_of(
    st.integers(-300, 300).map(str),
    st.integers(-(1 << 65), 1 << 65).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["0e309", "-0.0E+0400", "0.00e-999", "1e309", "1" + "0" * 320 + "e-300", "01", "1.", ".5", "-", "-0", "NaN"]
    ),
    st.sampled_from(["Infinity", "1e5", "1E-5", "10e2", "1e99999999999", "0." + "0" * 320 + "1e320", "5e-324"]),
)
STRINGS = st.text(max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False)) | st.sampled_from(
    ['"x"', '"inputs"', '"\\u0041"', '{"b64":"AA=="}', '"a\tb"', '"']
)
LEAVES = st.one_of(NUMBERS, NUMBERS, STRINGS, st.sampled_from(["true", "false", "null", "tru"]))


def _list(items: list[str]) -> str:
    return "[" + ",".join(items) + "]"


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in members) + "}"


NAMES = st.sampled_from(["x", "x", "x", "y", "x 1", "b64", "inputs", "z"])
ARRAYS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3).map(_list), max_leaves=6)
# Lists of one kind, which most of them have to be to be taken at all.
PLAIN = st.one_of(*(st.lists(kind, min_size=1, max_size=4).map(_list) for kind in (NUMBERS, STRINGS, LEAVES)))
OBJECTS = st.lists(st.tuples(NAMES, ARRAYS | PLAIN), max_size=3).map(_object)
VALUES = st.one_of(ARRAYS, PLAIN, OBJECTS, st.lists(OBJECTS, min_size=1, max_size=3).map(_list))
MEMBERS = st.tuples(st.sampled_from(["instances", "instances", "inputs", "inputs", "signature_name", "more"]), VALUES)
BODIES = st.one_of(
    st.lists(MEMBERS, min_size=1, max_size=3).map(_object),
    st.tuples(st.sampled_from(["instances", "inputs"]), VALUES).map(lambda member: _object([member])),
).map(lambda text: text.encode(errors="surrogatepass"))


def quickly(body: bytes, types: dict[str, int]) -> tuple[Layout, str, dict[str, Tensor]] | None:
    """What the quick reader makes of a body."""
    read = json_fast.read(body)
    inputs = json_fast.predict_inputs(read, {name: (name, dtype) for name, dtype in types.items()}) if read else None
    return None if read is None or inputs is None else (read.layout, read.signature, inputs)


def exactly(body: bytes, types: dict[str, int]) -> tuple[Layout, str, dict[str, Tensor | None]]:
    """What the exact reader makes of it."""
    document = parse_object(body)
    layout, inputs = predict_inputs(document, {name.encode(): dtype for name, dtype in types.items()}, "")
    return layout, signature_name(document), inputs


def assert_same_tensor(quick: Tensor, exact: Tensor | None) -> None:
    """The same type, shape and values; floats but for the last digit, where RapidJSON's differ from the nearest."""
    assert exact is not None
    assert (quick.dtype, quick.shape) == (exact.dtype, exact.shape)
    if quick.dtype == DT_STRING:
        assert list(quick.values) == list(exact.values)
    elif quick.dtype in (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE):
        single = quick.dtype == types_pb2.DT_FLOAT
        rtol, atol = (3e-7, 1e-44) if single else (1e-14, 1e-300)
        np.testing.assert_allclose(quick.values, exact.values, rtol=rtol, atol=atol)  # type: ignore[arg-type]
    else:
        np.testing.assert_array_equal(quick.values, exact.values)


@given(BODIES, st.sampled_from(SIGNATURES))
@example(b'{"instances":[0e309]}', SIGNATURES[0])
@example(b'{"instances":[1],"more":0.0E+00400}', SIGNATURES[0])
@example(b'{"inputs":[1' + b"0" * 320 + b"e-300]}", SIGNATURES[1])
@example(b'{"instances":[{"b64":"AA=="}]}', {"b64": types_pb2.DT_STRING})
@example(b'{"inputs":{"b64":"AA=="}}', {"b64": types_pb2.DT_STRING})
def test_the_quick_reader_takes_only_what_the_exact_one_takes(body: bytes, types: dict[str, int]) -> None:
    quick = quickly(body, types)
    if quick is None:
        return
    layout, name, inputs = exactly(body, types)
    assert quick[:2] == (layout, name)
    assert set(quick[2]) == set(inputs)
    for alias, tensor in quick[2].items():
        assert_same_tensor(tensor, inputs[alias])


SHAPES = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@given(SHAPES, st.sampled_from(["instances", "inputs"]), st.integers(-(1 << 31), (1 << 31) - 1))
def test_plain_bodies_are_read_quickly(shape: list[int], key: str, start: int) -> None:
    """So that the property above is about something."""
    values = np.arange(start, start + np.prod(shape)).clip(-(1 << 31), (1 << 31) - 1).reshape(shape)
    quick = quickly(orjson.dumps({key: values.tolist()}), {"x": types_pb2.DT_INT32})
    assert quick is not None
    assert quick[2]["x"].shape == tuple(shape)
    np.testing.assert_array_equal(quick[2]["x"].values, values.ravel())


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        (b"[1.5,-2,1e5]", types_pb2.DT_FLOAT),
        (b"[1e-5,18446744073709551615]", types_pb2.DT_DOUBLE),
        (b"[true,false]", types_pb2.DT_BOOL),
        (b"[0,18446744073709551615]", types_pb2.DT_UINT64),
        (b"[300]", types_pb2.DT_UINT8),
        (b"[[],[]]", types_pb2.DT_INT32),
        (b"-7", types_pb2.DT_INT64),
    ],
)
def test_every_type_is_read_quickly(text: bytes, dtype: int) -> None:
    body = b'{"inputs":%s}' % text
    quick = quickly(body, {"x": dtype})
    assert quick is not None
    assert_same_tensor(quick[2]["x"], exactly(body, {"x": dtype})[2]["x"])


@pytest.mark.parametrize(
    "text", ["[[1],2]", "[2,[1]]", "[[1],[1,2]]", "[true,1]", "[1.0]", '[["a"]]', '[{"a":1}]', "[null]"]
)
def test_lists_that_are_not_integers_are_left_to_the_exact_reader(text: str) -> None:
    assert quickly(b'{"inputs":%s}' % text.encode(), {"x": types_pb2.DT_INT32}) is None


@pytest.mark.parametrize(
    "body", [b'{"inputs":{"x 1":[1],"x 1":[2],"x 2":[3]}}', b'{"inputs":{"x 1":[1],"x 2":[2],"x 2":[3]}}']
)
def test_a_name_given_twice_is_left_to_the_exact_reader(body: bytes) -> None:
    types: dict[str, int] = {"x 1": types_pb2.DT_INT32, "x 2": types_pb2.DT_INT32}
    assert quickly(body, types) is None
    assert quickly(b'{"inputs":{"x 1":[1],"x 2":[2]}}', types) is not None


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


def plain(value: Any) -> Any:
    """The exact reader's value as `json` gives it."""
    if isinstance(value, JsonObject):
        return {name.decode(): plain(item) for name, item in zip(value.names, value.values, strict=True)}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 2]))
def test_documents_are_read_as_they_were_written(document: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert plain(parse(text.encode())) == document


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_are_read_but_for_the_last_digit(value: float) -> None:
    read = parse(repr(value).encode())
    assert read == pytest.approx(value, rel=1e-14, abs=1e-300)


@given(BODIES | st.binary(max_size=30), st.integers(0, 60), st.binary(max_size=3))
def test_a_spoilt_body_is_read_or_refused_by_name(body: bytes, at: int, put: bytes) -> None:
    spoilt = body[:at] + put + body[at + 1 :]
    try:
        parse(spoilt)
    except JsonError as error:
        offset = int(str(error).rpartition(": ")[2])
        assert 0 <= offset <= len(spoilt)
        with pytest.raises(StatusError):
            parse_object(spoilt)
