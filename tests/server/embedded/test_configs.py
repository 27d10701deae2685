"""Configuration files in text form."""

from pathlib import Path

import pytest

from bench.server.embedded.configs import (
    BatchingParameters,
    read_batching_parameters,
    read_model_server_config,
    read_prometheus_path,
    read_tls_keys,
)
from bench.server.embedded.status import StartError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config"
    path.write_text(text)
    return path


def test_batching_parameters(tmp_path: Path) -> None:
    text = """
        max_batch_size { value: 32 }  batch_timeout_micros { value: 1500 }
        max_enqueued_batches { value: 7 } num_batch_threads { value: 3 }
        thread_pool_name { value: "pool" } allowed_batch_sizes: 8 allowed_batch_sizes: 32
        pad_variable_length_inputs: true
    """
    assert read_batching_parameters(written(tmp_path, text)) == BatchingParameters(
        max_batch_size=32,
        batch_timeout=0.0015,
        max_enqueued_batches=7,
        num_batch_threads=3,
        thread_pool_name="pool",
        allowed_batch_sizes=(8, 32),
        pad_variable_length_inputs=True,
        max_execution_batch_size=32,
    )


def test_batching_defaults(tmp_path: Path) -> None:
    for parameters in (read_batching_parameters(None), read_batching_parameters(written(tmp_path, ""))):
        assert (parameters.max_batch_size, parameters.batch_timeout, parameters.max_enqueued_batches) == (1000, 0, 10)
        assert parameters.num_batch_threads >= 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_size: 32", "Invalid protobuf file"),
        ("max_batch_siz { value: 32 }", "Invalid protobuf file"),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("allowed_batch_sizes: 8 allowed_batch_sizes: 8", "monotonically increasing"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "must match max_batch_size; last entry was 4; expected 8",
        ),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true } "
            "max_execution_batch_size { value: 16 }",
            "must be at least max_execution_batch_size",
        ),
    ],
)
def test_batching_parameters_that_do_not_go_together(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(StartError, match=error):
        read_batching_parameters(written(tmp_path, text))


def test_model_config(tmp_path: Path) -> None:
    config = read_model_server_config(
        written(tmp_path, 'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" } }')
    )
    assert [entry.name for entry in config.model_config_list.config] == ["m"]


def test_monitoring(tmp_path: Path) -> None:
    assert read_prometheus_path(None) is None
    assert read_prometheus_path(written(tmp_path, "")) is None
    assert (
        read_prometheus_path(written(tmp_path, "prometheus_config { enable: true }"))
        == "/monitoring/prometheus/metrics"
    )
    assert read_prometheus_path(written(tmp_path, 'prometheus_config { enable: true, path: "/p" }')) == "/p"


def test_tls_keys(tmp_path: Path) -> None:
    keys = read_tls_keys(written(tmp_path, 'server_key: "k\\n" server_cert: "c" client_verify: true'))
    assert (keys.key, keys.certificate, keys.client_roots, keys.verify_client) == (b"k\n", b"c", b"", True)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be read"):
        read_model_server_config(tmp_path / "none")
