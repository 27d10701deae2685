"""Folders of Hugging Face's weights as others leave them: prefixes, tied names, other formats, broken indexes."""

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest
from safetensors.numpy import load_file, save_file

from bench.bert.checkpoints.google import write_variables
from bench.bert.checkpoints.huggingface import to_hugging_face
from bench.bert.checkpoints.prefix import PREFIX
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import fresh_variables
from bench.core.errors import UsageError
from tests.bert.test_checkpoint import write_hugging_face
from tests.bert.test_checkpoint_folders import write


def rewrite(folder: Path, change: Any, metadata: dict[str, str] | None = None) -> Path:
    """The folder with its tensors as `change` makes them."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata)
    return folder


@pytest.mark.parametrize("front", ["module.", "model.", "_orig_mod.", "module.model.", "module._orig_mod."])
@pytest.mark.parametrize("bare", [False, True])
def test_what_training_puts_in_front_of_names(tmp_path: Path, checkpoint: Checkpoint, front: str, bare: bool) -> None:
    """Of all names, and of a BertModel that a head stands beside."""
    write_hugging_face(tmp_path, checkpoint)
    rewrite(tmp_path, lambda found: {front + (key.removeprefix("bert.") if bare else key): found[key] for key in found})
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


@pytest.mark.parametrize("prefix", ["bert.", "base_model.model.", "model.bert."])
def test_a_model_inside_of_another_module(tmp_path: Path, checkpoint: Checkpoint, prefix: str) -> None:
    write_hugging_face(tmp_path, checkpoint)
    rewrite(tmp_path, lambda found: {f"{prefix}{key}": value for key, value in found.items()} | {"scale": np.ones(1)})
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


TIED = ("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
BIASES = ("cls.predictions.bias", "cls.predictions.decoder.bias")


@pytest.mark.parametrize("kept", [0, 1])
def test_tied_weights_under_either_name(tmp_path: Path, checkpoint: Checkpoint, kept: int) -> None:
    def keep_one(found: dict[str, Any]) -> dict[str, Any]:
        tied = {TIED[kept]: found[TIED[0]], BIASES[kept]: found[BIASES[0]]}
        return {key: value for key, value in found.items() if key not in TIED + BIASES} | tied

    write_hugging_face(tmp_path, checkpoint)
    assert open_checkpoint(rewrite(tmp_path, keep_one)).digest == checkpoint.digest


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "bert.encoder.layer.0.attention.self.distance_embedding.weight",
            np.zeros((79, 8)),
            "unexpected tensor bert.encoder.layer.0.attention.self.distance",
        ),
        *(
            (f"cls.predictions.decoder.{name}", np.ones(27), f"unexpected tensor cls.predictions.decoder.{name};")
            for name in ("weight_orig", "weight_mask", "weight_g", "weight_v", "weight_scale", "bias_extra")
        ),
        *(
            (f"bert.embeddings.{name}", np.ones((40, 32)), f"unexpected tensor bert.embeddings.{name};")
            for name in ("position_embeddings.foo", "token_type_embeddings.weight.0", "token_type_ids.weight")
        ),
        ("bert.rotary.freqs", np.zeros(4), "unexpected tensor bert.rotary.freqs"),
        ("cls.predictions.transform2.dense.weight", np.zeros((32, 32)), "unexpected tensor .*transform2.dense.weight"),
        (
            "bert.embeddings.LayerNorm.gamma",
            np.zeros(32),
            "LayerNorm.gamma and .*LayerNorm.weight, which are the same weight",
        ),
        ("bert.embeddings.position_ids", np.arange(40)[None, ::-1].copy(), "position_ids is not 0, 1, 2"),
        ("bert.embeddings.token_type_ids", np.arange(40)[None] // 39, "token_type_ids has the segment 1; only 0"),
        ("other.bert.embeddings.word_embeddings.weight", np.zeros((27, 32)), "expected one tensor bert.embed.* found"),
    ],
)
def test_tensors_that_would_change_the_model(
    tmp_path: Path, checkpoint: Checkpoint, name: str, value: Any, message: str
) -> None:
    write_hugging_face(tmp_path, checkpoint)
    with pytest.raises(UsageError, match=message):
        open_checkpoint(rewrite(tmp_path, lambda found: {**found, name: value}))


@pytest.mark.parametrize("form", [None, "pt", "np", "mlx"])
def test_safetensors_of_older_tools(tmp_path: Path, checkpoint: Checkpoint, form: str | None) -> None:
    """Without the key that says of what they are, and with heads of other tasks in formats that are not read."""

    def change(found: dict[str, Any]) -> dict[str, Any]:
        heads = {"classifier.weight": np.zeros((2, 32)), "cls.seq_relationship.bias": np.zeros(2, np.int8)}
        return {key: value for key, value in found.items() if not key.endswith("position_ids")} | heads

    write_hugging_face(tmp_path, checkpoint)
    rewrite(tmp_path, change, {"format": form} if form else None)
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


@pytest.mark.parametrize(("kind", "stored"), [(ml_dtypes.bfloat16, "BF16"), (ml_dtypes.float8_e4m3fn, "F8_E4M3")])
def test_safetensors_of_types_that_numpy_lacks(tmp_path: Path, checkpoint: Checkpoint, kind: Any, stored: str) -> None:
    """bfloat16 is read; 8-bit weights need scales that a BERT's file does not have."""
    path = write_hugging_face(tmp_path, checkpoint) / "model.safetensors"
    values = {name: value.astype(kind) for name, value in to_hugging_face(checkpoint.variables).items()}
    header, at = {}, 0
    for name, value in values.items():
        header[name] = {"dtype": stored, "shape": value.shape, "data_offsets": (at, at + value.nbytes)}
        at += value.nbytes
    head = orjson.dumps(header)
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(value.tobytes() for value in values.values()))
    if stored == "BF16":
        found = open_checkpoint(tmp_path).variables
        for name, value in checkpoint.variables.items():
            np.testing.assert_array_equal(found[name], value.astype(kind).astype(np.float32))
    else:
        with pytest.raises(UsageError, match="is stored as F8_E4M3; save the weights in float32"):
            open_checkpoint(tmp_path)


