"""Every kind of checkpoint becomes the same model, and what does not fit is named."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest
import tensorflow as tf
from safetensors.numpy import load_file, save_file

from bench.bert.checkpoints.google import write_google_folder, write_variables
from bench.bert.checkpoints.huggingface import to_google, to_hugging_face
from bench.bert.checkpoints.prefix import PREFIX, find_prefix
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import (
    HEAD_SCOPE,
    _changes_model,
    digest_model,
    fresh_variables,
    variable_shapes,
)
from bench.bert.config import PRESETS
from bench.core.errors import UsageError
from tests.bert.conftest import small_config


def write_hugging_face(folder: Path, checkpoint: Checkpoint, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    fields = {key: getattr(checkpoint.config, key) for key in checkpoint.config.__slots__}
    (folder / "config.json").write_bytes(orjson.dumps(fields | {"model_type": "bert"}))
    checkpoint.tokenizer.write_vocab(folder / "vocab.txt")
    tensors = to_hugging_face(checkpoint.variables)
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].copy()
    tensors["bert.pooler.dense.weight"] = np.zeros((32, 32), np.float32)
    tensors["bert.embeddings.position_ids"] = np.arange(40)[np.newaxis]
    save_file({**tensors, **changes}, folder / "model.safetensors")
    return folder


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return one.digest == other.digest and one.config == other.config and one.tokenizer.digest == other.tokenizer.digest


@pytest.fixture(scope="module")
def google(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("google")
    write_google_folder(folder, checkpoint)
    return folder


def test_a_google_folder(google: Path, checkpoint: Checkpoint) -> None:
    assert same(open_checkpoint(google), checkpoint)
    for name, value in open_checkpoint(google).variables.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, checkpoint.variables[name])


def test_a_hugging_face_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    found = open_checkpoint(write_hugging_face(tmp_path, checkpoint))
    assert (found.digest, found.config) == (checkpoint.digest, checkpoint.config)
    assert found.tokenizer.vocabulary == checkpoint.tokenizer.vocabulary
    assert found.tokenizer.options.max_word_chars == 100


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
def test_hugging_face_weights_in_pieces_and_in_half_precision(
    tmp_path: Path, checkpoint: Checkpoint, half: type[Any]
) -> None:
    write_hugging_face(tmp_path, checkpoint)
    whole = load_file(tmp_path / "model.safetensors")
    names = sorted(whole)
    for index, part in enumerate((names[::2], names[1::2])):
        tensors = {name: whole[name].astype(half) if whole[name].dtype == np.float32 else whole[name] for name in part}
        save_file(tensors, tmp_path / f"part{index}.safetensors")
    weight_map = {name: f"part{index % 2}.safetensors" for index, name in enumerate(names)}
    (tmp_path / "model.safetensors.index.json").write_bytes(orjson.dumps({"weight_map": weight_map}))
    (tmp_path / "model.safetensors").unlink()
    read = open_checkpoint(tmp_path)
    for name, value in checkpoint.variables.items():
        np.testing.assert_allclose(read.variables[name], value, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"num_attention_heads": 2}, {"layer_norm_eps": 1e-5}])
def test_the_digest_tells_what_is_computed_apart(checkpoint: Checkpoint, change: dict[str, Any]) -> None:
    """The same weights under another config are another model."""
    changed = dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, **change))
    assert changed.digest != checkpoint.digest


def test_what_changes_no_answer_changes_no_digest(checkpoint: Checkpoint) -> None:
    """Dropout is for training; `gelu_python` is `gelu` by another name. The demo's digest is that of its weights."""
    for change in ({"hidden_dropout_prob": 0.0}, {"hidden_act": "gelu_python"}):
        config = dataclasses.replace(checkpoint.config, **change)
        assert dataclasses.replace(checkpoint, config=config).digest == checkpoint.digest
    demo = open_checkpoint("demo")
    weights = hashlib.sha256()
    for name, value in sorted(demo.variables.items()):
        weights.update(f"{name} {value.shape}\n".encode() + value.tobytes())
    assert demo.digest == f"sha256:{weights.hexdigest()}"


