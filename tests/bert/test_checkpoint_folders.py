"""Checkpoint folders as others leave them: moved, nested, with optimizers' slots, heads and files of other tools."""

import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from bench.bert.checkpoints.google import write_google_folder, write_variables
from bench.bert.checkpoints.prefix import PREFIX, find_prefix
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.checkpoints.types import Checkpoint
from bench.core.errors import UsageError
from tests.bert.test_checkpoint import write_hugging_face

KERNEL = "bert/encoder/layer_0/attention/self/query/kernel"
POOLER = "bert/pooler/dense/kernel"


def write(folder: Path, checkpoint: Checkpoint, name: str = PREFIX, **extra: Any) -> Path:
    """Config, vocabulary and a TensorFlow checkpoint `name` with variables beside the model's."""
    write_google_folder(folder, checkpoint)
    for path in folder.glob(f"{PREFIX}.*"):
        path.unlink()
    write_variables(folder / name, {**checkpoint.variables, **extra})
    return folder


def others(checkpoint: Checkpoint, shift: float = 1.0) -> dict[str, Any]:
    return {key: value + np.float32(shift) for key, value in checkpoint.variables.items()}


@pytest.mark.parametrize(
    "slot",
    [
        *(
            "BERTAdam",
            "BERTAdam_1",
            "Adam",
            "Adam_1",
            "adam_m",
            "LAMB",
            "lamb_v_1",
            "Momentum",
            "Adagrad",
            "vr",
            "a/b/c",
        ),
        *("ExponentialMovingAverage", ".OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE", "part_0/Adafactor"),
    ],
)
def test_slots_of_any_optimizer(tmp_path: Path, checkpoint: Checkpoint, slot: str) -> None:
    slots: dict[str, Any] = {f"{name}/{slot}": np.zeros_like(value) for name, value in checkpoint.variables.items()}
    counters: dict[str, Any] = {"global_step": np.array(7, np.int64), "beta1_power": np.float32(0.9)}
    pooler: dict[str, Any] = {
        POOLER: np.zeros((32, 32), np.float32),
        f"{POOLER}/{slot}": np.zeros((32, 32), np.float32),
    }
    assert open_checkpoint(write(tmp_path, checkpoint, **slots, **counters, **pooler)).digest == checkpoint.digest


HARMLESS = {
    "global_step": np.array(7, np.int64),
    "beta2_power": np.float32(0.999),
    "loss_scale": np.float32(32768),
    "good_steps": np.array(3, np.int32),
    "bert/beta1_power": np.float32(0.9),
    "cls/seq_relationship/output_weights": np.zeros((2, 32), np.float32),
    "cls/seq_relationship/output_bias/BERTAdam": np.zeros(2, np.float32),
    "output_weights": np.zeros((3, 32), np.float32),
    "output_bias": np.zeros(3, np.float32),
    "cls/squad/output_weights": np.zeros((2, 32), np.float32),
    "training/Adam/bert/encoder/layer_9/attention/self/query/kernel/m": np.zeros((32, 32), np.float32),
    "save_counter/.ATTRIBUTES/VARIABLE_VALUE": np.array(1, np.int64),
    "_CHECKPOINTABLE_OBJECT_GRAPH": np.array(b"graph"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_lies_outside_of_the_model(tmp_path: Path, checkpoint: Checkpoint, name: str) -> None:
    assert open_checkpoint(write(tmp_path, checkpoint, **{name: HARMLESS[name]})).digest == checkpoint.digest  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "bert/encoder/layer_0/adapter/kernel",
        "bert/encoder/layer_0/attention/self/query/kernel_2",
        "bert/encoder/layer_0/attention/self/relative_positions",
        "bert/encoder/layer_2/output/dense/bias",
        "bert/encoder/layer_2/output/dense/bias/Adam",
        "bert/embeddings/task_type_embeddings",
        "bert/embeddings_project/kernel",
        "bert/rotary",
        "cls/predictions/transform_1/dense/kernel",
        "cls/predictions/output_weights",
    ],
)
def test_a_variable_that_would_change_the_model_is_named(tmp_path: Path, checkpoint: Checkpoint, name: str) -> None:
    with pytest.raises(UsageError, match=rf"has {name}, which"):
        open_checkpoint(write(tmp_path, checkpoint, **{name: np.zeros(3, np.float32)}))  # type: ignore[arg-type]


