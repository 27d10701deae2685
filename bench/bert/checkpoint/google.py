"""TF: checkpoints of TensorFlow variables under Google's names: released folders and the Estimator's own.

A folder holds `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*`, or the Estimator's `checkpoint` state file and
`model.ckpt-N.*`, of which the newest counts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bench.bert.checkpoint.types import Checkpoint
from bench.bert.config import GOOGLE_FILE, BertConfig, read_config
from bench.bert.tokenizer import Tokenizer
from bench.bert.variables import Variables, check_variables, fresh_head, variable_shapes
from bench.errors import UsageError

PREFIX: Final = "bert_model.ckpt"
# Slots of optimisers stand under their variable's name.
_SLOTS: Final = ("adam_m", "adam_v", "AdamWeightDecayOptimizer", "AdamWeightDecayOptimizer_1")


def read_google_folder(folder: Path, init_head: bool = False, do_lower_case: bool | None = None) -> Checkpoint:
    """Reads a folder.

    Args:
        folder: Google's or the Estimator's.
        init_head: make a fresh masked-LM head if there is none.
        do_lower_case: overrides what the folder says of its case.

    Raises:
        UsageError: a file is missing or cannot be read, a variable is missing or has another shape.
    """
    config = read_config(folder / GOOGLE_FILE)
    tokenizer = Tokenizer.from_folder(folder, do_lower_case)
    return Checkpoint(config, tokenizer, read_variables(find_prefix(folder), config, init_head), str(folder))


def find_prefix(folder: Path) -> Path:
    """The checkpoint prefix in `folder`: `bert_model.ckpt`, else the newest of the state file, else the only one.

    Raises:
        UsageError: there is none, or it is not clear which.
    """
    if (folder / f"{PREFIX}.index").is_file():
        return folder / PREFIX
    if (folder / "checkpoint").is_file():
        latest = tf.train.latest_checkpoint(str(folder))
        if latest is None:
            raise UsageError(f"{folder}/checkpoint names no checkpoint that is there; give a folder that is whole")
        return Path(latest)
    found = sorted(path.with_suffix("") for path in folder.glob("*.index"))
    if len(found) != 1:
        raise UsageError(f"{folder} holds {len(found)} checkpoints (*.index), not one; give a checkpoint folder")
    return found[0]


def read_variables(prefix: Path, config: BertConfig, init_head: bool = False) -> Variables:
    """The model's variables in a TensorFlow checkpoint.

    Raises:
        UsageError: it cannot be read, or a variable is missing, strange or of another shape.
    """
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        found = _model_shapes(reader.get_variable_to_shape_map())
        fresh = fresh_head(config, found) if init_head else {}
        check_variables(config, found | {name: value.shape for name, value in fresh.items()}, str(prefix))
        return {
            name: fresh[name] if name in fresh else np.asarray(reader.get_tensor(name), np.float32)
            for name in variable_shapes(config)
        }
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{prefix} cannot be read ({reason}); give a checkpoint that is whole") from error


def _model_shapes(found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(shape) for name, shape in found.items() if name.rpartition("/")[2] not in _SLOTS}


def write_google_folder(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `bert_config.json`, the tokenizer's files and `bert_model.ckpt.*`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GOOGLE_FILE).write_bytes(checkpoint.config.to_json())
    checkpoint.tokenizer.write_folder(folder)
    write_variables(folder / PREFIX, checkpoint.variables)


def write_variables(prefix: Path, variables: Mapping[str, NDArray[Any]]) -> None:
    """Writes a TensorFlow checkpoint of exactly `variables`."""
    names = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )
