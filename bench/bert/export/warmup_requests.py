"""TF: the warm-up requests that travel with a model, `assets.extra/tf_serving_warmup_requests`.

TensorFlow Serving sends them while it loads a version: a TFRecord of PredictionLog, 1000 records at most.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import tensorflow as tf

from bench.serving.predict_messages import predict_bytes
from bench.serving.protos import predict_pb2, prediction_log_pb2
from bench.serving.types import PredictRequest

FILE_NAME: Final = "tf_serving_warmup_requests"


def write_warmup(path: Path, requests: Iterable[PredictRequest]) -> None:
    """Writes a record a request."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            message = predict_pb2.PredictRequest.FromString(predict_bytes(request))
            log = prediction_log_pb2.PredictLog(request=message)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
