"""All of Serving's messages and gRPC stubs, for the embedded server and exports; clients use `bench.serving.messages`.

Only this module imports `tensorflow_serving.apis`, and so needs TensorFlow's packages. The generated messages need
`tensorflow.core.framework.*_pb2`, whose normal import loads the whole TensorFlow runtime (seconds and hundreds of
megabytes). If TensorFlow is not loaded, a bare `tensorflow` package object whose `__path__` is the installed folder
replaces it while the messages are imported, and is removed from `sys.modules` afterwards: a later `import tensorflow`
loads the real package, which finds the imported messages and shares their classes.

The generated `prediction_service_pb2` and `model_service_pb2` do not load under protobuf 4; the stubs do not need them.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def _bare_tensorflow() -> Iterator[None]:
    """A `tensorflow` package without the runtime in `sys.modules`, unless the real one is there."""
    spec = None if "tensorflow" in sys.modules else importlib.util.find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        yield
        return
    bare = ModuleType("tensorflow")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["tensorflow"] = bare
    try:
        yield
    finally:
        if sys.modules.get("tensorflow") is bare:
            del sys.modules["tensorflow"]


with _bare_tensorflow():
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorflow.core.protobuf import error_codes_pb2, meta_graph_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        predict_pb2,
        prediction_log_pb2,
        regression_pb2,
        status_pb2,
    )
    from tensorflow_serving.apis.model_service_pb2_grpc import (
        ModelServiceServicer,
        ModelServiceStub,
        add_ModelServiceServicer_to_server,
    )
    from tensorflow_serving.apis.prediction_service_pb2_grpc import (
        PredictionServiceServicer,
        PredictionServiceStub,
        add_PredictionServiceServicer_to_server,
    )
    from tensorflow_serving.config import model_server_config_pb2

__all__ = [
    "ModelServiceServicer",
    "ModelServiceStub",
    "PredictionServiceServicer",
    "PredictionServiceStub",
    "add_ModelServiceServicer_to_server",
    "add_PredictionServiceServicer_to_server",
    "classification_pb2",
    "error_codes_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "meta_graph_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "predict_pb2",
    "prediction_log_pb2",
    "regression_pb2",
    "status_pb2",
    "tensor_pb2",
    "tensor_shape_pb2",
    "types_pb2",
]
