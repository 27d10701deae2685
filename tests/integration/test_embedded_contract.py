"""The embedded server against TensorFlow Serving's contract: each error, each form of URL, on both protocols."""

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from bench.serving.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    input_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
    tensor_pb2,
    types_pb2,
)
from tests.support import embedded_contract_cases as cases
from tests.support.embedded_contract_cases import AFFINE, PAIR, ints
from tests.support.embedded_server import Served, entry, floats, model_config, predict_request, start

PREDICT = "PredictionService/Predict"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server on all test models: two versions of `affine` with labels, and the page for Prometheus."""
    from tests.support import saved_models as models

    root = tmp_path_factory.mktemp("contract")
    bases = {name: root / name for name in ("affine", "pair", "types", "busy", "doubler")}
    for name, base in bases.items():
        base.mkdir()
        getattr(models, name)(base, 1)
    models.affine(bases["affine"], 2)
    labels = 'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
    more = {"affine": f"model_version_policy {{ all {{}} }} {labels}"}
    config = model_config(
        root / "models.config", *(entry(name, base, more.get(name, "")) for name, base in bases.items())
    )
    monitoring = root / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with start(
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--rest_api_timeout_in_ms=1500",
        "--enable_grpc_healthcheck_service",
        "--allow_version_labels_for_unavailable_models",
    ) as server:
        yield server


def example(**features: float) -> Any:
    proto = input_pb2.ExampleList().examples.add()
    for name, value in features.items():
        proto.features.feature[name].float_list.value.append(value)
    return proto


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    cases.REST_ERRORS,
)
def test_rest_errors(served: Served, path: str, body: bytes, status: int, error: str) -> None:
    assert served.post(path, body) == (status, {"error": error})


@pytest.mark.parametrize(
    ("request_", "code", "details"),
    cases.PREDICT_ERRORS,
)
def test_predict_errors(served: Served, request_: Any, code: str, details: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.call(PREDICT, request_, predict_pb2.PredictResponse)
    assert (caught.value.code().name, caught.value.details()) == (code, details)


@pytest.mark.parametrize(
    ("method", "request_", "code", "details"),
    cases.OTHER_GRPC_ERRORS,
)
def test_other_grpc_errors(served: Served, method: str, request_: Any, code: str, details: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.call(f"PredictionService/{method}", request_, predict_pb2.PredictResponse)
    assert (caught.value.code().name, caught.value.details()) == (code, details)


@pytest.mark.parametrize(
    ("name", "version", "details"),
    [
        ("m", None, "Could not find any versions of model m"),
        ("", None, "Could not find any versions of model "),
        ("affine", 9, "Could not find version 9 of model affine"),
    ],
)
def test_states_that_are_not_there(served: Served, name: str, version: int | None, details: str) -> None:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": name})
    if version is not None:
        request.model_spec.version.value = version
    with pytest.raises(grpc.RpcError) as caught:
        served.call("ModelService/GetModelStatus", request, get_model_status_pb2.GetModelStatusResponse)
    assert (caught.value.code().name, caught.value.details()) == ("NOT_FOUND", details)


@pytest.mark.parametrize(
    ("configs", "details"),
    cases.REFUSED_CONFIGS,
)
def test_configs_that_are_refused(served: Served, configs: Any, details: str) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    for config in configs or ():
        request.config.model_config_list.config.add(**config)
    with pytest.raises(grpc.RpcError) as caught:
        served.call("ModelService/HandleReloadConfigRequest", request, model_management_pb2.ReloadConfigResponse)
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", details)


def test_bytes_that_are_no_message_and_methods_that_are_not_there(served: Served) -> None:
    with served.channel() as channel:
        for method, message, code in (
            (f"/tensorflow.serving.{PREDICT}", b"\xff\xff", grpc.StatusCode.INTERNAL),
            ("/tensorflow.serving.PredictionService/Nope", b"", grpc.StatusCode.UNIMPLEMENTED),
            ("/tensorflow.serving.Nope/Predict", b"", grpc.StatusCode.UNIMPLEMENTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(method)(message, timeout=120)
            assert (caught.value.code(), caught.value.details()) == (code, "")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models/affine:predict", 200),
        ("POST", "/v1/models/affine/versions/1:predict", 200),
        ("POST", "/v1/models/affine/versions/0002:predict", 200),
        ("POST", "/v1/models/affine/labels/stable:predict", 200),
        ("POST", "/V1/Models/affine/Versions/1:predict", 200),
        ("POST", "/v1/models/%61ffine/labels/%73table:predict", 200),
        ("POST", "http://host/v1/models/affine:predict", 200),
        ("GET", "/v1/models/affine", 200),
        ("GET", "/v1/models/affine/versions/1", 200),
        ("GET", "/v1/models/affine/labels/nobody-looks-at-it", 200),
        ("GET", "/v1/models/affine/metadata", 200),
        ("GET", "/v1/models/affine/versions/1/metadata", 200),
        ("GET", "/v1/models/affine/labels/stable/metadata", 200),
        # The name of the resource is compared with its case, what is left is the state.
        ("GET", "/v1/models/affine/METADATA", 200),
    ],
)
def test_urls(served: Served, method: str, path: str, status: int) -> None:
    found, content_type, body = served.http(method, path, b'{"instances":[1]}' if method == "POST" else b"")
    assert (found, content_type) == (status, "application/json")
    assert "error" not in json.loads(body)


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        *(
            (method, path, 400, f"Malformed request: {method} {path}")
            for method, path in [
                ("GET", AFFINE),
                ("PUT", AFFINE),
                ("PATCH", AFFINE),
                ("DELETE", "/v1/models/affine"),
                ("POST", "/v1/models/affine"),
                ("POST", "/v1/models/affine:PREDICT"),
                ("POST", "/v1/models/affine:predict/"),
                ("POST", "/v1/models/affine:predict?x=1"),
                ("POST", "/v1/models/affine%3Apredict"),
                ("POST", "/v1/models/affine:nope"),
                ("POST", "/v1/models/affine/versions/x:predict"),
                ("POST", "/v1/models/affine/versions/1/labels/stable:predict"),
                ("GET", "/v1/"),
                ("GET", "/v1/foo"),
                ("GET", "/v1/models/affine/foo"),
                ("GET", "/v1/models/affine/metadata/"),
            ]
        ),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/versions/1", 400, "Missing model name in request."),
        ("GET", "/v1/models/none", 404, "Could not find any versions of model none"),
        ("GET", "/v1/models/metadata", 404, "Could not find any versions of model metadata"),
        ("GET", "/v1/models/affine?x=1", 404, "Could not find any versions of model affine?x=1"),
        ("GET", "/v1/models/affine/versions/9", 404, "Could not find version 9 of model affine"),
        ("GET", "/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
        ("GET", "/v1/models/%22%0A/metadata", 404, 'Servable not found for request: Latest("\n)'),
    ],
)
def test_urls_that_are_refused(served: Served, method: str, path: str, status: int, error: str) -> None:
    found, content_type, body = served.http(method, path, b"{}" if method != "GET" else b"")
    assert (found, content_type, json.loads(body)) == (status, "application/json", {"error": error})


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/affine:predict", "/metrics", "/monitoring/prometheus"])
def test_other_paths_get_a_page(served: Served, path: str) -> None:
    status, content_type, body = served.http("GET", path)
    assert (status, content_type) == (404, "text/html")
    assert b"<H1>Not Found</H1>" in body


def test_answers_without_a_body(served: Served) -> None:
    assert served.http("POST", "/v1/models/affine/versions/9223372036854775808:predict", b"{}") == (
        400,
        "application/json",
        b"",
    )
    assert served.http("HEAD", "/v1/models/affine")[::2] == (400, b"")
    assert served.http("OPTIONS", AFFINE, Origin="https://example.org")[::2] == (200, b"")
    assert served.http("OPTIONS", AFFINE)[::2] == (400, b"")


def test_a_method_that_http_does_not_have(served: Served) -> None:
    status, content_type, body = served.http("FROBNICATE", AFFINE)
    assert (status, content_type) == (501, "text/html")
    assert b"Not Implemented" in body


def test_bytes_that_are_no_http(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.rest_port), timeout=120) as client:
        client.sendall(b"nonsense\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_gzip(served: Served) -> None:
    body = b'{"instances":[1]}'
    for headers, sent in (({"Content_Encoding": "gzip"}, gzip.compress(body)), ({"Content_Encoding": "br"}, body)):
        assert served.http("POST", AFFINE, sent, **headers)[0] == 200
    for broken in (b"no gzip", gzip.compress(body)[:-4], gzip.compress(body) + b"x"):
        status, _, answer = served.http("POST", AFFINE, broken, Content_Encoding="gzip")
        assert (status, json.loads(answer)) == (400, {"error": "JSON Parse error: The document is empty"})


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    cases.REST_ANSWERS,
)
def test_rest_answers(served: Served, path: str, body: Any, answer: Any) -> None:
    assert served.post(path, body) == (200, answer)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float32", [0.5, 1e-45, 3.4e38]),
        ("float64", [0.1, 1e300]),
        ("int64", [-(2**63), 2**63 - 1]),
        ("int32", [-(2**31), 2**31 - 1]),
        ("int16", [-3, 4]),
        ("int8", [-128, 127]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
        ("bool", [True, False]),
        ("string", ["", "a", "\u0000é"]),
    ],
)
def test_each_type_through_json(served: Served, dtype: str, values: list[Any]) -> None:
    status, answer = served.post("/v1/models/types:predict", {"signature_name": dtype, "inputs": [values]})
    assert status == 200
    if dtype.startswith("float"):
        # The shortest text of a float is another double than the float itself.
        assert np.array(answer["outputs"], dtype).tolist() == np.array([values], dtype).tolist()
    else:
        assert answer["outputs"] == [values]


def test_a_tensor_with_many_dimensions(served: Served) -> None:
    deep: Any = 1.0
    for _ in range(200):
        deep = [deep]
    status, answer = served.post(AFFINE, {"instances": deep})
    for _ in range(200):
        (answer,) = answer if isinstance(answer, list) else answer.values()
    assert (status, answer) == (200, [3.5])
    too_deep = b'{"inputs":' + b"[" * 255 + b"1" + b"]" * 255 + b"}"
    assert served.post(AFFINE, too_deep) == (400, {"error": "tensor parsing error: x"})


@pytest.mark.parametrize("dtype", [types_pb2.DT_HALF, types_pb2.DT_UINT16])
def test_types_without_json_form_go_over_grpc(served: Served, dtype: int) -> None:
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=b"\x01\x02\x03\x04")
    proto.tensor_shape.dim.add(size=2)
    name = "half" if dtype == types_pb2.DT_HALF else "uint16"
    if name == "half":
        name = "float16"
    output = served.call(PREDICT, predict_request("types", name, x=proto), predict_pb2.PredictResponse).outputs["y"]
    assert output.dtype == dtype
    assert list(output.half_val or output.int_val) == [0x0201, 0x0403]


def test_a_predict_answer_names_what_answered(served: Served) -> None:
    request = predict_request("affine", x=floats(1, 2))
    for version, expected in ((None, 3.5), (1, 2.5)):
        if version is not None:
            request.model_spec.version.value = version
        response = served.call(PREDICT, request, predict_pb2.PredictResponse)
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("affine", version or 2, "serving_default")
        assert list(response.outputs["y"].float_val) == [expected, expected + 0.5]
        assert not response.outputs["y"].tensor_content


def test_classes_values_and_both_from_one_run(served: Served) -> None:
    given = input_pb2.Input(example_list=input_pb2.ExampleList(examples=[example(x=1.0)]))
    spec = {"name": "affine", "signature_name": "regress_x"}
    regressed = served.call(
        "PredictionService/Regress",
        regression_pb2.RegressionRequest(model_spec=spec, input=given),
        regression_pb2.RegressionResponse,
    )
    assert [one.value for one in regressed.result.regressions] == [3.5]
    tasks = [
        {"model_spec": {"name": "affine", "signature_name": f"{kind}_x"}, "method_name": f"tensorflow/serving/{kind}"}
        for kind in ("regress", "classify")
    ]
    both = served.call(
        "PredictionService/MultiInference",
        inference_pb2.MultiInferenceRequest(tasks=tasks, input=given),
        inference_pb2.MultiInferenceResponse,
    )
    assert both.results[0].regression_result == regressed.result
    labels = [(one.label, one.score) for one in both.results[1].classification_result.classifications[0].classes]
    assert labels == [("low", 3.5), ("high", 4.5)]
    assert [result.model_spec.version.value for result in both.results] == [2, 2]
    tasks[1]["model_spec"] = {"name": "affine", "signature_name": "regress_x"}
    with pytest.raises(grpc.RpcError, match="Duplicate evaluation of signature: regress_x"):
        served.call(
            "PredictionService/MultiInference",
            inference_pb2.MultiInferenceRequest(tasks=tasks, input=given),
            inference_pb2.MultiInferenceResponse,
        )


def test_states(served: Served) -> None:
    states = [
        {"version": version, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for version in ("2", "1")
    ]
    assert served.get("/v1/models/affine") == (200, {"model_version_status": states})
    assert served.get("/v1/models/affine/versions/1") == (200, {"model_version_status": states[1:]})
    response = served.call(
        "ModelService/GetModelStatus",
        get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "affine", "version_label": "stable"}),
        get_model_status_pb2.GetModelStatusResponse,
    )
    assert [(one.version, one.state) for one in response.model_version_status] == [(2, 30), (1, 30)]


def test_metadata(served: Served) -> None:
    _, answer = served.get("/v1/models/pair/metadata")
    assert answer["model_spec"] == {"name": "pair", "signature_name": "", "version": "1"}
    found = answer["metadata"]["signature_def"]["signature_def"]
    assert found.keys() == {"serving_default", "pick", "scalar"}
    assert found["pick"]["inputs"]["a"] == {
        "dtype": "DT_INT32",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "3", "name": ""}], "unknown_rank": False},
        "name": "a:0",
    }
    assert found["scalar"]["outputs"]["sum"]["tensor_shape"] == {"dim": [], "unknown_rank": False}
    assert (found["pick"]["method_name"], found["pick"]["defaults"]) == ("tensorflow/serving/predict", {})
    response = served.call(
        "PredictionService/GetModelMetadata",
        get_model_metadata_pb2.GetModelMetadataRequest(model_spec={"name": "pair"}, metadata_field=["signature_def"]),
        get_model_metadata_pb2.GetModelMetadataResponse,
    )
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == found.keys()


def test_deadlines_end_runs_that_are_under_way(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.call(PREDICT, predict_request("busy", n=ints((1,), 2_000_000_000)), predict_pb2.PredictResponse, 0.3)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # Nothing of it goes on: the next request is answered at once, and a run of a moment's length to its end.
    assert served.post("/v1/models/busy:predict", {"instances": [1000, 0]})[1] == {"predictions": [1000, 1000]}


def test_health(served: Served) -> None:
    from grpc_health.v1 import health_pb2

    with served.channel() as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for service in ("", "PredictionService", "ModelService"):
            answer = check(health_pb2.HealthCheckRequest(service=service).SerializeToString(), timeout=120)
            assert health_pb2.HealthCheckResponse.FromString(answer).status == 1
        with pytest.raises(grpc.RpcError) as caught:
            check(health_pb2.HealthCheckRequest(service="nope").SerializeToString(), timeout=120)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_the_page_for_prometheus_counts(served: Served) -> None:
    def count(line: str) -> int:
        page = served.http("GET", "/monitoring/prometheus/metrics")[2].decode()
        found = [
            text.rsplit(" ", 1)[1] for text in page.splitlines() if text.startswith(f":tensorflow:serving:{line} ")
        ]
        return int(found[0]) if found else 0

    def counts() -> list[int]:
        return [
            count('request_count{model_name="pair",status="OK"}'),
            count('request_count{model_name="pair",status="INVALID_ARGUMENT"}'),
            count('request_latency_count{model_name="pair",API="predict",entrypoint="REST"}'),
            count('request_latency_count{model_name="pair",API="Predict",entrypoint="GRPC"}'),
            count('runtime_latency_count{model_name="pair",API="Predict",runtime="TF1"}'),
        ]

    before = counts()
    pick = {"signature_name": "pick", "instances": [[0, 1, 2]]}
    assert served.post(PAIR, pick)[0] == 200
    assert served.post(PAIR, {})[0] == 400
    served.call(PREDICT, predict_request("pair", "pick", a=ints((1, 3), 0, 1, 2)), predict_pb2.PredictResponse)
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [2, 1, 1, 1, 2]
    status, content_type, _ = served.http("GET", "/monitoring/prometheus/metrics?x")
    assert (status, content_type) == (400, "text/plain")