def test_hugging_faces_older_names_and_a_bare_model(checkpoint: Checkpoint) -> None:
    """`gamma` and `beta`, and no `bert.` in front, with a fresh head."""
    tensors = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in to_hugging_face(checkpoint.variables).items()
    }
    assert digest_model(checkpoint.config, to_google(tensors, checkpoint.config, "test")) == checkpoint.digest  # type: ignore[arg-type]
    bare = {name.removeprefix("bert."): value for name, value in tensors.items() if name.startswith("bert.")}
    read = to_google(bare, checkpoint.config, "test", init_head=True)  # type: ignore[arg-type]
    for name in variable_shapes(checkpoint.config):
        assert name.startswith(HEAD_SCOPE) or np.array_equal(read[name], checkpoint.variables[name])


def test_an_estimators_folder_gives_its_newest_checkpoint(tmp_path: Path, google: Path, checkpoint: Checkpoint) -> None:
    """Slots of the optimiser and the global step lie in it too."""
    for name in ("bert_config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((google / name).read_bytes())
    old = fresh_variables(checkpoint.config, 9)
    slots = {f"{name}/adam_m": np.zeros(3, np.float32) for name in checkpoint.variables}
    write_variables(tmp_path / "model.ckpt-1", old)
    write_variables(
        tmp_path / "model.ckpt-20", {**checkpoint.variables, **slots, "global_step": np.array(20, np.int64)}
    )
    tf.compat.v1.train.update_checkpoint_state(
        str(tmp_path), "model.ckpt-20", all_model_checkpoint_paths=["model.ckpt-1", "model.ckpt-20"]
    )
    assert same(open_checkpoint(tmp_path), checkpoint)


def test_the_demo_and_the_presets_are_whole() -> None:
    demo = open_checkpoint("demo")
    assert demo.source == "demo"
    tiny = open_checkpoint("tiny")
    assert tiny.config == PRESETS["tiny"]
    assert len(tiny.tokenizer.vocabulary) == len(set(tiny.tokenizer.vocabulary)) == 30_522
    assert tiny.tokenizer.encode("the book").token_ids == demo.tokenizer.encode("the book").token_ids
    assert tiny.digest == open_checkpoint("tiny").digest


def broken(checkpoint: Checkpoint, change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    variables = dict(checkpoint.variables)
    change(variables)
    return variables


KERNEL = "bert/encoder/layer_1/output/dense/kernel"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda found: found.pop(KERNEL), KERNEL),
        (lambda found: found.update({KERNEL: np.zeros((3, 4), np.float32)}), KERNEL),
        (lambda found: found.pop("cls/predictions/output_bias"), "output_bias"),
        (lambda found: found.update({"bert/encoder/layer_2/output/dense/bias": np.zeros(3, np.float32)}), "layer_2"),
        (lambda found: [found.pop(name) for name in list(found) if name.startswith("cls")], "--init-head"),
    ],
)
def test_a_google_checkpoint_that_does_not_fit(
    tmp_path: Path, checkpoint: Checkpoint, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    write_google_folder(tmp_path, checkpoint)
    write_variables(tmp_path / PREFIX, broken(checkpoint, change))
    with pytest.raises(UsageError, match=named):
        open_checkpoint(tmp_path)


def test_a_fresh_head_is_made_only_when_asked_and_the_same_each_time(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_google_folder(tmp_path, checkpoint)
    body = {name: value for name, value in checkpoint.variables.items() if not name.startswith(HEAD_SCOPE)}
    write_variables(tmp_path / PREFIX, body)
    first = open_checkpoint(tmp_path, init_head=True)
    assert first.digest == open_checkpoint(tmp_path, init_head=True).digest != checkpoint.digest
    kernel = first.variables["cls/predictions/transform/dense/kernel"]
    assert 0.1 < kernel.std() < 0.4
    assert not first.variables["cls/predictions/output_bias"].any()


def test_init_head_leaves_a_head_that_is_there(google: Path, checkpoint: Checkpoint) -> None:
    assert open_checkpoint(google, init_head=True).digest == checkpoint.digest


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"bert.encoder.layer.0.adapter.weight": np.zeros(3, np.float32)}, "adapter"),
        ({"bert.encoder.layer.7.output.dense.bias": np.zeros(32, np.float32)}, "layer_7"),
        ({"cls.predictions.decoder.weight": np.ones((27, 32), np.float32)}, "decoder.weight"),
        ({"cls.predictions.decoder.bias": np.ones(27, np.float32)}, "decoder.bias"),
        ({"bert.encoder.layer.0.output.dense.weight": np.zeros((2, 2), np.float32)}, "layer_0/output/dense/kernel"),
    ],
)
def test_hugging_face_weights_that_are_another_model(
    tmp_path: Path, checkpoint: Checkpoint, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        open_checkpoint(write_hugging_face(tmp_path, checkpoint, **changes))


def test_a_vocabulary_larger_than_the_embeddings(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_google_folder(tmp_path, checkpoint)
    with (tmp_path / "vocab.txt").open("a") as vocab:
        vocab.write("more\n")
    with pytest.raises(UsageError, match=r"28 pieces .* 27"):
        open_checkpoint(tmp_path)


def test_case_can_be_overridden(google: Path) -> None:
    assert open_checkpoint(google).tokenizer.options.do_lower_case
    assert not open_checkpoint(google, do_lower_case=False).tokenizer.options.do_lower_case
    with pytest.raises(UsageError, match="uncased"):
        open_checkpoint("tiny", do_lower_case=False)


def test_folders_that_hold_no_checkpoint(tmp_path: Path, checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match="no checkpoint folder"):
        open_checkpoint(tmp_path / "none")
    with pytest.raises(UsageError, match=r"no checkpoint folder tny; .*; did you mean tiny\?"):
        open_checkpoint("tny")
    with pytest.raises(UsageError, match="neither"):
        open_checkpoint(tmp_path)
    (tmp_path / "bert_config.json").write_bytes(small_config().to_json())
    checkpoint.tokenizer.write_vocab(tmp_path / "vocab.txt")
    with pytest.raises(UsageError, match="neither model.safetensors nor pytorch_model.bin nor a TensorFlow"):
        open_checkpoint(tmp_path)
    (tmp_path / "bert_model.ckpt.index").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        open_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "bert_model.ckpt.index").unlink()
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
    with pytest.raises(UsageError, match=r"model\.ckpt-7, which is not in it"):
        find_prefix(tmp_path)


def test_hugging_face_folders_that_hold_no_weights(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(UsageError, match="cannot be read"):
        open_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_bytes(b"[]")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="index"):
        open_checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(UsageError, match=r"neither model\.safetensors nor"):
        open_checkpoint(tmp_path)


def test_the_digest_tells_values_shapes_and_names_apart(checkpoint: Checkpoint) -> None:
    changed = dict(checkpoint.variables)
    changed[KERNEL] = np.nextafter(changed[KERNEL], np.float32(9))
    assert digest_model(checkpoint.config, changed) != checkpoint.digest
    backwards = dict(reversed(list(checkpoint.variables.items())))
    assert digest_model(checkpoint.config, backwards) == checkpoint.digest
    with pytest.raises(UsageError, match="shape"):
        dataclasses.replace(checkpoint, variables={**checkpoint.variables, KERNEL: changed[KERNEL].T})


class CountedShapes(dict[str, tuple[int, ...]]):
    """Shapes that count how often a name was looked for."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        self.asked += 1
        return super().__contains__(name)


def test_a_name_of_any_number_of_parts_is_looked_at_once() -> None:
    """A name in a file of others may have a million."""
    expected = CountedShapes(variable_shapes(small_config()))
    deepest = max(expected, key=lambda name: name.count("/"))
    names = {f"{deepest}{'/a' * 1000}": False, f"{deepest}_0{'/a' * 1000}": True, f"bert{'/a' * 1000}": True}
    for name, changes in names.items():
        expected.asked = 0
        assert _changes_model(name, (4, 4), expected) is changes
        assert expected.asked < 10
