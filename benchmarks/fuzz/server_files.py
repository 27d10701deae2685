"""Configuration files of the embedded server, and the requests that a model brings to warm it up."""

from functools import cache
from pathlib import Path
from typing import Any, Final

from bench.bert.demo.demo_model import demo_model_dir
from bench.server.embedded.base.status import StatusError
from bench.server.embedded.config.model_config import (
    read_batching_parameters,
    read_model_server_config,
    read_prometheus_path,
    read_tls_keys,
)
from bench.server.embedded.manager import warmup
from bench.server.embedded.models.servable import Servable
from bench.server.embedded.runtime.session import SessionOptions
from benchmarks.fuzz.kinds import Kind
from benchmarks.fuzz.mutations import mutate_bytes, mutate_text

_MODELS: Final = """model_config_list {
  config { name: "bert" base_path: "/models/bert" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 42 } } version_labels { key: "stable" value: 42 } }
}
"""
_BATCHING: Final = """max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
num_batch_threads { value: 2 }
allowed_batch_sizes: 8
allowed_batch_sizes: 32
pad_variable_length_inputs: true
"""


def _text(text: str) -> Any:
    return lambda folder, _secret: (folder / "config.txt").write_text(text)


def _reader(read: Any) -> Any:
    return lambda folder: str(read(folder / "config.txt"))


@cache
def _servable() -> Servable:
    (version,) = demo_model_dir().iterdir()
    return Servable("bert", 1, version, ["serve"], SessionOptions())


def _warm_up_file(folder: Path, _secret: Path) -> None:
    (folder / "assets.extra").mkdir()
    found = _servable().path / "assets.extra" / warmup.FILE_NAME
    (folder / "assets.extra" / warmup.FILE_NAME).write_bytes(found.read_bytes())


def _warm_up(folder: Path) -> object:
    servable = _servable()
    servable.path = folder
    return warmup.warm_up(servable, 1)


KINDS: Final = (
    Kind("model-config", _text(_MODELS), ("config.txt",), _reader(read_model_server_config), mutate_text, named=True),
    Kind(
        "batching-config", _text(_BATCHING), ("config.txt",), _reader(read_batching_parameters), mutate_text, named=True
    ),
    Kind(
        "monitoring-config",
        _text('prometheus_config { enable: true path: "/metrics" }\n'),
        ("config.txt",),
        _reader(read_prometheus_path),
        mutate_text,
        named=True,
    ),
    Kind(
        "ssl-config",
        _text('server_key: "secret"\nserver_cert: "cert"\nclient_verify: true\n'),
        ("config.txt",),
        _reader(read_tls_keys),
        mutate_text,
        named=True,
    ),
    Kind("warm-up", _warm_up_file, ("assets.extra/*",), _warm_up, mutate_bytes, refusals=(StatusError,)),
)
