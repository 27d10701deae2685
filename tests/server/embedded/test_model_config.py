"""Configuration files in text form."""

import traceback
from pathlib import Path

import pytest

from bench.server.embedded.base.status import StartError
from bench.server.embedded.config.model_config import (
    BatchingParameters,
    read_batching_parameters,
    read_model_server_config,
    read_prometheus_path,
    read_tls_keys,
)


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


def test_no_queue_is_one_batch_where_none_is_split(tmp_path: Path) -> None:
    assert read_batching_parameters(written(tmp_path, "max_enqueued_batches { value: 0 }")).max_enqueued_batches == 1


def test_batching_defaults(tmp_path: Path) -> None:
    for parameters in (read_batching_parameters(None), read_batching_parameters(written(tmp_path, "# all"))):
        assert (parameters.max_batch_size, parameters.batch_timeout, parameters.max_enqueued_batches) == (1000, 0, 10)
        assert parameters.num_batch_threads >= 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("max_batch_size: 32", "Invalid protobuf file"),
        ("max_batch_siz { value: 32 }", "Invalid protobuf file"),
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        ("max_enqueued_batches { value: -1 }", "max_enqueued_batches must be positive; was -1"),
        (
            "max_enqueued_batches { value: 0 } enable_large_batch_splitting { value: true }",
            "max_enqueued_batches must be positive; was 0",
        ),
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
    assert read_prometheus_path(written(tmp_path, "# nothing")) is None
    assert (
        read_prometheus_path(written(tmp_path, "prometheus_config { enable: true }"))
        == "/monitoring/prometheus/metrics"
    )
    assert read_prometheus_path(written(tmp_path, 'prometheus_config { enable: true, path: "/p" }')) == "/p"


def test_tls_keys(tmp_path: Path) -> None:
    text = 'server_key: "k\\n" server_cert: "c" client_verify: true'
    keys = read_tls_keys(written(tmp_path, text + ' custom_ca: "r"'))
    assert (keys.key, keys.certificate, keys.client_roots, keys.verify_client) == (b"k\n", b"c", b"r", True)
    # The grpcio package has no roots of its own for clients.
    with pytest.raises(StartError, match="client_verify without custom_ca; give there the certificates"):
        read_tls_keys(written(tmp_path, text))


def test_files_that_cannot_be_mapped(tmp_path: Path) -> None:
    """As in tensorflow_model_server, which maps its files, an empty one and a folder among them."""
    for path, status in (
        (tmp_path / "none", f"NOT_FOUND: {tmp_path}/none; No such file or directory"),
        (tmp_path, f"NOT_FOUND: {tmp_path}; No such device"),
        (written(tmp_path, ""), f"INVALID_ARGUMENT: {tmp_path}/config; Invalid argument"),
    ):
        with pytest.raises(StartError, match="cannot be read") as caught:
            read_model_server_config(path)
        assert str(caught.value.status) == status


SECRET = "MIIEvQIBADANBgkqhkiG9w0"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"server_key: {SECRET}", "line 1, column 13"),
        (f'server_key "{SECRET}"', "line 1, column 12"),
        (f"server_key: '{SECRET}\n", "line 1, column 13"),
        (f'client_verify: "{SECRET}"', "line 1, column 16"),
        (f"{SECRET}: true", "line 1, column 1"),
        (f"server_key: '\xff{SECRET}'", "it is not UTF-8"),
    ],
)
def test_a_slip_in_a_tls_file_shows_no_key(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, place: str
) -> None:
    path = tmp_path / "tls"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StartError, match="Invalid protobuf file") as caught:
        read_tls_keys(path)
    shown = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert f"({place}); correct the SSL config file" in shown
    assert SECRET not in shown


def test_keys_are_not_shown(tmp_path: Path) -> None:
    keys = read_tls_keys(written(tmp_path, f'server_key: "{SECRET}"'))
    assert keys.key == SECRET.encode()
    assert SECRET not in repr(keys)


READERS = {
    "ModelServerConfig": read_model_server_config,
    "BatchingParameters": read_batching_parameters,
    "MonitoringConfig": read_prometheus_path,
}


@pytest.mark.parametrize(
    ("message", "text", "error"),
    [
        ("ModelServerConfig", "improperly formatted config", "1:12: Message type "
         '"tensorflow.serving.ModelServerConfig" has no field named "improperly".'),
        ("ModelServerConfig", "model_config_list {\n  config { nope: 1 }\n}", '2:16: Message type '
         '"tensorflow.serving.ModelConfig" has no field named "nope".'),
        ("ModelServerConfig", "model_config_list { config { name: 5 } }", "1:36: Expected string, got: 5"),
        ("ModelServerConfig", "model_config_list {\n config {", "2:10: Expected identifier, got: "),
        ("ModelServerConfig", 'model_config_list { config { name: "m" name: "n" } }', '1:44: Non-repeated field "name" '
         "is specified multiple times."),
        ("ModelServerConfig", "model_config_list { config { model_type: BEST } }", '1:47: Unknown enumeration value of '
         '"BEST" for field "model_type".'),
        ("ModelServerConfig", "model_config_list {} custom_model_config {}", '1:42: Field "custom_model_config" is '
         'specified along with field "model_config_list", another member of oneof "config".'),
        ("ModelServerConfig", 'model_config_list { config { name: "m }', "1:40: Unexpected end of string."),
        ("BatchingParameters", "max_batch_size: 32", '1:17: Expected "{", found "32".'),
        ("BatchingParameters", "max_batch_size { value: -99999999999999999999 }", "1:26: Integer out of range "
         "(99999999999999999999)"),
        ("MonitoringConfig", "prometheus_config { enable: maybe }", '1:35: Invalid value for boolean field "enable". '
         'Value: "maybe".'),
    ],
)  # fmt: skip
def test_the_parser_says_what_is_wrong(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], message: str, text: str, error: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(StartError, match="Invalid protobuf file") as caught:
        READERS[message](path)
    assert str(caught.value.status) == f"INVALID_ARGUMENT: Invalid protobuf file: '{path}'"
    assert f"] Error parsing text-format tensorflow.serving.{message}: {error}\n" in capfd.readouterr().err
    with pytest.raises(StartError, match="Invalid protobuf file"):
        READERS[message](path)


def test_the_parser_says_nothing_of_what_is_right(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = 'model_config_list: < config: { name: "m" base_path: \'/m\' "/n", model_platform: "tensorflow"; } > # so'
    (entry,) = read_model_server_config(written(tmp_path, config)).model_config_list.config
    assert (entry.name, entry.base_path) == ("m", "/m/n")
    parameters = "max_batch_size { value: 0x20 } allowed_batch_sizes: [8, 32]"
    assert read_batching_parameters(written(tmp_path, parameters)).allowed_batch_sizes == (8, 32)
    assert capfd.readouterr().err == ""
