"""Requests that the embedded server refuses and answers, one a line as in the contract's table."""
# ruff: noqa: E501

import base64
import math
from typing import Any

from bench.serving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
    tensor_pb2,
    types_pb2,
)
from tests.support.embedded_server import floats, predict_request

AFFINE = "/v1/models/affine:predict"
PAIR = "/v1/models/pair:predict"
ROW = "Failed to process element: 0 of 'instances' list. "


def ints(shape: tuple[int, ...], *values: int) -> Any:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, int_val=values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def strings(*values: bytes) -> Any:
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=values)
    proto.tensor_shape.dim.add(size=len(values))
    return proto


# path, body, HTTP status, error
REST_ERRORS: list[tuple[Any, ...]] = [
    # Rows of the contract's table, in its order.
    ("/v1/models/m:predict", b'{"instances":[1]}', 404, "Servable not found for request: Latest(m)"),
    ("/v1/models/affine/versions/99:predict", b'{"instances":[1]}', 404, "Servable not found for request: Specific(affine, 99)"),
    ("/v1/models/affine/labels/x:predict", b'{"instances":[1]}', 400, "Unrecognized servable version label: x"),
    ("/v1/models/:predict", b'{"instances":[1]}', 400, "Malformed request: POST /v1/models/:predict"),
    (AFFINE, b"", 400, "JSON Parse error: The document is empty"),
    (AFFINE, b"x", 400, "JSON Parse error: Invalid value. at offset: 0"),
    (AFFINE, b"[1]", 400, "JSON Value: [\n    1\n] Is not object"),
    (AFFINE, b"{}", 400, "Missing 'inputs' or 'instances' key"),
    (AFFINE, b'{"inputs":1,"instances":[1]}', 400, 'JSON Value: {\n    "inputs": 1,\n    "instances": [\n        1\n    ]\n} Not formatted correctly expecting only one of \'inputs\' or \'instances\' keys to exist '),
    (AFFINE, b'{"instances":1}', 400, 'JSON Value: {\n    "instances": 1\n} Expecting \'instances\' to be an list/array'),
    (AFFINE, b'{"instances":[]}', 400, 'JSON Value: {\n    "instances": []\n} No values in \'instances\' array'),
    (PAIR, b'{"instances":[[1,2,3]]}', 400, "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map"),
    (PAIR, b'{"instances":[{"n":""}]}', 400, ROW + 'JSON object: {\n    "n": ""\n} keys must be equal to: a,n'),
    (AFFINE, b'{"instances":[{"zz":1}]}', 400, "Failed to process element: 0 key: zz of 'instances' list. Error: INVALID_ARGUMENT: JSON object: does not have named input: zz"),
    (PAIR, b'{"inputs":{"a":[[1,2,3]]}}', 400, "Missing named input: n in 'inputs' object."),
    (PAIR, b'{"signature_name":"pick","instances":[1.5]}', 400, ROW + "Error: INVALID_ARGUMENT: JSON Value: 1.5 Type: Number is not of expected type: int32"),
    (PAIR, b'{"signature_name":"pick","inputs":[[1,2,3],[1,2]]}', 400, "Encountered list at unexpected size: 2 at level: 1 expected size: 3"),
    (PAIR, b'{"signature_name":"pick","instances":[[1,2],[1]]}', 400, ROW.replace("0", "1") + "Error: INVALID_ARGUMENT: Expecting tensor size: 2 but got: 1"),
    (PAIR, b'{"signature_name":"pick","instances":[[0,0,999]]}', 400, "indices[0,2] = 999 is not in [0, 3)\n\t [[{{node picked}}]]"),
    (PAIR, b'{"inputs":{"a":[],"n":[]}}', 400, "Invalid reduction dimension (1 for input with 1 dimension(s)\n\t [[{{node total}}]]"),
    (AFFINE, b'{"signature_name":"x","instances":[1]}', 400, 'Serving signature name: "x" not found in signature def'),
    (PAIR, b'{"signature_name":"scalar","instances":[[1,2,3]]}', 400, "Tensor name: sum has no shape information "),
    # A body that does not parse is seen before a model that is not there, and that before what the body lacks.
    ("/v1/models/m:predict", b"x", 400, "JSON Parse error: Invalid value. at offset: 0"),
    ("/v1/models/m:predict", b"{}", 404, "Servable not found for request: Latest(m)"),
    ("/v1/models/busy:predict", b'{"instances":[2000000000]}', 504, "Timed out waiting for notification"),
    ("/v1/models/affine:regress", b'{"examples":[]}', 400, 'JSON Value: {\n    "examples": []\n} \'examples\' value is an empty array'),
    ("/v1/models/affine:classify", b'{"signature_name":"zz","examples":[{}]}', 400, "No signature was found with the name: zz"),
    ("/v1/models/affine:classify", b'{"examples":[{"x":1.0,"y":[1,"a"]}]}', 400, "Unexpected element type in feature: y expecting type: int64"),
    ("/v1/models/affine:regress", b'{"examples":[{"x":null}]}', 400, "Feature: x has element with unexpected JSON type: Null"),
    ("/v1/models/affine:regress", b'{"examples":[{"x":18446744073709551615}]}', 400, "Feature: x has uint64 element. Only int64 is supported."),
]  # fmt: skip

