"""The gRPC client against small servers; each failure becomes a ServingError."""

import socket
import threading
import time
from typing import Any

import grpc
import numpy as np
import pytest

from bench.server.running import free_ports
from bench.serving import messages
from bench.serving.access import Access
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Rejected,
    ServerFailed,
    ServingError,
    Unavailable,
)
from bench.serving.grpc_client import GrpcClient, make_channel
from bench.serving.headers import Headers
from bench.serving.predict_messages import predict_message, predict_response
from bench.serving.tensors import from_proto, to_proto
from bench.serving.types import PredictRequest, TensorInfo, VersionStatus
from tests.support.programmed_servers import grpc_server

TEAM = Access(Headers([("X-Team", "search")]))
REQUEST = PredictRequest({"x": np.array([1.0, 2.0], np.float32)}, "score")


def answer_message(**outputs: Any) -> Any:
    message = messages.PredictResponse(model_spec=messages.ModelSpec(name="bert", version={"value": 3}))
    for name, array in outputs.items():
        message.outputs[name].CopyFrom(to_proto(array))
    return message.SerializeToString()


def test_predict() -> None:
    seen: dict[str, Any] = {}

    def answer(method: str, message: Any, context: Any) -> Any:
        seen["method"], seen["metadata"] = method, dict(context.invocation_metadata())
        asked = messages.PredictRequest.FromString(message)
        seen["spec"] = asked.model_spec
        return answer_message(y=from_proto(asked.inputs["x"]) * 2)

    with grpc_server(answer) as address, GrpcClient(address, TEAM) as client:
        response = client.predict(REQUEST, 5)
    assert response.outputs["y"].tolist() == [2.0, 4.0]
    assert response.version == 3
    assert response.bytes_out == predict_message(REQUEST).ByteSize()
    assert response.bytes_in == len(answer_message(y=np.zeros(2, np.float32)))
    assert seen["method"] == "/tensorflow.serving.PredictionService/Predict"
    assert seen["spec"] == messages.ModelSpec(name="bert", signature_name="score")
    assert seen["metadata"]["x-team"] == "search"


def test_version_and_label_travel() -> None:
    assert predict_message(PredictRequest({}, version=7)).model_spec.version.value == 7
    assert predict_message(PredictRequest({}, label="stable")).model_spec.version_label == "stable"
    assert predict_message(PredictRequest({})).model_spec.WhichOneof("version_choice") is None


def test_answers_larger_than_the_default_limit() -> None:
    large = np.zeros(2_000_000, np.float32)
    with grpc_server(lambda *_: answer_message(y=large)) as address, GrpcClient(address) as client:
        assert client.predict(REQUEST, 20).outputs["y"].size == large.size


def test_status_and_metadata() -> None:
    def answer(method: str, message: Any, context: Any) -> Any:
        if method.endswith("GetModelStatus"):
            status = messages.GetModelStatusResponse()
            entry = status.model_version_status.add(version=4, state=30)
            entry.status.error_message = ""
            return status.SerializeToString()
        signatures = messages.SignatureDefMap()
        signature = signatures.signature_def["score"]
        signature.method_name = "tensorflow/serving/predict"
        info = signature.inputs["x"]
        info.dtype = messages.data_type("DT_FLOAT")
        info.tensor_shape.dim.add(size=-1)
        signature.outputs["y"].tensor_shape.unknown_rank = True
        response = messages.GetModelMetadataResponse(model_spec=messages.ModelSpec(name="bert", version={"value": 4}))
        held = response.metadata["signature_def"]
        held.type_url, held.value = messages.SIGNATURES_TYPE, signatures.SerializeToString()
        return response.SerializeToString()

    with grpc_server(answer) as address, GrpcClient(address) as client:
        assert client.status("bert", 5) == (VersionStatus(4, "AVAILABLE", "OK", ""),)
        metadata = client.metadata("bert", 5)
    assert metadata.version == 4
    assert metadata.signatures["score"].inputs == {"x": TensorInfo("x", "DT_FLOAT", (-1,))}
    assert metadata.signatures["score"].outputs["y"].shape is None


def test_a_value_in_a_model_s_state_is_not_repeated() -> None:
    status = messages.GetModelStatusResponse()
    status.model_version_status.add(version=4, state=50).status.error_message = "planted-5f3a9c27 is not known"
    access = Access(Headers([("X-Api-Key", "planted-5f3a9c27")]))
    with grpc_server(lambda *_: status.SerializeToString()) as address, GrpcClient(address, access) as client:
        assert client.status("bert", 5) == (VersionStatus(4, "END", "OK", "<redacted> is not known"),)


