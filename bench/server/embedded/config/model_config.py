"""The server's configuration files: protocol buffers in text form, read strictly.

The package `tensorflow-serving-api` lacks the messages for batching, monitoring and TLS; they are declared here with
the names and fields of Serving's `session_bundle_config.proto`, `monitoring_config.proto` and `ssl_config.proto`.
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from bench.core.cores import allowed_cores
from bench.server.embedded.base.status import Code, StartError, StatusError, invalid_argument
from bench.server.embedded.runtime.text_proto import is_text_of
from bench.serving.protos import model_server_config_pb2

PLATFORM: Final = "tensorflow"
_MAX_THREADS: Final = 4096
PROMETHEUS_PATH: Final = "/monitoring/prometheus/metrics"

_Field = descriptor_pb2.FieldDescriptorProto
_Declared = Mapping[str, tuple[int, str]]

_INT64: Final = ".google.protobuf.Int64Value"
_BATCHING: Final[_Declared] = {
    "max_batch_size": (1, _INT64),
    "batch_timeout_micros": (2, _INT64),
    "max_enqueued_batches": (3, _INT64),
    "num_batch_threads": (4, _INT64),
    "thread_pool_name": (5, ".google.protobuf.StringValue"),
    "allowed_batch_sizes": (6, "repeated int64"),
    "pad_variable_length_inputs": (7, "bool"),
    "enable_large_batch_splitting": (8, ".google.protobuf.BoolValue"),
    "max_execution_batch_size": (9, _INT64),
}
_PROMETHEUS: Final[_Declared] = {"enable": (1, "bool"), "path": (2, "string")}
_MONITORING: Final[_Declared] = {"prometheus_config": (1, ".tensorflow.serving.PrometheusConfig")}
_SSL: Final[_Declared] = {
    "server_key": (1, "string"),
    "server_cert": (2, "string"),
    "custom_ca": (3, "string"),
    "client_verify": (4, "bool"),
}
_SCALARS: Final = {"int64": _Field.TYPE_INT64, "bool": _Field.TYPE_BOOL, "string": _Field.TYPE_STRING}


def _declare(messages: Mapping[str, _Declared]) -> dict[str, Any]:
    """Message classes with the declared fields."""
    file = descriptor_pb2.FileDescriptorProto(
        name="bench/embedded_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            label = _Field.LABEL_REPEATED if kind.startswith("repeated ") else _Field.LABEL_OPTIONAL
            kind = kind.removeprefix("repeated ")
            field = message.field.add(name=field_name, number=number, label=label)
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, kind
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))
        for name in messages
    }


_MESSAGES: Final = _declare(
    {
        "BatchingParameters": _BATCHING,
        "PrometheusConfig": _PROMETHEUS,
        "MonitoringConfig": _MONITORING,
        "SSLConfig": _SSL,
    }
)


# TensorFlow's codes for the system's errors when it maps a file; all others are UNKNOWN.
_FILE_CODES: Final = {
    errno.ENOENT: Code.NOT_FOUND,
    errno.ENODEV: Code.NOT_FOUND,
    errno.EACCES: Code.PERMISSION_DENIED,
    errno.EINVAL: Code.INVALID_ARGUMENT,
}


def _read(path: Path, message: Any, what: str, secret: bool = False) -> Any:
    """A message in a file; errors show none of a secret text, and the C++ parser, which prints some, is not asked."""
    try:
        text = path.read_bytes()
    except OSError as error:
        # The binary opens a folder without an error, but cannot map it.
        raise _unreadable(path, what, errno.ENODEV if error.errno == errno.EISDIR else error.errno or 0) from error
    if not text:
        raise _unreadable(path, what, errno.EINVAL, "it is empty")
    reason = "" if secret or is_text_of(text, message) else "the parser's message is on stderr"
    try:
        text_format.Parse(text.decode(), message)
    except text_format.ParseError as error:
        reason = f"line {error.GetLine()}, column {error.GetColumn()}" if secret else str(error)
    except UnicodeDecodeError as error:
        reason = "it is not UTF-8" if secret else str(error)
    if reason:
        raise StartError(
            f"Invalid protobuf file: '{path}' ({reason}); correct the {what} file",
            invalid_argument(f"Invalid protobuf file: '{path}'"),
        ) from None
    return message


def _unreadable(path: Path, what: str, number: int, reason: str = "") -> StartError:
    status = StatusError(_FILE_CODES.get(number, Code.UNKNOWN), f"{path}; {os.strerror(number)}")
    return StartError(
        f"the {what} file {path} cannot be read ({reason or os.strerror(number)}); check the flag", status
    )


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are batched; sizes in rows (`batching_parameters.txt`).

    Args:
        max_batch_size: the largest batch; with splitting the largest request.
        batch_timeout: seconds that an open batch waits for more requests.
        max_enqueued_batches: batches that may wait in one queue.
        num_batch_threads: batches that run at a time.
        thread_pool_name: a label of the metrics.
        allowed_batch_sizes: sizes that batches are padded to; empty for any size.
        pad_variable_length_inputs: whether requests of different shapes share a batch.
        enable_large_batch_splitting: whether a request may span several batches.
        max_execution_batch_size: the largest batch when requests are split.

    Raises:
        StartError: a value is out of range, or values contradict each other.
    """

    max_batch_size: int = 1000
    batch_timeout: float = 0.0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    thread_pool_name: str = "model_server_batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 1000

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "num_batch_threads", "max_execution_batch_size"):
            if getattr(self, name) < 1:
                raise StartError(f"{name} must be positive; was {getattr(self, name)}")
        if self.num_batch_threads > _MAX_THREADS:
            raise StartError(f"num_batch_threads must be at most {_MAX_THREADS}; was {self.num_batch_threads}")
        if self.max_enqueued_batches < 1:
            raise StartError(f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}")
        if self.batch_timeout < 0:
            raise StartError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout * 1e6:.0f}")
        if self.enable_large_batch_splitting and self.max_batch_size < self.max_execution_batch_size:
            raise StartError(
                f"max_batch_size ({self.max_batch_size}) must be at least max_execution_batch_size "
                f"({self.max_execution_batch_size}) when enable_large_batch_splitting is true"
            )
        sizes = self.allowed_batch_sizes
        if any(later <= earlier for earlier, later in zip((0, *sizes), sizes, strict=False)):
            raise StartError("allowed_batch_sizes entries must be positive and monotonically increasing")
        if sizes and sizes[-1] != self.batch_limit:
            limit = "max_execution_batch_size" if self.enable_large_batch_splitting else "max_batch_size"
            raise StartError(
                f"Last entry in allowed_batch_sizes must match {limit}; last entry was {sizes[-1]}; "
                f"expected {self.batch_limit}"
            )

    @property
    def batch_limit(self) -> int:
        """Rows of the largest batch that runs."""
        return self.max_execution_batch_size if self.enable_large_batch_splitting else self.max_batch_size