@pytest.mark.parametrize("form", ["tf", "flax"])
def test_safetensors_in_another_layout(tmp_path: Path, checkpoint: Checkpoint, form: str) -> None:
    write_hugging_face(tmp_path, checkpoint)
    with pytest.raises(UsageError, match=f"layout of '{form}'"):
        open_checkpoint(rewrite(tmp_path, lambda found: found, {"format": form}))


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("tf_model.h5", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("adapter_model.safetensors", "merge_and_unload"),
        ("adapter_model.bin", "merge_and_unload"),
        ("model.onnx", "the checkpoint that it was made from"),
        ("onnx/model.onnx", "the checkpoint that it was made from"),
        ("openvino_model.bin", "the checkpoint that it was made from"),
        ("bert.gguf", "the checkpoint that it was made from"),
        ("bert.h5", "the checkpoint that it was made from"),
        ("bert.keras", "the checkpoint that it was made from"),
        ("weights.safetensors", "rename it to model.safetensors"),
        ("model.pth.tar", r"save its state_dict\(\) as pytorch_model.bin"),
        ("epoch=3-step=10.ckpt", r"save its state_dict\(\) as pytorch_model.bin if it is PyTorch's"),
        ("bert_model.ckpt", "format V2"),
        (f"{PREFIX}.data-00000-of-00001", "copy its .index file"),
        ("uncased_L-2_H-128_A-2.zip", "unpack it"),
        ("model.fp16.safetensors", "rename it to model.safetensors"),
        ("pytorch_model.fp16.bin", "rename it to pytorch_model.bin"),
        ("model.pt", r"save its state_dict\(\) as pytorch_model.bin"),
    ],
)
def test_weights_that_are_not_read_come_with_a_cure(
    tmp_path: Path, checkpoint: Checkpoint, name: str, cure: str
) -> None:
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    (tmp_path / "training_args.bin").write_bytes(b"")
    with pytest.raises(UsageError, match=cure) as caught:
        open_checkpoint(tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "pytorch_model.bin", f"{PREFIX}.index", f"{PREFIX}.data-00000-of-00001"]
)
def test_a_pointer_of_git_lfs(tmp_path: Path, checkpoint: Checkpoint, name: str) -> None:
    if name.startswith(PREFIX):
        write(tmp_path, checkpoint)
    else:
        write_hugging_face(tmp_path, checkpoint)
        (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 440473133\n")
    with pytest.raises(UsageError, match="git lfs pull"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"metadata": ' + b"[" * 5000 + b"]" * 5000 + b', "weight_map": {}}', "maximum recursion depth exceeded"),
        (b"{}", "missing required field `weight_map`"),
        (b'{"weight_map": ["a"]}', "Expected `object`, got `array`"),
        (b"<html>", "malformed"),
        (b'{"weight_map": {"bert.x": "model-00001-of-00002.safetensors"}}', "model-00001-of-00002.safetensors cannot"),
        (b'{"weight_map": {}}', "found nothing"),
    ],
)
def test_an_index_that_is_not_one(tmp_path: Path, checkpoint: Checkpoint, content: bytes, reason: str) -> None:
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pipe_that_an_index_names_is_not_waited_for(tmp_path: Path, checkpoint: Checkpoint, name: str) -> None:
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / f"{name}.index.json").write_bytes(b'{"weight_map": {"bert.x": "part"}}')
    os.mkfifo(tmp_path / "part")
    # Open and filled, so that the test ends even where it is read.
    pipe = os.open(tmp_path / "part", os.O_RDWR | os.O_NONBLOCK)
    try:
        os.write(pipe, bytes(4096))
        with pytest.raises(UsageError, match="part is a pipe or a device, not a file"):
            open_checkpoint(tmp_path)
    finally:
        os.close(pipe)