def test_a_checkpoint_of_tensorflow_2_objects(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Read where its objects have Google's names, else refused as what it is."""
    write_google_folder(tmp_path, checkpoint)
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    write_variables(tmp_path / PREFIX, {f"{name}{suffix}": value for name, value in checkpoint.variables.items()})
    assert open_checkpoint(tmp_path).digest == checkpoint.digest
    write_variables(tmp_path / PREFIX, {f"model/layer-0/_embedding{suffix}": np.zeros(3, np.float32)})
    with pytest.raises(UsageError, match="no BERT weights under Google's names .* but model/layer-0/_embedding"):
        open_checkpoint(tmp_path)


def test_weights_that_are_not_floating_point(tmp_path: Path, checkpoint: Checkpoint) -> None:
    values = {KERNEL: checkpoint.variables[KERNEL].astype(np.int8)}
    with pytest.raises(UsageError, match=f"{KERNEL} is stored as int8"):
        open_checkpoint(write(tmp_path / "google", checkpoint, **values))  # type: ignore[arg-type]
    name = "bert.encoder.layer.0.attention.self.query.weight"
    folder = write_hugging_face(tmp_path / "hf", checkpoint, **{name: np.zeros((32, 32), np.int8)})
    with pytest.raises(UsageError, match=f"{name} is stored as int8"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "named",
    ["/old/place/model.ckpt-20", "gs://bucket/run/model.ckpt-20", "C:\\\\runs\\\\model.ckpt-20", "model.ckpt-20", None],
)
def test_an_estimators_folder_that_was_moved(tmp_path: Path, checkpoint: Checkpoint, named: str | None) -> None:
    write(tmp_path, checkpoint, "model.ckpt-20")
    if named is not None:
        (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\n')
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_a_state_file_leads_to_no_other_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    original = write(tmp_path / "original", checkpoint, "model.ckpt-3")
    (original / "checkpoint").write_text(f'model_checkpoint_path: "{original}/model.ckpt-3"\n')
    copy = tmp_path / "copy"
    shutil.copytree(original, copy)
    write_variables(copy / "model.ckpt-3", others(checkpoint))
    assert find_prefix(copy) == copy / "model.ckpt-3"
    for path in copy.glob("model.ckpt-3.*"):
        path.unlink()
    with pytest.raises(UsageError, match=r"names .*original/model\.ckpt-3, which is not in it; give"):
        find_prefix(copy)


@pytest.mark.parametrize("state", ["", 'all_model_checkpoint_paths: "bert_model.ckpt"\n', "no state {"])
def test_a_state_file_that_names_no_checkpoint(tmp_path: Path, checkpoint: Checkpoint, state: str) -> None:
    (write(tmp_path, checkpoint) / "checkpoint").write_text(state)
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_a_checkpoint_of_format_v1_is_named(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write(tmp_path, checkpoint)
    for path in tmp_path.glob(f"{PREFIX}.*"):
        path.unlink()
    (tmp_path / PREFIX).write_bytes(b"\0" * 8)
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{PREFIX}"\n')
    with pytest.raises(UsageError, match=r"bert_model\.ckpt is in TensorFlow's format V1; save it in V2"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("scope", ["electra/", ""])
def test_an_encoder_in_another_scope(tmp_path: Path, checkpoint: Checkpoint, scope: str) -> None:
    """With a masked-LM head that is BERT's."""
    write_google_folder(tmp_path, checkpoint)
    moved = {name.replace("bert/", scope): value for name, value in checkpoint.variables.items()}
    write_variables(tmp_path / PREFIX, moved)
    with pytest.raises(UsageError, match="holds no BERT weights under Google's names"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("kind", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_variables_of_other_floating_point_types(tmp_path: Path, checkpoint: Checkpoint, kind: Any) -> None:
    values = {name: value.astype(kind) for name, value in checkpoint.variables.items()}
    found = open_checkpoint(write(tmp_path, checkpoint, **values)).variables  # type: ignore[arg-type]
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value.astype(np.float32))


def test_a_partitioned_variable(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """As training with parameter servers writes it: one variable in three slices."""
    write_google_folder(tmp_path, checkpoint)
    name = "bert/embeddings/word_embeddings"
    table = checkpoint.variables[name]

    def part(shape: Any, partition_info: Any, **_: Any) -> Any:
        start = partition_info.var_offset[0]
        return tf.constant(table[start : start + shape[0]])

    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        v1.get_variable(name, table.shape, initializer=part, partitioner=v1.fixed_size_partitioner(3))
        for other in checkpoint.variables.keys() - {name}:
            v1.get_variable(other, initializer=checkpoint.variables[other])
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / PREFIX))
        assert len(v1.global_variables()) == len(checkpoint.variables) + 2
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_which_of_several_checkpoints(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """The state file's, by name; else the released one; else the highest step; else none is chosen."""
    write(tmp_path, checkpoint, "model.ckpt-9")
    write_variables(tmp_path / "model.ckpt-100", others(checkpoint))
    assert find_prefix(tmp_path).name == "model.ckpt-100"
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/old/model.ckpt-9"\n')
    assert find_prefix(tmp_path).name == "model.ckpt-9"
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/old/model.ckpt-7"\n')
    with pytest.raises(UsageError, match=r"2 checkpoints .*names /old/model\.ckpt-7, which is not in it; give one"):
        find_prefix(tmp_path)
    write_variables(tmp_path / PREFIX, others(checkpoint, 2))
    assert find_prefix(tmp_path).name == PREFIX
    for path in tmp_path.glob(f"{PREFIX}.*"):
        path.rename(path.with_name(path.name.replace(PREFIX, "best")))
    with pytest.raises(UsageError, match=r"3 checkpoints \(best, model.ckpt-100, model.ckpt-9\).*; give one of them"):
        open_checkpoint(tmp_path)
    for given in ("model.ckpt-9", "model.ckpt-9.index", "model.ckpt-9.data-00000-of-00001"):
        assert open_checkpoint(tmp_path / given).digest == checkpoint.digest


@pytest.mark.parametrize("name", [PREFIX, "model.ckpt-1000000", "biobert_model.ckpt", "model", "model.ckpt"])
@pytest.mark.parametrize("nested", [False, True])
def test_released_folders(tmp_path: Path, checkpoint: Checkpoint, name: str, nested: bool) -> None:
    """Of any name, with what macOS leaves beside; unpacked into a folder or into one of the same name in it."""
    inner = write(tmp_path / "biobert" if nested else tmp_path, checkpoint, name)
    (inner / f"._{name}.index").write_bytes(b"\0\5\26\7")
    (tmp_path / "__MACOSX").mkdir()
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_several_folders_in_a_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for step in (500, 1000):
        write_hugging_face(tmp_path / f"checkpoint-{step}", checkpoint)
    with pytest.raises(UsageError, match=r"2 checkpoint folders \(checkpoint-1000, checkpoint-500\); give one"):
        open_checkpoint(tmp_path)


def test_a_part_that_is_missing(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write(tmp_path, checkpoint)
    (tmp_path / f"{PREFIX}.data-00000-of-00001").rename(tmp_path / f"{PREFIX}.data-00000-of-00002")
    with pytest.raises(UsageError, match=r"no data file bert_model\.ckpt\.data-00001-of-00002"):
        open_checkpoint(tmp_path)
    (tmp_path / f"{PREFIX}.data-00000-of-00002").unlink()
    with pytest.raises(UsageError, match=r"no data file bert_model\.ckpt\.data-00000-of-00001"):
        open_checkpoint(tmp_path)
    (write(tmp_path, checkpoint) / "bert_config.json").unlink()
    with pytest.raises(UsageError, match=r"neither bert_config\.json nor config\.json"):
        open_checkpoint(tmp_path)


def test_data_in_two_files(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """Among which lies a file of an earlier saving."""
    write(tmp_path, checkpoint, "old")
    names = sorted(checkpoint.variables)
    for part in range(2):
        write_variables(tmp_path / f"part{part}", {name: checkpoint.variables[name] for name in names[part::2]})
    prefixes = [str(tmp_path / f"part{part}") for part in range(2)]
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=prefixes, destination_prefix=str(tmp_path / PREFIX))
    (tmp_path / f"{PREFIX}.data-00000-of-00001").write_bytes(b"")
    (tmp_path / f"{PREFIX}.data-00003-of-00004").write_bytes(b"")
    assert len(list(tmp_path.glob(f"{PREFIX}.data-*-of-00002"))) == 2
    assert open_checkpoint(tmp_path / PREFIX).digest == checkpoint.digest


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, spoil, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint(tmp_path: Path, checkpoint: Checkpoint, part: str, damage: Any) -> None:
    damage(write(tmp_path, checkpoint) / f"{PREFIX}.{part}")
    with pytest.raises(UsageError, match=r"bert_model\.ckpt cannot be read") as caught:
        open_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_that_mislead(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """A file `checkpoint` of another kind, a folder of the prefix's name, a path that is a pattern."""
    write(tmp_path / "a", checkpoint, "model")
    (tmp_path / "a" / "checkpoint").write_bytes(b"\xff\xfePK")
    (tmp_path / "a" / "model").mkdir()
    assert open_checkpoint(tmp_path / "a").digest == checkpoint.digest
    write(tmp_path / "b[1]", checkpoint)
    for path in (tmp_path / "b[1]", tmp_path / "b[1]" / PREFIX):
        with pytest.raises(UsageError, match="for a pattern; rename"):
            open_checkpoint(path)


def test_a_model_in_the_hubs_cache(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for name in ("blobs", "refs", ".locks"):
        (tmp_path / name).mkdir()
    write_hugging_face(tmp_path / "snapshots" / "86b5e093", checkpoint)
    assert open_checkpoint(tmp_path).digest == checkpoint.digest


def test_values_that_are_not_numbers(tmp_path: Path, checkpoint: Checkpoint) -> None:
    for value in (np.nan, np.inf, -np.inf, 1e300):
        values = {KERNEL: np.full((32, 32), value)}
        with pytest.raises(UsageError, match=f"{KERNEL} has NaN or infinite values"):
            open_checkpoint(write(tmp_path, checkpoint, **values))  # type: ignore[arg-type]


def test_config_json_beside_a_tensorflow_checkpoint(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write(tmp_path, checkpoint)
    (tmp_path / "bert_config.json").rename(tmp_path / "config.json")
    (tmp_path / "tokenizer_config.json").unlink()
    assert open_checkpoint(tmp_path).digest == checkpoint.digest
