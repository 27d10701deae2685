"""`tensorflow_model_server`'s flags, with their names and defaults (main.cc)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from bench.core.cores import allowed_cores
from bench.server.embedded.base.limits import INT32_MAX
from bench.server.embedded.base.status import StartError, invalid_argument

_CORES: Final = len(allowed_cores())


@dataclass(frozen=True)
class Flags:
    """The flags that this server supports; names, units and defaults are the binary's.

    Those of this server alone come last: the address to listen on, and what clients may take up, in bytes.
    """

    port: int = 8500
    grpc_socket_path: str = ""
    rest_api_port: int = 0
    rest_api_num_threads: int = 4 * _CORES
    rest_api_timeout_in_ms: int = 30000
    rest_api_enable_cors_support: bool = False
    grpc_max_threads: int = 4 * _CORES
    grpc_channel_arguments: str = ""
    enable_grpc_healthcheck_service: bool = False
    ssl_config_file: str = ""
    monitoring_config_file: str = ""
    model_name: str = "default"
    model_base_path: str = ""
    model_config_file: str = ""
    model_config_file_poll_wait_seconds: int = 0
    file_system_poll_wait_seconds: int = 1
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    saved_model_tags: str = "serve"
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0
    enable_batching: bool = False
    batching_parameters_file: str = ""
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    per_process_gpu_memory_fraction: float = 0.0
    allow_version_labels_for_unavailable_models: bool = False
    force_allow_any_version_labels_for_unavailable_models: bool = False
    enable_signature_method_name_check: bool = False
    version: bool = False
    bind_address: str = "127.0.0.1"
    max_request_bytes: int = 64 << 20
    max_unpacked_bytes: int = 16 << 20
    max_fill_bytes: int = 64 << 20
    max_held_bytes: int = 128 << 20
    max_connections: int = 4096


# Flags of the binary without an effect that clients can see.
_IGNORED: Final = {
    "num_load_threads": int,
    "num_unload_threads": int,
    "max_num_unload_retries": int,
    "flush_filesystem_caches": bool,
    "remove_unused_fields_from_bundle_metagraph": bool,
    "num_tflite_pools": int,
    "num_tflite_interpreters_per_pool": int,
    "enable_profiler": bool,
    "skip_initialize_tpu": bool,
    "prefer_tflite_model": bool,
    "use_tflite_model": bool,
    "use_alts_credentials": bool,
    "xla_cpu_compilation_enabled": bool,
    "xla_gpu_compilation_enabled": bool,
    "platform_config_file": str,
    "thread_pool_factory_config_file": str,
    "tensorflow_session_config_file": str,
    "enable_per_model_batching_parameters": bool,
    "mixed_precision": str,
}
# Ignored flags that are refused when they are set.
_REFUSED_IF_SET: Final = frozenset(
    {
        "prefer_tflite_model",
        "use_tflite_model",
        "use_alts_credentials",
        "xla_cpu_compilation_enabled",
        "xla_gpu_compilation_enabled",
        "platform_config_file",
        "thread_pool_factory_config_file",
        "tensorflow_session_config_file",
        "enable_per_model_batching_parameters",
        "mixed_precision",
    }
)
# Lowest and highest values; of other integers those of 32 bits. More threads than that cannot be started.
RANGES: Final = {
    **dict.fromkeys(("port", "rest_api_port"), (0, 65535)),
    **dict.fromkeys(("rest_api_num_threads", "grpc_max_threads"), (1, 4096)),
    **dict.fromkeys(
        ("tensorflow_session_parallelism", "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism"),
        (0, 4096),
    ),
    "rest_api_timeout_in_ms": (1, INT32_MAX),
    # A hundred years: Python's clocks end at three hundred.
    "load_retry_interval_micros": (0, 100 * 365 * 86_400 * 1_000_000),
    **dict.fromkeys(("max_request_bytes", "max_unpacked_bytes", "max_fill_bytes"), (1 << 16, INT32_MAX)),
    "max_held_bytes": (1 << 16, 1 << 40),
    "max_connections": (1, 1 << 20),
}
_TRUE: Final = ("true", "1", "")
_FALSE: Final = ("false", "0")
_WHOLE: Final = re.compile(r"-?[0-9]+")
# Of a 32-bit integer; Python refuses to convert very long texts.
_INT32_CHARACTERS: Final = 11


def parse_flags(words: Sequence[str]) -> tuple[Flags, list[str]]:
    """Reads `--flag=value`, `--flag value` and, for booleans, `--flag`.

    Returns:
        The flags, and a warning for each ignored flag.

    Raises:
        StartError: a flag is unknown, a value is not valid, or flags contradict each other.
    """
    kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(Flags)}
    values: dict[str, Any] = {}
    warnings = []
    rest = list(words)
    while rest:
        name, text = _split(rest, kinds)
        if name in kinds:
            values[name] = _value(name, text, kinds[name])
        elif name in _IGNORED:
            value = _value(name, text, _IGNORED[name])
            if value and name in _REFUSED_IF_SET:
                raise StartError(f"--{name} is not supported by the embedded server; leave it out")
            warnings.append(f"--{name} has no effect on the embedded server")
        else:
            raise StartError(f"unknown argument: --{name}; the flags are those of tensorflow_model_server 2.15")
    flags = Flags(**values)
    _check(flags)
    return flags, warnings


def _split(rest: list[str], kinds: dict[str, Any]) -> tuple[str, str]:
    """Removes the first flag from the words: its name and the text of its value."""
    word = rest.pop(0)
    if not word.startswith("-") or not word.lstrip("-"):
        raise StartError(f"unknown argument: {word}; flags are written --flag=value")
    name, equals, text = word.lstrip("-").partition("=")
    if equals:
        return name, text
    if (kinds.get(name) or _IGNORED.get(name)) is bool:
        takes_next = bool(rest) and rest[0].lower() in ("true", "false")
        return name, rest.pop(0) if takes_next else ""
    if name in kinds or name in _IGNORED:
        if not rest or rest[0].startswith("--"):
            raise StartError(f"--{name} needs a value; write --{name}=VALUE")
        return name, rest.pop(0)
    return name, ""


def _value(name: str, text: str, kind: Any) -> Any:
    try:
        if kind is str:
            return text
        if kind is not bool:
            return _number(text, kind)
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
    except ValueError:
        pass
    expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
    raise StartError(f"--{name}={text} is not {expected}")


def _number(text: str, kind: Callable[[str], float]) -> float:
    """A number as the binary's `sscanf` reads it: Python would also accept trailing blanks, `1_000` and `٣`."""
    if text != text.rstrip() or "_" in text or not text.isascii():
        raise ValueError(text)
    return kind(text)


