"""TensorFlow Serving's messages as far as a client needs them, made without TensorFlow's packages.

The classes come from `serving.binpb`, a compiled `serving.proto`, by protobuf's public API, so that one file serves
every release of protobuf. Their bytes are those of `tensorflow-serving-api` (tests).
"""

from pathlib import Path
from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2
from google.protobuf.message_factory import GetMessageClass

FILE: Final = Path(__file__).with_name("serving.binpb")
PREDICT_METHOD: Final = "/tensorflow.serving.PredictionService/Predict"
METADATA_METHOD: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS_METHOD: Final = "/tensorflow.serving.ModelService/GetModelStatus"
# What GetModelMetadataResponse.metadata["signature_def"] holds.
SIGNATURES_TYPE: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


def _load() -> Any:
    """The file's descriptor, in a pool of its own."""
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(FILE.read_bytes()).file
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name)


_FILE: Final = _load()


def _message(name: str) -> Any:
    return GetMessageClass(_FILE.message_types_by_name[name])


TensorShapeProto: Final = _message("TensorShapeProto")
TensorProto: Final = _message("TensorProto")
ModelSpec: Final = _message("ModelSpec")
PredictRequest: Final = _message("PredictRequest")
PredictResponse: Final = _message("PredictResponse")
GetModelStatusRequest: Final = _message("GetModelStatusRequest")
GetModelStatusResponse: Final = _message("GetModelStatusResponse")
ModelVersionStatus: Final = _message("ModelVersionStatus")
GetModelMetadataRequest: Final = _message("GetModelMetadataRequest")
GetModelMetadataResponse: Final = _message("GetModelMetadataResponse")
SignatureDefMap: Final = _message("SignatureDefMap")

_DATA_TYPES: Final = _FILE.enum_types_by_name["DataType"]


def data_type(name: str) -> int:
    """The number of a tensor's element type, such as `DT_FLOAT`."""
    return int(_DATA_TYPES.values_by_name[name].number)


def data_type_name(number: int) -> str:
    """Its name, or the number as text where a later TensorFlow has added the type."""
    known = _DATA_TYPES.values_by_number.get(number)
    return str(known.name) if known else str(number)