# request, code, details
PREDICT_ERRORS: list[tuple[Any, ...]] = [
    (predict_request("m"), "NOT_FOUND", "Servable not found for request: Latest(m)"),
    (predict_request(""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    (predict_pb2.PredictRequest(model_spec={"name": "affine", "version": {"value": 99}}), "NOT_FOUND", "Servable not found for request: Specific(affine, 99)"),
    (predict_pb2.PredictRequest(model_spec={"name": "affine", "version_label": "x"}), "INVALID_ARGUMENT", "Unrecognized servable version label: x"),
    (predict_request("affine"), "INVALID_ARGUMENT", "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}."),
    (predict_request("affine", x=floats(1), y=floats(1)), "INVALID_ARGUMENT", "input size does not match signature: 2!=1 len({x,y}) != len({x}). Sent extra: {y}. Missing but required: {}."),
    (predict_request("affine", y=floats(1)), "INVALID_ARGUMENT", "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs expected to be in the request {y}, or default input alias set: "),
    (predict_request("affine", x=tensor_pb2.TensorProto(dtype=types_pb2.DT_DOUBLE, double_val=[1])), "INVALID_ARGUMENT", "Expects arg[0] to be float but double is provided"),
    (predict_request("affine", x=tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_content=b"123")), "INVALID_ARGUMENT", "tensor parsing error: x"),
    # The runtime would end the process at this shape.
    (predict_request("pair", "pick", a=ints((1 << 62, 4, 0))), "INVALID_ARGUMENT", "tensor parsing error: a"),
    (predict_request("pair", "pick", a=ints((1, 1), 999)), "INVALID_ARGUMENT", "indices[0,0] = 999 is not in [0, 3)\n\t [[{{node picked}}]]"),
    (predict_request("pair", a=ints((3,), 1, 2, 3), n=strings(b"x")), "INVALID_ARGUMENT", "Invalid reduction dimension (1 for input with 1 dimension(s)\n\t [[{{node total}}]]"),
    (predict_request("affine", "x", x=floats(1)), "FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
    (predict_request("affine", "x" * 2000, x=floats(1)), "FAILED_PRECONDITION", f'Serving signature key "{"x" * 1001}...TRUNCATED'),
    (predict_request("affine", "both", ["x"], x=floats(1)), "INVALID_ARGUMENT", "output tensor alias not found in signature: x Outputs expected to be in the set {y,z}."),
    (predict_request("affine", "both", ["y", "y"], x=floats(1)), "INVALID_ARGUMENT", "duplicate output tensor alias: y"),
]  # fmt: skip

# method, request, code, details
OTHER_GRPC_ERRORS: list[tuple[Any, ...]] = [
    ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "affine"}), "INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field"),
    ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "affine"}, metadata_field=["x"]), "INVALID_ARGUMENT", "Metadata field x is not supported"),
    ("GetModelMetadata", get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "m"}, metadata_field=["signature_def"]), "NOT_FOUND", "Servable not found for request: Latest(m)"),
    ("Regress", regression_pb2.RegressionRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ("Regress", regression_pb2.RegressionRequest(model_spec={"name": "affine", "signature_name": "regress_x"}), "INVALID_ARGUMENT", "Input is empty."),
    ("Classify", classification_pb2.ClassificationRequest(model_spec={"name": "affine", "signature_name": "zz"}), "INVALID_ARGUMENT", "No signature was found with the name: zz"),
    ("MultiInference", inference_pb2.MultiInferenceRequest(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ("MultiInference", inference_pb2.MultiInferenceRequest(tasks=[{"model_spec": {"name": "affine", "signature_name": "zz"}}]), "INVALID_ARGUMENT", "Requested signature not found in model graph: zz"),
    ("MultiInference", inference_pb2.MultiInferenceRequest(tasks=[{"model_spec": {"name": "affine"}, "method_name": "x"}]), "UNIMPLEMENTED", "Unsupported signature method_name: x"),
]  # fmt: skip

# configs, details
REFUSED_CONFIGS: list[tuple[Any, ...]] = [
    (None, "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is currently supported"),
    ([{"name": "m", "base_path": "/m", "model_platform": "tensorflow"}] * 2, "Illegal to list model m multiple times in config list"),
    ([{"name": "m", "base_path": "m", "model_platform": "tensorflow"}], "Expected model m to have an absolute path or URI; got base_path()=m"),
    ([{"name": "affine", "base_path": "/m", "model_type": "OTHER"}], "ModelServerConfig::model_type choice 2 not supported."),
    ([{"name": "affine", "base_path": "/m", "model_platform": "other"}], "Illegal to change a model's platform. For model affine platform was tensorflow and new platform requested is other"),
]  # fmt: skip

# path, body, answer
REST_ANSWERS: list[tuple[Any, ...]] = [
    (AFFINE, {"instances": [1.0, 2, 5.0]}, {"predictions": [3.5, 4.0, 5.5]}),
    (AFFINE, {"instances": [{"x": 1.0}]}, {"predictions": [3.5]}),
    (AFFINE, {"inputs": {"x": [[1.0]]}}, {"outputs": [[3.5]]}),
    (AFFINE, {"inputs": 1.0}, {"outputs": 3.5}),
    (AFFINE, {"signature_name": "both", "instances": [1]}, {"predictions": [{"y": 3.5, "z": 35.0}]}),
    (AFFINE, {"signature_name": "", "inputs": [1e39]}, {"outputs": [math.inf]}),
    (
        PAIR,
        {"instances": [{"a": [1, 2, 3], "n": "é"}, {"a": [4, 5, 6], "n": {"b64": "eA=="}}]},
        {
            "predictions": [
                {"total": 6, "shout": "é!", "raw_bytes": {"b64": base64.b64encode(b"\xff\xc3\xa9").decode()}},
                {"total": 15, "shout": "x!", "raw_bytes": {"b64": "/3g="}},
            ]
        },
    ),
    # No check against the signature's shape, and none that batches agree.
    (PAIR, {"inputs": {"a": [[1, 2], [3, 4]], "n": ["x"]}}, {"outputs": {"total": [3, 7], "shout": ["x!"], "raw_bytes": [{"b64": "/3g="}]}}),
    (PAIR, {"signature_name": "pick", "instances": [[0, 1]]}, {"predictions": [[10.0, 20.0]]}),
    ("/v1/models/doubler:predict", {"instances": [[1, 2]]}, {"predictions": [[2.0, 4.0]]}),
    ("/v1/models/affine:regress", {"signature_name": "regress_x", "examples": [{"x": 1.0}, {"x": [2.0]}]}, {"results": [3.5, 4.0]}),
    ("/v1/models/affine:regress", {"signature_name": "regress_x", "context": {"x": 4.0}, "examples": [{}, {"x": 1.0}]}, {"results": [5.0, 3.5]}),
    ("/v1/models/affine:classify", {"signature_name": "classify_x", "examples": [{"x": 1.0}]}, {"results": [[["low", 3.5], ["high", 4.5]]]}),
]  # fmt: skip
