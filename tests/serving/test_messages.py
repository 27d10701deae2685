"""The client's own messages are those of tensorflow-serving-api: the same fields, and the same bytes."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from bench.serving import messages, protos
from bench.serving.tensors import to_proto

PAIRS = {
    "TensorShapeProto": protos.tensor_shape_pb2.TensorShapeProto,
    "TensorProto": protos.tensor_pb2.TensorProto,
    "ModelSpec": protos.model_pb2.ModelSpec,
    "PredictRequest": protos.predict_pb2.PredictRequest,
    "PredictResponse": protos.predict_pb2.PredictResponse,
    "GetModelStatusRequest": protos.get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": protos.get_model_status_pb2.GetModelStatusResponse,
    "ModelVersionStatus": protos.get_model_status_pb2.ModelVersionStatus,
    "GetModelMetadataRequest": protos.get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": protos.get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": protos.get_model_metadata_pb2.SignatureDefMap,
}
# Read by no client of Predict; protobuf keeps them as unknown fields.
LEFT_OUT = {
    "TensorProto": {"resource_handle_val", "variant_val"},
    "PredictRequest": {"predict_streamed_options", "client_id"},
    "SignatureDef": {"defaults"},
    "TensorInfo": {"coo_sparse", "composite_tensor"},
}


def fields(descriptor: Any) -> dict[str, tuple[Any, ...]]:
    return {
        field.name: (field.number, field.type, field.label, field.containing_oneof and field.containing_oneof.name)
        for field in descriptor.fields
    }


def compared(ours: Any, theirs: Any) -> Iterator[tuple[Any, Any]]:
    """The two descriptors, and those of the messages in them."""
    yield ours, theirs
    for field in ours.fields:
        if field.message_type is not None and field.message_type.full_name.startswith("bertbench."):
            yield from compared(field.message_type, theirs.fields_by_name[field.name].message_type)


@pytest.mark.parametrize("name", PAIRS)
def test_fields_are_serving_s(name: str) -> None:
    for ours, theirs in compared(getattr(messages, name).DESCRIPTOR, PAIRS[name].DESCRIPTOR):
        public = fields(theirs)
        for left_out in LEFT_OUT.get(ours.name, ()):
            del public[left_out]
        assert fields(ours) == public, ours.full_name


def test_enums_are_serving_s() -> None:
    theirs = {
        value.name: value.number
        for value in protos.types_pb2.DataType.DESCRIPTOR.values
        if not value.name.endswith("_REF")
    }
    assert {name: messages.data_type(name) for name in theirs} == theirs
    assert [messages.data_type_name(number) for number in theirs.values()] == list(theirs)
    assert messages.data_type_name(9999) == "9999"
    states = protos.get_model_status_pb2.ModelVersionStatus.State.items()
    assert messages.ModelVersionStatus.State.items() == states


TENSORS = [
    np.array([[1.5, -0.0], [np.inf, 3e-45]], np.float32),
    np.array([1.5, 1e300]),
    np.array([[0, -1, 2**31 - 1]], np.int32),
    np.array([0, -1, 2**62]),
    np.array([2**64 - 1], np.uint64),
    np.array([True, False]),
    np.array(["", "é", "a" * 300], object),
    np.zeros((0, 3), np.float32),
]


@pytest.mark.parametrize("array", TENSORS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_bytes_are_serving_s(array: Any) -> None:
    """What is written here reads there as what it is here, and comes back the same bytes."""
    request = messages.PredictRequest(
        model_spec={"name": "bert", "signature_name": "score", "version": {"value": 3}},
        inputs={"x": to_proto(array), "é": to_proto(array)},
        output_filter=["log_prob"],
    )
    ours = request.SerializeToString(deterministic=True)
    theirs = protos.predict_pb2.PredictRequest.FromString(ours)
    assert not len(UnknownFieldSet(theirs))
    assert theirs.SerializeToString(deterministic=True) == ours
    assert str(theirs) == str(request)


def test_unknown_fields_survive() -> None:
    theirs = protos.predict_pb2.PredictRequest(client_id=b"abc")
    assert messages.PredictRequest.FromString(theirs.SerializeToString()).SerializeToString() == b"\x32\x03abc"


def test_the_compiled_file_is_up_to_date(tmp_path: Path) -> None:
    """`serving.binpb` is what `make protos` makes of `serving.proto`."""
    folder = str(files("bench.serving.messages"))
    made = tmp_path / "made.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", folder, f"--descriptor_set_out={made}", "serving.proto"]
    subprocess.run(command, check=True, capture_output=True)
    assert made.read_bytes() == messages.FILE.read_bytes()
