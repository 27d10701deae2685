"""Configuration files of the embedded server, and the requests that a model brings to warm it up."""

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from tensorflow.core.protobuf import saved_model_pb2

from bench.bert.demo.demo_model import demo_model_dir
from bench.core.errors import TargetError
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
from tests.support.saved_models import affine

_MODELS: Final = """model_config_list {
  config { name: "bert" base_path: "/models/bert" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 42 } } version_labels { key: "stable" value: 42 } }
}
"""
_NAMES: Final = (
    *(
        "",
        "x",
        "y:0",
        "^y",
        "y:7",
        ":0",
        "add",
        "Placeholder",
        "Switch",
        "NextIteration",
        "VarHandleOp",
        "PartitionedCall",
    ),
    *(
        "tensorflow/serving/predict",
        "serving_default",
        "a/../b",
        "\0",
        "\n\x1b[2J",
        "é" * 9,
        "x" * 5000,
        "/job:a/cpu:9",
    ),
)
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


def _saved_model(folder: Path, _secret: Path) -> None:
    affine(folder, 1)


def _load(folder: Path) -> object:
    """As the server does: the graph, its signatures, and what a metadata request gets."""
    try:
        servable = Servable("bert", 1, folder / "1", ["serve"], SessionOptions())
    except StatusError as error:
        # The server answers with the runtime's text, of several lines too; commands print it in one.
        raise TargetError(str(error)) from error
    try:
        return servable.signature_def_map.SerializeToString()
    finally:
        servable.retire()


def _mutate_saved_model(rng: random.Random, data: bytes) -> bytes:
    """The file cut off, or one to three fields of its signatures changed.

    Its graph is a program that TensorFlow runs: some broken ones end the process, as they end TensorFlow Serving.
    """
    if rng.random() < 0.1:
        return data[: rng.randrange(len(data))]
    model = saved_model_pb2.SavedModel.FromString(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        fields = [
            found for graph in model.meta_graphs for each in graph.signature_def.values() for found in _fields(each)
        ]
        if fields:
            _mutate_field(rng, *rng.choice(fields))
    return bytes(model.SerializeToString())


def _fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    """Each (message, field) that is set; lists of messages give a few of theirs."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == field.TYPE_MESSAGE:
            for part in list(value.values() if isinstance(value, Mapping) else value if _many(field) else [value])[:60]:
                if isinstance(part, Message):
                    yield from _fields(part)


def _many(field: FieldDescriptor) -> bool:
    return bool(field.label == field.LABEL_REPEATED)


def _mutate_field(rng: random.Random, message: Message, field: FieldDescriptor) -> None:
    """Takes a field away, repeats an entry, or puts something else there."""
    value = getattr(message, field.name)
    if _many(field) and rng.random() < 0.7 and not isinstance(value, Mapping):
        at = rng.randrange(len(value))
        if rng.random() < 0.5:
            value.extend([value[at]] * rng.choice((1, 2, 1000)))
        else:
            del value[at]
    elif _many(field) or field.type == field.TYPE_MESSAGE or rng.random() < 0.2:
        message.ClearField(field.name)
    elif field.type == field.TYPE_STRING:
        setattr(message, field.name, rng.choice(_NAMES))
    elif field.type == field.TYPE_BYTES:
        setattr(message, field.name, mutate_bytes(rng, value))
    elif field.type == field.TYPE_BOOL:
        setattr(message, field.name, not value)
    else:
        setattr(message, field.name, rng.choice((0, 1, 2, 3, 7, 20, 101, 2**31 - 1)))


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
        _text('server_key: "secret"\nserver_cert: "cert"\ncustom_ca: "ca"\nclient_verify: true\n'),
        ("config.txt",),
        _reader(read_tls_keys),
        mutate_text,
        named=True,
    ),
    Kind("warm-up", _warm_up_file, ("assets.extra/*",), _warm_up, mutate_bytes, refusals=(StatusError,)),
    Kind("saved-model", _saved_model, ("1/saved_model.pb",), _load, _mutate_saved_model, named=True),
)