@pytest.mark.parametrize("depth", range(900, 1100, 4))
def test_an_index_as_deep_as_the_stack(tmp_path: Path, checkpoint: Checkpoint, depth: int) -> None:
    """Whatever of it is too deep: to be read, or to be shown."""
    index = tmp_path / "model.safetensors.index.json"
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").unlink()
    index.write_bytes(b'{"weight_map": {"bert.x": ' + b"[" * depth + b"]" * depth + b"}}")
    with pytest.raises(UsageError, match=r"model\.safetensors\.index\.json (cannot be read|names)"):
        open_checkpoint(tmp_path)


def test_a_link_of_the_hubs_cache_without_its_blob(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").symlink_to("../../blobs/123")
    with pytest.raises(UsageError, match=r"links to \.\./\.\./blobs/123, which is not a file; copy"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("given", [".", "1", "1/variables"])
def test_a_saved_model_is_not_a_checkpoint(tmp_path: Path, checkpoint: Checkpoint, given: str) -> None:
    variables = tmp_path / "1" / "variables"
    variables.mkdir(parents=True)
    write_variables(variables / "variables", checkpoint.variables)
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UsageError, match="1 is a SavedModel; give the checkpoint that it was exported from"):
        open_checkpoint(tmp_path / given)


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "uncased_L-12_H-768_A-12.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"\.zip is an archive; unpack it"):
        open_checkpoint(tmp_path / "uncased_L-12_H-768_A-12.zip")


@pytest.mark.parametrize("layout", ["of 2020", "of today"])
def test_folders_of_sentence_transformers(tmp_path: Path, checkpoint: Checkpoint, layout: str) -> None:
    inner = tmp_path / "0_BERT" if layout == "of 2020" else tmp_path
    write_hugging_face(inner, checkpoint)
    (inner / "sentence_bert_config.json").write_text('{"max_seq_length": 8, "do_lower_case": false}')
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    if layout == "of today":
        (tmp_path / "2_Dense").mkdir()
        save_file({"linear.weight": np.zeros((4, 4), np.float32)}, tmp_path / "2_Dense" / "model.safetensors")
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_what_a_trainer_leaves_beside_the_weights(tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder = write_hugging_face(tmp_path / "checkpoint-500", checkpoint)
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"):
        (folder / name).write_bytes(b"\x80\x02")
    (folder / "global_step500").mkdir()
    (folder / "global_step500" / "mp_rank_00_model_states.pt").write_bytes(b"\x80\x02")
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_an_index_must_be_true(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_hugging_face(tmp_path, checkpoint)
    (tmp_path / "model.safetensors").rename(tmp_path / "part.safetensors")
    names = list(load_file(tmp_path / "part.safetensors"))
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(orjson.dumps({"weight_map": dict.fromkeys(names, "part.safetensors")}))
    assert open_checkpoint(tmp_path).digest == checkpoint.digest
    index.write_bytes(orjson.dumps({"weight_map": dict.fromkeys([*names, "bert.x"], "part.safetensors")}))
    with pytest.raises(UsageError, match=r"part\.safetensors lacks bert\.x"):
        open_checkpoint(tmp_path)


def test_a_file_is_not_a_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    folder = write_hugging_face(tmp_path, checkpoint)
    with pytest.raises(UsageError, match=f"is a file; give the checkpoint's folder, {folder}"):
        open_checkpoint(folder / "model.safetensors")


def test_googles_weights_go_with_googles_config(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """A folder with both kinds: each goes with its own config."""
    write_hugging_face(tmp_path, checkpoint)
    write_variables(tmp_path / PREFIX, fresh_variables(checkpoint.config, 3))
    assert open_checkpoint(tmp_path).digest == checkpoint.digest
    (tmp_path / "bert_config.json").write_bytes(checkpoint.config.to_json())
    assert open_checkpoint(tmp_path).digest != checkpoint.digest
