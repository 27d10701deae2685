"""TF: checkpoints of TensorFlow variables under Google's names: released folders and the Estimator's own.

A folder holds `bert_config.json`, `vocab.txt` and `bert_model.ckpt.*` or the Estimator's `model.ckpt-N.*`.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import tensorflow as tf
from numpy.typing import NDArray

from bench.bert.checkpoints.prefix import PREFIX, READ_ERRORS, open_reader
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import (
    Variables,
    absent_head,
    check_variables,
    fresh_head,
    to_float32,
    variable_shapes,
)
from bench.bert.config import GOOGLE_FILE, HUGGING_FACE_FILE, BertConfig, find_config, read_config
from bench.bert.text.tokenizer import Tokenizer
from bench.bert.tf_files import reason
from bench.bert.tf_paths import check_plain
from bench.core.errors import UsageError

# Bytes of the narrowest number that is read.
_LEAST_BYTES: Final = 2
# How object-based checkpoints of TensorFlow 2 end the path of a variable.
_OBJECT_SUFFIX: Final = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_google_folder(prefix: Path, init_head: bool = False, do_lower_case: bool | None = None) -> Checkpoint:
    """Reads a checkpoint and the config and vocabulary beside it.

    Args:
        prefix: of the checkpoint; its folder is Google's or the Estimator's.
        init_head: make a fresh masked-LM head if there is none.
        do_lower_case: overrides what the folder says of its case.

    Raises:
        UsageError: a file is missing or cannot be read, a variable is missing or has another shape.
    """
    check_plain(prefix)
    folder = prefix.parent
    config = read_config(find_config(folder, (GOOGLE_FILE, HUGGING_FACE_FILE)))
    tokenizer = Tokenizer.from_folder(folder, do_lower_case, google=True)
    return Checkpoint(config, tokenizer, read_variables(prefix, config, init_head), str(folder))


def read_variables(prefix: Path, config: BertConfig, init_head: bool = False) -> Variables:
    """The model's variables in a TensorFlow checkpoint.

    Raises:
        UsageError: it cannot be read, or a variable is missing, unexpected or of another shape.
    """
    try:
        reader = open_reader(prefix)
        shapes = reader.get_variable_to_shape_map()
        keys = _keys(shapes)
        found = {name: tuple(shapes[key]) for name, key in keys.items()}
        absent = absent_head(config, found) if init_head else {}
        check_variables(config, found | absent, str(prefix))
        _check_size(prefix, config, absent)
        fresh = fresh_head(config) if absent else {}
        return {
            name: fresh[name] if name in fresh else to_float32(reader.get_tensor(keys[name]), name, str(prefix))
            for name in variable_shapes(config)
        }
    except READ_ERRORS as error:
        raise UsageError(f"{prefix} cannot be read ({reason(error)}); give a complete checkpoint") from error


def _check_size(prefix: Path, config: BertConfig, absent: Collection[str]) -> None:
    """Checks that the data files are not smaller than what the index says of them, before memory is taken for it."""
    held = sum(path.stat().st_size for path in prefix.parent.glob(f"{prefix.name}.data-*"))
    needed = sum(math.prod(shape) for name, shape in variable_shapes(config).items() if name not in absent)
    if held < _LEAST_BYTES * needed:
        raise UsageError(
            f"{prefix} cannot be read ({held:,} bytes of data for {needed:,} numbers); give a complete checkpoint"
        )


def _keys(stored: Collection[str]) -> dict[str, str]:
    """The stored key of each variable; a plain name goes before TensorFlow 2's form of it."""
    keys = {key.removesuffix(_OBJECT_SUFFIX): key for key in stored if key.endswith(_OBJECT_SUFFIX)}
    return keys | {key: key for key in stored if not key.endswith(_OBJECT_SUFFIX)}


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
