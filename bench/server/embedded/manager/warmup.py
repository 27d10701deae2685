"""Warm-up: requests stored with a model that run before it serves (saved_model_warmup.cc)."""

import time
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import DecodeError

from bench.server.embedded.api import examples, predict
from bench.server.embedded.base import metrics
from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.manager.tfrecord import records
from bench.server.embedded.models.servable import Caller, Servable
from bench.serving.protos import prediction_log_pb2

FILE_NAME: Final = "tf_serving_warmup_requests"
MAX_RECORDS: Final = 1000


def warm_up(servable: Servable, iterations: int) -> int:
    """Runs the model's recorded requests, if there are any.

    Args:
        servable: the version.
        iterations: runs of each record.

    Returns:
        The number of records.

    Raises:
        StatusError: a record cannot be read or the model refuses it; the version must not serve then.
    """
    path = servable.path / "assets.extra" / FILE_NAME
    if not path.is_file():
        return 0
    started = time.perf_counter()
    status = Code.OK
    count = 0
    try:
        for record in records(path):
            count += 1
            if count > MAX_RECORDS:
                raise invalid_argument(f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}")
            log = _parsed(record, path)
            for _ in range(iterations):
                _replay(servable, log)
    except OSError as error:
        status = Code.DATA_LOSS
        raise StatusError(status, f"Failed to read warmup record file {path}: {error.strerror}") from error
    except StatusError as error:
        status = error.code
        raise
    finally:
        metrics.MODEL_WARMUP_LATENCY.observe((str(servable.path), status.name), started)
    return count


def _parsed(record: bytes, path: Path) -> Any:
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError:
        raise invalid_argument(f"Failed to parse warmup record: from {path}") from None


def _replay(servable: Servable, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    caller = Caller()
    if kind == "predict_log":
        request = log.predict_log.request
        signature = predict.find_signature(servable, request.model_spec.signature_name)
        predict.predict(servable, signature, request.inputs, request.output_filter, caller)
    elif kind == "classify_log":
        examples.classify(servable, log.classify_log.request, caller, check_method=False)
    elif kind == "regress_log":
        examples.regress(servable, log.regress_log.request, caller, check_method=False)
    elif kind == "multi_inference_log":
        examples.multi_inference(servable, log.multi_inference_log.request, caller, check_method=False)
    elif kind == "session_run_log":
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise StatusError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {number}")