def read_batching_parameters(path: Path | None) -> BatchingParameters:
    """The parameters in a file; missing fields, or all without a file, have Serving's defaults.

    Raises:
        StartError: the file cannot be read, or its values contradict each other.
    """
    cores = len(allowed_cores())
    if path is None:
        return BatchingParameters(num_batch_threads=cores)
    raw = _read(path, _MESSAGES["BatchingParameters"](), "batching parameters")

    def given(name: str, default: Any) -> Any:
        return getattr(raw, name).value if raw.HasField(name) else default

    size, enqueued = given("max_batch_size", 1000), given("max_enqueued_batches", 10)
    splitting = given("enable_large_batch_splitting", False)
    return BatchingParameters(
        max_batch_size=size,
        batch_timeout=given("batch_timeout_micros", 0) / 1e6,
        # Without splitting, 0 works like 1 (SharedBatchScheduler::AddQueue).
        max_enqueued_batches=1 if not enqueued and not splitting else enqueued,
        num_batch_threads=given("num_batch_threads", cores),
        thread_pool_name=given("thread_pool_name", ""),
        allowed_batch_sizes=tuple(raw.allowed_batch_sizes),
        pad_variable_length_inputs=raw.pad_variable_length_inputs,
        enable_large_batch_splitting=splitting,
        max_execution_batch_size=given("max_execution_batch_size", size),
    )


def read_model_server_config(path: Path) -> Any:
    """The ModelServerConfig in a file.

    Raises:
        StartError: the file cannot be read.
    """
    return _read(path, model_server_config_pb2.ModelServerConfig(), "model config")


def single_model_config(name: str, base_path: str) -> Any:
    """The ModelServerConfig of one model."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def read_prometheus_path(path: Path | None) -> str | None:
    """The path of the metrics page; None if the page is not enabled.

    Raises:
        StartError: the file cannot be read.
    """
    if path is None:
        return None
    config = _read(path, _MESSAGES["MonitoringConfig"](), "monitoring config").prometheus_config
    return (config.path or PROMETHEUS_PATH) if config.enable else None


@dataclass(frozen=True)
class TlsKeys:
    """Keys and certificates of a TLS server, in PEM; `client_roots` sign those of clients, if they are verified."""

    key: bytes = field(repr=False)
    certificate: bytes
    client_roots: bytes
    verify_client: bool


def read_tls_keys(path: Path) -> TlsKeys:
    """The keys in an `ssl_config` file.

    Raises:
        StartError: the file cannot be read, or lacks what verifies clients.
    """
    raw = _read(path, _MESSAGES["SSLConfig"](), "SSL config", secret=True)
    if raw.client_verify and not raw.custom_ca:
        raise StartError(
            f"the SSL config file {path} has client_verify without custom_ca; give there the certificates (PEM) that "
            "sign those of clients"
        )
    return TlsKeys(raw.server_key.encode(), raw.server_cert.encode(), raw.custom_ca.encode(), raw.client_verify)