def test_a_state_of_a_later_serving_and_signatures_that_cannot_be_read() -> None:
    status = messages.GetModelStatusResponse()
    status.model_version_status.add(version=4).state = 99
    metadata = messages.GetModelMetadataResponse()
    metadata.metadata["signature_def"].type_url = messages.SIGNATURES_TYPE
    metadata.metadata["signature_def"].value = b"\xff"
    with (
        grpc_server(lambda method, *_: (status if "Status" in method else metadata).SerializeToString()) as address,
        GrpcClient(address) as client,
    ):
        assert client.status("bert", 5) == (VersionStatus(4, "99"),)
        with pytest.raises(InvalidResponse, match="signatures in the metadata cannot be read"):
            client.metadata("bert", 5)


def test_metadata_without_signatures() -> None:
    empty = messages.GetModelMetadataResponse().SerializeToString()
    with (
        grpc_server(lambda *_: empty) as address,
        GrpcClient(address) as client,
        pytest.raises(InvalidResponse, match="no signatures"),
    ):
        client.metadata("bert", 5)


EXPECTED = {
    "CANCELLED": Rejected,
    "UNKNOWN": ServerFailed,
    "INVALID_ARGUMENT": Rejected,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "NOT_FOUND": Rejected,
    "ALREADY_EXISTS": Rejected,
    "PERMISSION_DENIED": Rejected,
    "RESOURCE_EXHAUSTED": Unavailable,
    "FAILED_PRECONDITION": Rejected,
    "ABORTED": Rejected,
    "OUT_OF_RANGE": Rejected,
    "UNIMPLEMENTED": Rejected,
    "INTERNAL": ServerFailed,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": ServerFailed,
    "UNAUTHENTICATED": Rejected,
}


def test_every_status_code_has_its_error() -> None:
    assert EXPECTED.keys() == {code.name for code in grpc.StatusCode} - {"OK"}
    codes = iter(EXPECTED)

    def answer(method: str, message: Any, context: Any) -> None:
        context.abort(grpc.StatusCode[next(codes)], "because\nof it")

    with grpc_server(answer) as address, GrpcClient(address) as client:
        for name, error in EXPECTED.items():
            with pytest.raises(ServingError) as caught:
                client.predict(REQUEST, 5)
            assert type(caught.value) is error, name
            assert caught.value.code == name
            assert "\n" not in str(caught.value)


def test_a_refusal_for_want_of_threads_names_the_flag() -> None:
    def answer(method: str, message: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")

    with (
        grpc_server(answer) as address,
        GrpcClient(address) as client,
        pytest.raises(Unavailable, match="start it with a larger --grpc_max_threads") as caught,
    ):
        client.predict(REQUEST, 5)
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_nobody_listens() -> None:
    with GrpcClient(f"127.0.0.1:{free_ports(1)[0]}") as client, pytest.raises(ConnectFailed, match="is the server up"):
        client.predict(REQUEST, 2)


def test_a_server_that_does_not_speak_grpc() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        with (
            GrpcClient(f"127.0.0.1:{listener.getsockname()[1]}") as client,
            pytest.raises((ConnectFailed, InvalidResponse, DeadlineExceeded)),
        ):
            client.predict(REQUEST, 1)


def test_no_answer_in_time() -> None:
    def answer(method: str, message: Any, context: Any) -> bytes:
        time.sleep(0.4)
        return b""

    with grpc_server(answer) as address, GrpcClient(address) as client, pytest.raises(DeadlineExceeded):
        client.predict(REQUEST, 0.1)


@pytest.mark.parametrize("data", [b"\xff\xff\xff", answer_message(y=np.zeros(2, np.float32))[:-3]])
def test_unreadable_answers(data: Any) -> None:
    with pytest.raises(InvalidResponse):
        predict_response(data, 0)
    with grpc_server(lambda *_: data) as address, GrpcClient(address) as client, pytest.raises(InvalidResponse):
        client.predict(REQUEST, 5)


def test_unreadable_status() -> None:
    with (
        grpc_server(lambda *_: b"\xff\xff\xff") as address,
        GrpcClient(address) as client,
        pytest.raises(InvalidResponse),
    ):
        client.status("bert", 5)


def test_contradicting_tensor() -> None:
    message = messages.PredictResponse.FromString(answer_message(y=np.zeros(4, np.float32)))
    message.outputs["y"].tensor_content = b"\0" * 4
    with pytest.raises(InvalidResponse, match="4"):
        predict_response(message.SerializeToString(), 0)


def test_a_server_that_is_back_is_called_again_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage of 30 s the library waited for 16 s more, in which all calls failed."""
    made: list[Any] = []
    monkeypatch.setattr("grpc.insecure_channel", lambda _, options: made.append(dict(options)))
    make_channel("127.0.0.1:9")
    assert made[0]["grpc.initial_reconnect_backoff_ms"] <= made[0]["grpc.max_reconnect_backoff_ms"] <= 1000


def test_a_closed_client() -> None:
    client = GrpcClient(f"127.0.0.1:{free_ports(1)[0]}")
    client.close()
    with pytest.raises(ServingError):
        client.predict(REQUEST, 1)
