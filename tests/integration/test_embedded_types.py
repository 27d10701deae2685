"""Values of each element type over REST: nothing that a body holds is an error of the server's own."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.serving.protos import predict_pb2, tensor_pb2, types_pb2
from tests.support.embedded_server import Served, predict_request, start

PATH = "/v1/models/types:predict"
JSON_TYPES = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "uint32", "uint64", "bool", "string")
OTHER_TYPES = (
    *("float16", "bfloat16", "uint16", "complex64", "complex128", "qint8", "quint8", "qint16", "quint16", "qint32"),
    *("float8_e5m2", "float8_e4m3fn", "int4", "uint4"),
)
EMPTY: list[Any] = [[], [[]], [[], []], [[[]]], [[[], []], [[], []]]]
VALUES = (
    *("1", "1.5", "-1", "null", "true", '"x"', '""', "{}", '{"b64":"eA=="}', '{"b64":1}', '{"b64":"*"}', '{"x":1}'),
    *("[null]", "[true,false]", '["a","b"]', '[{"b64":"eA=="}]', "[[1,2],[3]]", "[[1,2],[3,4]]", "[[],[1]]", "[1,[]]"),
    *("[1e39]", "[NaN]", "[-Infinity]", "[18446744073709551615]", "[-9223372036854775808]", '[1,"a"]', '["\\u0000"]'),
    *("[" * depth + inner + "]" * depth for depth in (253, 254, 255, 2000) for inner in ("", "1")),
)
BODIES = (
    *('{{"signature_name":"{0}","inputs":{1}}}', '{{"signature_name":"{0}","inputs":{{"x":{1}}}}}'),
    *('{{"signature_name":"{0}","instances":{1}}}', '{{"signature_name":"{0}","instances":[{1}]}}'),
    *('{{"signature_name":"{0}","instances":[{1},{1}]}}', '{{"signature_name":"{0}","instances":[{{"x":{1}}}]}}'),
    '{{"signature_name":"{0}","instances":[{{"x":{1}}},{{"x":{1}}}]}}',
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from tests.support import saved_models as models

    base = tmp_path_factory.mktemp("types")
    models.types(base, 1)
    with start("--model_name=types", f"--model_base_path={base}") as server:
        yield server


@pytest.mark.parametrize("dtype", [*JSON_TYPES, *OTHER_TYPES])
@pytest.mark.parametrize("value", EMPTY)
def test_what_is_empty_comes_back_empty(served: Served, dtype: str, value: Any) -> None:
    for given in (value, {"x": value}):
        assert served.post(PATH, {"signature_name": dtype, "inputs": given}) == (200, {"outputs": value})
    if value:
        for rows in (value, [{"x": row} for row in value]):
            assert served.post(PATH, {"signature_name": dtype, "instances": rows}) == (200, {"predictions": value})


@pytest.mark.parametrize("dtype", OTHER_TYPES)
def test_types_that_json_lacks(served: Served, dtype: str) -> None:
    name = "half" if dtype == "float16" else dtype
    for value, text in ((1, "1"), (0.5, "0.5"), (None, "null"), (True, "true"), ("x", '"x"')):
        error = f"Conversion of JSON Value: {text} to type: {name}"
        assert served.post(PATH, {"signature_name": dtype, "inputs": [value]}) == (501, {"error": error})
        row = f"Failed to process element: 0 of 'instances' list. Error: UNIMPLEMENTED: {error}"
        assert served.post(PATH, {"signature_name": dtype, "instances": [value]}) == (400, {"error": row})
    error = f'JSON Value: {{\n    "b64": "eA=="\n}} Type: Object is not of expected type: {name}'
    assert served.post(PATH, {"signature_name": dtype, "inputs": [{"b64": "eA=="}]}) == (400, {"error": error})
    assert served.post(PATH, {"signature_name": dtype, "inputs": [[], [1]]})[0] == 400


@pytest.mark.parametrize("dtype", [*JSON_TYPES, *OTHER_TYPES])
def test_no_value_is_an_error_of_the_server(served: Served, dtype: str) -> None:
    for value in VALUES:
        for body in BODIES:
            text = body.format(dtype, value)
            status, _, answer = served.http("POST", PATH, text.encode())
            assert status in (200, 400, 501), (text[:200], answer[:200])
            assert ("error" in json.loads(answer)) == (status != 200)
    assert served.process.poll() is None


@pytest.mark.parametrize("api", ["classify", "regress"])
def test_no_example_is_an_error_of_the_server(served: Served, api: str) -> None:
    forms = (
        *('{{"signature_name":"string","examples":{0}}}', '{{"signature_name":"string","examples":[{0}]}}'),
        *('{{"signature_name":"string","examples":[{{"x":{0}}}]}}', '{{"signature_name":{0},"examples":[{{}}]}}'),
        *('{{"context":{0},"examples":[{{}}]}}', '{{"context":{{"x":{0}}},"examples":[{{"x":{0}}}]}}'),
    )
    for value in (*VALUES, *map(json.dumps, EMPTY)):
        for form in forms:
            status, _, answer = served.http("POST", f"/v1/models/types:{api}", form.format(value).encode())
            assert status == 400, (form.format(value)[:200], answer[:200])
    assert served.process.poll() is None


@pytest.mark.parametrize(
    "dtype", ["DT_FLOAT8_E5M2", "DT_FLOAT8_E4M3FN", "DT_INT4", "DT_UINT4", "DT_QUINT8", "DT_BFLOAT16"]
)
def test_narrow_types_over_grpc(served: Served, dtype: str) -> None:
    number = types_pb2.DataType.Value(dtype)
    width = 2 if dtype == "DT_BFLOAT16" else 1
    proto = tensor_pb2.TensorProto(dtype=number, tensor_content=bytes([1, 0, 3, 0][:: 2 // width]))
    proto.tensor_shape.dim.add(size=2)
    request = predict_request("types", dtype.removeprefix("DT_").lower(), x=proto)
    output = served.call("PredictionService/Predict", request, predict_pb2.PredictResponse).outputs["y"]
    assert output.dtype == number
    assert list(output.float8_val or output.half_val or output.int_val) == [1, 3]