def _check(flags: Flags) -> None:
    if flags.version:
        return
    if not flags.bind_address:
        raise StartError("--bind_address is empty; give an address to listen on, 127.0.0.1 or 0.0.0.0 for all")
    if not flags.port and not flags.grpc_socket_path:
        raise StartError("neither --port nor --grpc_socket_path is set; give one of them")
    if not flags.model_base_path and not flags.model_config_file:
        raise StartError(
            "neither --model_base_path nor --model_config_file is set; give one of them",
            invalid_argument("Both server_options.model_base_path and server_options.model_config_file are empty!"),
        )
    if flags.batching_parameters_file and not flags.enable_batching:
        raise StartError(
            "--batching_parameters_file is set without --enable_batching; add --enable_batching",
            invalid_argument(
                "server_options.batching_parameters_file is set without setting server_options.enable_batching to true."
            ),
        )
    shared, separate = (
        flags.tensorflow_session_parallelism,
        (
            flags.tensorflow_intra_op_parallelism,
            flags.tensorflow_inter_op_parallelism,
        ),
    )
    if shared and all(separate):
        raise StartError(
            "--tensorflow_session_parallelism cannot be set together with --tensorflow_intra_op_parallelism and "
            "--tensorflow_inter_op_parallelism; leave it out"
        )
    _check_ranges(flags)


def _check_ranges(flags: Flags) -> None:
    """Refuses numbers outside of their ranges: the binary's are 32 bits wide, or 64."""
    for field in fields(Flags):
        value = getattr(flags, field.name)
        if type(field.default) is int:
            low, high = RANGES.get(field.name, (-INT32_MAX - 1, INT32_MAX))
            if not low <= value <= high:
                raise StartError(f"--{field.name}={value} is out of range; give a number from {low} to {high}")
    fraction = flags.per_process_gpu_memory_fraction
    if not 0 <= fraction <= 1:
        raise StartError(f"--per_process_gpu_memory_fraction={fraction} is out of range; give a number from 0 to 1")


def channel_arguments(text: str) -> tuple[tuple[str, int | str], ...]:
    """The channel arguments in `--grpc_channel_arguments`, `name=value,name=value`; integers become int.

    Raises:
        StartError: an argument has no value, or more than 32 bits, which gRPC takes for a text and ignores.
    """
    arguments: list[tuple[str, int | str]] = []
    for pair in filter(None, text.split(",")):
        name, equals, value = pair.partition("=")
        if not equals:
            raise StartError(f"--grpc_channel_arguments: {pair!r} has no value; write name=value,name=value")
        if not _WHOLE.fullmatch(value):
            arguments.append((name, value))
        elif len(value) <= _INT32_CHARACTERS and -INT32_MAX - 1 <= int(value) <= INT32_MAX:
            arguments.append((name, int(value)))
        else:
            raise StartError(f"--grpc_channel_arguments: {pair!r} is out of range; give a number of 32 bits")
    return tuple(arguments)
