"""The binary's flags."""

import pytest

from bench.server.embedded.base.status import StartError
from bench.server.embedded.config.flags import Flags, channel_arguments, parse_flags

BASE = "--model_base_path=/m"


def test_defaults_are_the_binarys() -> None:
    flags, warnings = parse_flags([BASE])
    assert flags == Flags(model_base_path="/m")
    assert (flags.port, flags.rest_api_port, flags.rest_api_timeout_in_ms, flags.model_name) == (
        8500,
        0,
        30000,
        "default",
    )
    assert flags.grpc_max_threads % 4 == 0
    assert not warnings


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--port=1"], "port", 1),
        (["--port", "2"], "port", 2),
        (["-port=3"], "port", 3),
        (["--enable_batching"], "enable_batching", True),
        (["--enable_batching=true"], "enable_batching", True),
        (["--enable_batching", "false"], "enable_batching", False),
        (["--enable_batching", BASE], "enable_batching", True),
        (["--enable_model_warmup=0"], "enable_model_warmup", False),
        (["--per_process_gpu_memory_fraction=0.5"], "per_process_gpu_memory_fraction", 0.5),
        (["--model_name="], "model_name", ""),
        (["--bind_address=0.0.0.0"], "bind_address", "0.0.0.0"),
    ],
)
def test_forms(words: list[str], name: str, value: object) -> None:
    assert getattr(parse_flags([BASE, *words])[0], name) == value


@pytest.mark.parametrize("flag", ["--num_load_threads=4", "--flush_filesystem_caches", "--prefer_tflite_model=false"])
def test_what_changes_nothing_is_taken_with_a_warning(flag: str) -> None:
    _, (warning,) = parse_flags([BASE, flag])
    assert flag.partition("=")[0] in warning


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ([BASE, "--nope=1"], "unknown argument: --nope"),
        ([BASE, "word"], "unknown argument: word"),
        ([BASE, "--port=x"], "--port=x is not a whole number"),
        ([BASE, "--enable_batching=maybe"], "is not true or false"),
        ([BASE, "--port"], "--port needs a value"),
        ([BASE, "--prefer_tflite_model"], "--prefer_tflite_model is not supported"),
        ([BASE, "--platform_config_file=/f"], "--platform_config_file is not supported"),
        ([BASE, "--tensorflow_session_config_file=/f"], "--tensorflow_session_config_file is not supported"),
        ([BASE, "--enable_per_model_batching_parameters"], "--enable_per_model_batching_parameters is not supported"),
        # All addresses of the machine, for the system.
        ([BASE, "--bind_address="], "--bind_address is empty; give an address to listen on"),
        ([BASE, "--port=0"], "neither --port nor --grpc_socket_path"),
        ([BASE, "--port=65536"], "--port=65536 is out of range; give a number from 0 to 65535"),
        ([BASE, "--grpc_max_threads=0"], "--grpc_max_threads=0 is out of range; give a number from 1 to 4096"),
        ([], "neither --model_base_path nor --model_config_file"),
        ([BASE, "--batching_parameters_file=/f"], "without --enable_batching"),
        (
            [
                BASE,
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "cannot be set together",
        ),
    ],
)
def test_what_is_refused(words: list[str], error: str) -> None:
    with pytest.raises(StartError, match=error):
        parse_flags(words)


def test_channel_arguments() -> None:
    assert channel_arguments("") == ()
    assert channel_arguments("grpc.a=1,grpc.b=-2,grpc.c=x") == (("grpc.a", 1), ("grpc.b", -2), ("grpc.c", "x"))
    assert channel_arguments("a=2147483647,b=-2147483648") == (("a", 2147483647), ("b", -2147483648))
    for value in ("2147483648", "-2147483649", "9" * 5000):
        with pytest.raises(StartError, match=f"'a={value}' is out of range; give a number of 32 bits"):
            channel_arguments(f"a={value}")
    with pytest.raises(StartError, match=r"'grpc\.a' has no value"):
        channel_arguments("grpc.a")
