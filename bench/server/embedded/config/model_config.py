"""The server's configuration files: protocol buffers in text form, read strictly.

The messages for batching, monitoring and TLS are not in the `tensorflow-serving-api` package; they are declared here
with the names and fields of Serving's `session_bundle_config.proto`, `monitoring_config.proto` and `ssl_config.proto`.
"""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2

from bench.server.embedded.base.status import Code, StartError, StatusError, invalid_argument
from bench.serving.protos import model_server_config_pb2

PLATFORM: Final = "tensorflow"
PROMETHEUS_PATH: Final = "/monitoring/prometheus/metrics"

# Whether a text is a message of the given one's type; whoever is asked says why it is not.
TextCheck = Callable[[bytes, Any], bool]

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


# The codes that TensorFlow makes of the system's errors when it maps a file; everything else is UNKNOWN.
_FILE_CODES: Final = {
    errno.ENOENT: Code.NOT_FOUND,
    errno.ENODEV: Code.NOT_FOUND,
    errno.EACCES: Code.PERMISSION_DENIED,
    errno.EINVAL: Code.INVALID_ARGUMENT,
}


def _read(path: Path, message: Any, what: str, check: TextCheck | None) -> Any:
    try:
        text = path.read_bytes()
    except OSError as error:
        # A folder can be opened; it is mapping it that fails.
        raise _unreadable(path, what, errno.ENODEV if error.errno == errno.EISDIR else error.errno or 0) from error
    if not text:
        raise _unreadable(path, what, errno.EINVAL, "it is empty")
    reason = "" if check is None or check(text, message) else "its parser says why on stderr"
    try:
        text_format.Parse(text.decode(), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        reason = str(error)
    if reason:
        raise StartError(
            f"Invalid protobuf file: '{path}' ({reason}); correct the {what} file",
            invalid_argument(f"Invalid protobuf file: '{path}'"),
        )
    return message


def _unreadable(path: Path, what: str, number: int, reason: str = "") -> StartError:
    status = StatusError(_FILE_CODES.get(number, Code.UNKNOWN), f"{path}; {os.strerror(number)}")
    return StartError(
        f"the {what} file {path} cannot be read ({reason or os.strerror(number)}); check the flag", status
    )


@dataclass(frozen=True)
class BatchingParameters:
    """How requests are put together; sizes in rows (`batching_parameters.txt`).

    Args:
        max_batch_size: the largest batch, or with splitting the largest request.
        batch_timeout: seconds that a batch waits for more.
        max_enqueued_batches: batches that may wait in one queue.
        num_batch_threads: batches that run at a time.
        thread_pool_name: a label of the metrics.
        allowed_batch_sizes: sizes that batches are padded to; none for any.
        pad_variable_length_inputs: whether requests of different shapes share a batch.
        enable_large_batch_splitting: whether a request may be spread over batches.
        max_execution_batch_size: the largest batch when requests are split.

    Raises:
        StartError: values that do not go together.
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
        """The most rows that run at once."""
        return self.max_execution_batch_size if self.enable_large_batch_splitting else self.max_batch_size


def read_batching_parameters(path: Path | None, check: TextCheck | None = None) -> BatchingParameters:
    """The parameters in a file; a field that is left out has Serving's default. None gives all defaults.

    Raises:
        StartError: unreadable, or values that do not go together.
    """
    cores = len(os.sched_getaffinity(0))
    if path is None:
        return BatchingParameters(num_batch_threads=cores)
    raw = _read(path, _MESSAGES["BatchingParameters"](), "batching parameters", check)

    def given(name: str, default: Any) -> Any:
        return getattr(raw, name).value if raw.HasField(name) else default

    size = given("max_batch_size", 1000)
    return BatchingParameters(
        max_batch_size=size,
        batch_timeout=given("batch_timeout_micros", 0) / 1e6,
        # Without splitting, 0 works like 1 (SharedBatchScheduler::AddQueue).
        max_enqueued_batches=max(given("max_enqueued_batches", 10), 1),
        num_batch_threads=given("num_batch_threads", cores),
        thread_pool_name=given("thread_pool_name", ""),
        allowed_batch_sizes=tuple(raw.allowed_batch_sizes),
        pad_variable_length_inputs=raw.pad_variable_length_inputs,
        enable_large_batch_splitting=given("enable_large_batch_splitting", False),
        max_execution_batch_size=given("max_execution_batch_size", size),
    )


def read_model_server_config(path: Path, check: TextCheck | None = None) -> Any:
    """A ModelServerConfig.

    Raises:
        StartError: unreadable.
    """
    return _read(path, model_server_config_pb2.ModelServerConfig(), "model config", check)


def single_model_config(name: str, base_path: str) -> Any:
    """The ModelServerConfig of one model."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=PLATFORM)
    return config


def read_prometheus_path(path: Path | None, check: TextCheck | None = None) -> str | None:
    """Where the metrics page is; None if it is not enabled.

    Raises:
        StartError: unreadable.
    """
    if path is None:
        return None
    config = _read(path, _MESSAGES["MonitoringConfig"](), "monitoring config", check).prometheus_config
    return (config.path or PROMETHEUS_PATH) if config.enable else None


@dataclass(frozen=True)
class TlsKeys:
    """What a TLS server needs, all PEM; `client_roots` is empty for the system's."""

    key: bytes
    certificate: bytes
    client_roots: bytes
    verify_client: bool


def read_tls_keys(path: Path, check: TextCheck | None = None) -> TlsKeys:
    """The keys in an `ssl_config` file.

    Raises:
        StartError: unreadable.
    """
    raw = _read(path, _MESSAGES["SSLConfig"](), "SSL config", check)
    return TlsKeys(raw.server_key.encode(), raw.server_cert.encode(), raw.custom_ca.encode(), raw.client_verify)
