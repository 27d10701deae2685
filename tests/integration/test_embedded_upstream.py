"""What Serving's own end-to-end suite asks of a server and no other test here does: exports of other makers, start-up
flags, the services beside prediction."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from bench.serving.protos import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    tensor_pb2,
    types_pb2,
)
from tests.support.embedded_server import Served, entry, floats, model_config, predict_request, run_once, start

PREDICT = "PredictionService/Predict"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tests.support import saved_models as models

    root = tmp_path_factory.mktemp("upstream")
    found = {name: root / name for name in ("affine", "doubler", "layered", "scorer")}
    for name, base in found.items():
        base.mkdir()
        getattr(models, name)(base, 123)
    return found


@pytest.fixture(scope="module")
def served(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose gRPC side is the grpcio package's, as channel arguments ask for."""
    root = tmp_path_factory.mktemp("config")
    config = model_config(root / "models.config", *(entry(name, base) for name, base in bases.items()))
    (root / "monitoring.config").write_text("prometheus_config: { enable: true }")
    with start(
        f"--model_config_file={config}",
        f"--monitoring_config_file={root / 'monitoring.config'}",
        "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.lb_policy_name=grpclb",
        "--rest_api_timeout_in_ms=5000",
    ) as server:
        yield server


def matrix(values: list[list[float]]) -> Any:
    array = np.float32(values)  # type: ignore[arg-type]
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_content=array.tobytes())
    for size in array.shape:  # type: ignore[var-annotated]
        proto.tensor_shape.dim.add(size=size)
    return proto


def test_the_page_for_prometheus_before_any_request(served: Served) -> None:
    status, content_type, page = served.http("GET", "/monitoring/prometheus/metrics")
    assert (status, content_type) == (200, "text/plain")
    assert b"# TYPE :tensorflow:serving:request_count counter\n" in page


@pytest.mark.parametrize("outputs", [(), ("y",)])
def test_a_v1_graph(served: Served, outputs: tuple[str, ...]) -> None:
    request = predict_request("affine", outputs=outputs, x=floats(2.0))
    response = served.call(PREDICT, request, predict_pb2.PredictResponse)
    assert list(response.outputs["y"].float_val) == [125.0]
    spec = response.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("affine", "serving_default", 123)


def test_a_tf2_module(served: Served) -> None:
    response = served.call(PREDICT, predict_request("doubler", x=matrix([[1, 2]])), predict_pb2.PredictResponse)
    assert list(response.outputs["doubled"].float_val) == [2.0, 4.0]
    assert served.post("/v1/models/doubler:predict", {"inputs": {"x": [[1, 2]]}}) == (200, {"outputs": [[2.0, 4.0]]})


def test_a_keras_model(served: Served) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "layered"}, metadata_field=["signature_def"]
    )
    metadata = served.call(
        "PredictionService/GetModelMetadata", request, get_model_metadata_pb2.GetModelMetadataResponse
    )
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert metadata.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "__saved_model_init_op"}
    (given,), (taken,) = (getattr(signatures.signature_def["serving_default"], side) for side in ("inputs", "outputs"))
    response = served.call(PREDICT, predict_request("layered", **{given: matrix([[2.0]])}), predict_pb2.PredictResponse)
    assert list(response.outputs[taken].float_val) == [4.0]
    assert served.post("/v1/models/layered:predict", {"instances": [[2.0], [4.0]]}) == (
        200,
        {"predictions": [[4.0], [5.0]]},
    )


def test_examples_of_a_tf2_export_over_rest(served: Served) -> None:
    examples = [{"x": 2.0}, {"x": [4.0]}]
    regressed = served.post("/v1/models/scorer:regress", {"signature_name": "regress_x", "examples": examples})
    assert regressed == (200, {"results": [1250.0, 1260.0]})
    classified = served.post("/v1/models/scorer:classify", {"signature_name": "only_scores", "examples": examples})
    assert classified == (200, {"results": [[["", 125.0]], [["", 126.0]]]})


def test_states(served: Served) -> None:
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "layered"})
    (state,) = served.call(
        "ModelService/GetModelStatus", request, get_model_status_pb2.GetModelStatusResponse
    ).model_version_status
    assert (state.version, state.status.error_code) == (123, 0)
    assert served.http("GET", "/v1/models/layered")[2] == (
        b'{\n "model_version_status": [\n  {\n   "version": "123",\n   "state": "AVAILABLE",\n   "status": {\n'
        b'    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


def test_metadata_over_rest(served: Served) -> None:
    text = served.http("GET", "/v1/models/doubler/metadata")[2].decode()
    assert text.startswith(
        '{\n"model_spec":{\n "name": "doubler",\n "signature_name": "",\n "version": "123"\n}\n,\n'
        '"metadata": {"signature_def": {\n "signature_def": {\n'
    )
    assert text.endswith("\n }\n}\n}\n}\n")
    for line in ('    "x": {', '     "dtype": "DT_FLOAT",', '        "size": "-1",', '   "defaults": {}'):
        assert f"\n{line}\n" in text


def test_a_browser_gets_the_same_over_a_connection_that_stays(served: Served) -> None:
    connection = http.client.HTTPConnection("localhost", served.rest_port, timeout=120)
    for body, answer in (
        (b'{"instances": [2.0, 3.0, 4.0]}', b'{\n    "predictions": [125.0, 125.5, 126.0\n    ]\n}'),
        (b'{"inputs": [2.0, 3.0]}', b'{\n    "outputs": [\n        125.0,\n        125.5\n    ]\n}'),
        (b'{"instances": 2}', b'{\n    "error": "JSON Value: {\\n    \\"instances\\": 2\\n} Expecting '
         b"'instances' to be an list/array\"\n}"),
    ):  # fmt: skip
        connection.request("POST", "/v1/models/affine:predict", body)
        assert connection.getresponse().read() == answer
    connection.close()


@pytest.mark.parametrize("method", ["Profile", "Monitor", "Terminate"])
def test_there_is_no_profiler(served: Served, method: str) -> None:
    with served.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(f"/tensorflow.ProfilerService/{method}")(b"", timeout=120)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("flag", ["prefer_tflite_model", "use_tflite_model"])
def test_tflite_is_refused_by_name(bases: dict[str, Path], flag: str) -> None:
    done = run_once(f"--{flag}=true", f"--model_base_path={bases['affine']}", seconds=30)
    assert done.returncode == 2
    assert f"--{flag} is not supported by the embedded server" in done.stderr


def test_a_config_file_is_not_followed_unless_told_to(bases: dict[str, Path], tmp_path: Path) -> None:
    config = model_config(tmp_path / "models.config", entry("affine", bases["affine"]))
    with start(f"--model_config_file={config}", "--model_config_file_poll_wait_seconds=0") as served:
        model_config(config, entry("doubler", bases["doubler"]))
        time.sleep(1.5)
        assert served.http("GET", "/v1/models/doubler")[0] == 404
        assert served.http("GET", "/v1/models/affine")[0] == 200


def test_a_reload_that_fails_says_why(bases: dict[str, Path], tmp_path: Path) -> None:
    """A folder without a model, as upstream's bad export: the call waits for it as long as its caller does."""
    (tmp_path / "1").mkdir()
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="bad", base_path=str(tmp_path), model_platform="tensorflow")
    with start("--model_name=affine", f"--model_base_path={bases['affine']}") as served:
        with pytest.raises(grpc.RpcError) as caught:
            served.call("ModelService/HandleReloadConfigRequest", request, model_management_pb2.ReloadConfigResponse, 2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        served.until_logged("model 'bad' version 1 failed to load.*Could not find SavedModel")
