"""Hugging Face folders of a `BertForMaskedLM`: `config.json`, `vocab.txt` or `tokenizer.json`, `model.safetensors`.

Read with safetensors alone. Torch keeps a dense layer's weight as [outputs, inputs], Google as [inputs, outputs].
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import ml_dtypes  # noqa: F401 - gives numpy the bfloat16 that weights may be stored in
import numpy as np
import orjson
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from bench.bert.checkpoint.types import Checkpoint
from bench.bert.config import HUGGING_FACE_FILE, BertConfig, read_config
from bench.bert.tokenizer import Tokenizer
from bench.bert.variables import HEAD_SCOPE, Variables, check_variables, fresh_head
from bench.errors import UsageError

WEIGHTS_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"

_DENSE: Final = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_EMBEDDINGS: Final = ("word_embeddings", "position_embeddings", "token_type_embeddings")
# Older conversions from TensorFlow kept `gamma` and `beta`.
_NORM: Final = {"weight": "gamma", "bias": "beta", "gamma": "gamma", "beta": "beta"}
_LAYER: Final = re.compile(r"bert\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias|gamma|beta)")
_DECODER: Final = "cls.predictions.decoder.weight"
_DECODER_BIAS: Final = "cls.predictions.decoder.bias"
# Buffers that carry no weight.
_BUFFERS: Final = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")


def read_hugging_face_folder(folder: Path, init_head: bool = False, do_lower_case: bool | None = None) -> Checkpoint:
    """Reads a folder.

    Args:
        folder: of a BERT.
        init_head: make a fresh masked-LM head if there is none.
        do_lower_case: overrides what the folder says of its case.

    Raises:
        UsageError: a file is missing or cannot be read, a variable is missing, strange or of another shape, or the
            head's output weights are not the word embeddings.
    """
    config = read_config(folder / HUGGING_FACE_FILE)
    tokenizer = Tokenizer.from_folder(folder, do_lower_case)
    tensors = _load(folder)
    variables = to_google(tensors, config, str(folder), init_head)
    return Checkpoint(config, tokenizer, variables, str(folder))


def _load(folder: Path) -> dict[str, NDArray[np.float32]]:
    index = folder / INDEX_FILE
    if index.is_file():
        files = _listed(index)
    elif (folder / WEIGHTS_FILE).is_file():
        files = [WEIGHTS_FILE]
    else:
        raise UsageError(f"{folder} has no {WEIGHTS_FILE}; convert its weights to safetensors")
    tensors: dict[str, NDArray[np.float32]] = {}
    for name in files:
        try:
            with safe_open(folder / name, framework="np") as stored:
                keys: list[str] = stored.keys()
                tensors |= {key: np.asarray(stored.get_tensor(key), np.float32) for key in keys}
        except (OSError, SafetensorError, TypeError) as error:
            raise UsageError(f"{folder / name} cannot be read ({error}); give a checkpoint that is whole") from error
    return tensors


def _listed(index: Path) -> list[str]:
    """The files that an index of weights in several files names."""
    try:
        return sorted(set(orjson.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{index} cannot be read ({error}); give a checkpoint that is whole") from error


def to_google(
    tensors: Mapping[str, NDArray[np.float32]], config: BertConfig, where: str, init_head: bool = False
) -> Variables:
    """Hugging Face's tensors as variables under Google's names.

    Raises:
        UsageError: see `read_hugging_face_folder`.
    """
    if not any(name.startswith("bert.") for name in tensors):
        # A bare BertModel is saved without the prefix.
        tensors = {f"bert.{name}": value for name, value in tensors.items()}
    found = dict(_renamed(tensors, where))
    if init_head:
        found |= fresh_head(config, found)
    check_variables(config, {name: value.shape for name, value in found.items()}, where)
    table = found["bert/embeddings/word_embeddings"]
    decoder, bias = tensors.get(_DECODER), tensors.get(_DECODER_BIAS)
    if decoder is not None and not np.array_equal(decoder, table):
        raise UsageError(f"{where}: {_DECODER} is not the word embeddings; only tied weights are supported")
    if bias is not None and not np.array_equal(bias, found[f"{HEAD_SCOPE}/output_bias"]):
        raise UsageError(f"{where}: {_DECODER_BIAS} and cls.predictions.bias differ; only one output bias is supported")
    return found


def _renamed(tensors: Mapping[str, NDArray[np.float32]], where: str) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, value in tensors.items():
        google, transposed = _google_name(name)
        if google is not None:
            yield google, np.ascontiguousarray(value.T) if transposed else value
        elif name.startswith(("bert.embeddings.", "bert.encoder.")) and name not in _BUFFERS:
            raise UsageError(f"{where}: {name} is no weight of a BERT; the model cannot be taken over")


def _google_name(name: str) -> tuple[str | None, bool]:
    """Google's name and whether the value is to be transposed; None for what the language model does not use."""
    if layer := _LAYER.fullmatch(name):
        number, module, kind = layer.groups()
        return _module_name(f"bert/encoder/layer_{number}/{module.replace('.', '/')}", module, kind)
    stem, _, kind = name.rpartition(".")
    if stem.startswith("bert.embeddings.") and stem.rpartition(".")[2] in _EMBEDDINGS:
        return stem.replace(".", "/"), False
    if stem == "bert.embeddings.LayerNorm" and kind in _NORM:
        return f"bert/embeddings/LayerNorm/{_NORM[kind]}", False
    if stem == "cls.predictions.transform.dense":
        return _module_name(f"{HEAD_SCOPE}/transform/dense", "output.dense", kind)
    if stem == "cls.predictions.transform.LayerNorm" and kind in _NORM:
        return f"{HEAD_SCOPE}/transform/LayerNorm/{_NORM[kind]}", False
    if name == "cls.predictions.bias":
        return f"{HEAD_SCOPE}/output_bias", False
    return None, False


def _module_name(scope: str, module: str, kind: str) -> tuple[str | None, bool]:
    if module in _DENSE and kind in ("weight", "bias"):
        return (f"{scope}/kernel", True) if kind == "weight" else (f"{scope}/bias", False)
    if module in ("attention.output.LayerNorm", "output.LayerNorm"):
        return f"{scope}/{_NORM[kind]}", False
    return None, False


def to_hugging_face(variables: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Variables as Hugging Face's tensors, the inverse of `to_google`."""
    tensors: dict[str, NDArray[Any]] = {}
    for name, value in variables.items():
        if name == f"{HEAD_SCOPE}/output_bias":
            tensors["cls.predictions.bias"] = value
            continue
        stem, _, kind = name.replace("encoder/layer_", "encoder/layer/").rpartition("/")
        if stem == "bert/embeddings":
            tensors[f"bert.embeddings.{kind}.weight"] = value
            continue
        suffix = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}[kind]
        tensors[f"{stem.replace('/', '.')}.{suffix}"] = value.T.copy() if kind == "kernel" else value
    return tensors
