"""Hugging Face folders of a `BertForMaskedLM`: `config.json`, `vocab.txt` or `tokenizer.json`, and the weights.

PyTorch stores a dense layer's weight as [outputs, inputs], Google as [inputs, outputs].
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import HEAD_SCOPE, Variables, absent_head, check_variables, fresh_head, to_float32
from bench.bert.checkpoints.weights import Stored, load_weights
from bench.bert.config import GOOGLE_FILE, HUGGING_FACE_FILE, BertConfig, find_config, read_config
from bench.bert.text.tokenizer import Tokenizer
from bench.core.errors import UsageError
from bench.core.message_text import shown

_DENSE: Final = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_EMBEDDINGS: Final = frozenset(
    f"bert.embeddings.{name}" for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")
)
# Older conversions from TensorFlow have `gamma` and `beta`.
_NORM: Final = {"weight": "gamma", "bias": "beta", "gamma": "gamma", "beta": "beta"}
_LAYER: Final = re.compile(r"bert\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias|gamma|beta)")
# Modules of a bare BertModel, which is saved without the prefix `bert.`.
_BARE: Final = ("embeddings.", "encoder.", "pooler.")
# Prefixes that training and compiling add to all names.
_WRAPPED: Final = re.compile(r"(?:(?:module|model|_orig_mod|base_model|bert)\.)*")
_TABLE: Final = "embeddings.word_embeddings.weight"
_DECODER: Final = "cls.predictions.decoder.weight"
_DECODER_BIAS: Final = "cls.predictions.decoder.bias"
_BIAS: Final = "cls.predictions.bias"
_POSITIONS: Final = "bert.embeddings.position_ids"
_SEGMENTS: Final = "bert.embeddings.token_type_ids"
# In the model's scope, but not its variables: they must equal other weights.
_UNUSED: Final = frozenset((_DECODER, _DECODER_BIAS))
_POOLER: Final = "bert.pooler."


def read_hugging_face_folder(folder: Path, init_head: bool = False, do_lower_case: bool | None = None) -> Checkpoint:
    """Reads a folder.

    Args:
        folder: of a BERT.
        init_head: make a fresh masked-LM head if there is none.
        do_lower_case: overrides what the folder says of its case.

    Raises:
        UsageError: a file is missing or cannot be read, a variable is missing, unexpected or of another shape, or the
            head's output weights are not the word embeddings.
    """
    tensors = load_weights(folder)
    # Folders of 2018 and 2019 have Google's config beside PyTorch's weights.
    config = read_config(find_config(folder, (HUGGING_FACE_FILE, GOOGLE_FILE)))
    tokenizer = Tokenizer.from_folder(folder, do_lower_case, google=False)
    variables = to_google(tensors, config, str(folder), init_head)
    return Checkpoint(config, tokenizer, variables, str(folder))


def to_google(tensors: Mapping[str, Stored], config: BertConfig, where: str, init_head: bool = False) -> Variables:
    """Hugging Face's tensors as variables under Google's names; those that the model does not use are not read.

    Raises:
        UsageError: see `read_hugging_face_folder`.
    """
    tensors = _tied(_plain_names(tensors, where))
    found = dict(_renamed(tensors, where))
    absent = absent_head(config, found) if init_head else {}
    shapes = {google: _shape(tensors[name], transposed) for google, (name, transposed) in found.items()}
    check_variables(config, shapes | absent, where)
    variables: dict[str, NDArray[np.float32]] = dict(fresh_head(config) if absent else {})
    for google, (name, transposed) in found.items():
        value = to_float32(np.asarray(tensors[name]), name, where)
        # A copy: the values outlive the file that they were read from.
        variables[google] = np.array(value.T if transposed else value, np.float32, order="C")
    _check_tied(tensors, variables, where)
    return variables


def _plain_names(tensors: Mapping[str, Stored], where: str) -> dict[str, Stored]:
    """The tensors under the names of a `BertForMaskedLM`, without a prefix of all of them."""
    tables = [name.removesuffix(_TABLE) for name in tensors if name.endswith(_TABLE)]
    tables += [name.removesuffix(_DECODER) for name in tensors if name.endswith(_DECODER) and not tables]
    if len(tables) != 1 or not _WRAPPED.fullmatch(tables[0]):
        found = [f"{prefix}{_TABLE}" for prefix in tables[:2]] or sorted(tensors)[:3]
        names = ", ".join(map(shown, found)) or "nothing"
        raise UsageError(f"{where}: expected one tensor bert.{_TABLE}, found {names}; give the weights of one BERT")
    prefix = tables[0].removesuffix("bert.")
    plain = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if tables[0].endswith("bert.") or any(name.startswith("bert.") for name in plain):
        return plain
    return {f"bert.{name}" if name.startswith(_BARE) else name: tensor for name, tensor in plain.items()}


def _tied(tensors: dict[str, Stored]) -> dict[str, Stored]:
    """Tied weights are one tensor under two names, of which some tools write the other."""
    for name, other in ((f"bert.{_TABLE}", _DECODER), (_BIAS, _DECODER_BIAS)):
        if name not in tensors and other in tensors:
            tensors[name] = tensors[other]
    return tensors


def _check_tied(tensors: Mapping[str, Stored], variables: Variables, where: str) -> None:
    for name, google in ((_DECODER, "bert/embeddings/word_embeddings"), (_DECODER_BIAS, f"{HEAD_SCOPE}/output_bias")):
        if name not in tensors or np.array_equal(to_float32(np.asarray(tensors[name]), name, where), variables[google]):
            continue
        if name == _DECODER:
            raise UsageError(f"{where}: {_DECODER} is not the word embeddings; only tied weights are supported")
        raise UsageError(f"{where}: {_DECODER_BIAS} and {_BIAS} differ; only one output bias is supported")


def _shape(tensor: Stored, transposed: bool) -> tuple[int, ...]:
    shape = tuple(tensor.shape)
    return shape[::-1] if transposed else shape


def _renamed(tensors: Mapping[str, Stored], where: str) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Google's name of each tensor that the model uses, its own name, and whether to transpose it."""
    seen: dict[str, str] = {}
    for name, tensor in tensors.items():
        google, transposed = _google_name(name)
        if google is not None:
            if google in seen:
                raise UsageError(f"{where} has {seen[google]} and {name}, which are the same weight; remove one")
            seen[google] = name
            yield google, (name, transposed)
        elif name == _POSITIONS:
            _check_positions(tensor, where)
        elif name == _SEGMENTS:
            _check_segments(tensor, where)
        elif name.startswith(("bert.", "cls.predictions.")) and not (name.startswith(_POOLER) or name in _UNUSED):
            raise UsageError(
                f"{where}: unexpected tensor {shown(name)}; only weights of a plain BERT are supported, adapters merged"
            )


def _check_positions(tensor: Stored, where: str) -> None:
    """The positions of a row's tokens, which PyTorch's models keep: those that every BERT has."""
    positions = np.asarray(tensor).ravel()
    if not np.array_equal(positions, np.arange(positions.size)):
        raise UsageError(f"{where}: {_POSITIONS} is not 0, 1, 2, ...; only BERT's own positions are supported")


def _check_segments(tensor: Stored, where: str) -> None:
    """The segments of a row's tokens where none are given: an export has only the first, in which a sentence is."""
    segments = np.asarray(tensor)
    if np.any(segments):
        found = segments[segments != 0].ravel()[0]
        raise UsageError(f"{where}: {_SEGMENTS} has the segment {found}; only 0 is supported, that of one sentence")


def _google_name(name: str) -> tuple[str | None, bool]:
    """Google's name and whether to transpose the value; None for what the language model does not use."""
    if layer := _LAYER.fullmatch(name):
        number, module, kind = layer.groups()
        return _module_name(f"bert/encoder/layer_{number}/{module.replace('.', '/')}", module, kind)
    stem, _, kind = name.rpartition(".")
    if stem in _EMBEDDINGS and kind == "weight":
        return stem.replace(".", "/"), False
    if stem == "bert.embeddings.LayerNorm" and kind in _NORM:
        return f"bert/embeddings/LayerNorm/{_NORM[kind]}", False
    if stem == "cls.predictions.transform.dense":
        return _module_name(f"{HEAD_SCOPE}/transform/dense", "output.dense", kind)
    if stem == "cls.predictions.transform.LayerNorm" and kind in _NORM:
        return f"{HEAD_SCOPE}/transform/LayerNorm/{_NORM[kind]}", False
    if name == _BIAS:
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
            tensors[_BIAS] = value
            continue
        stem, _, kind = name.replace("encoder/layer_", "encoder/layer/").rpartition("/")
        if stem == "bert/embeddings":
            tensors[f"bert.embeddings.{kind}.weight"] = value
            continue
        suffix = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}[kind]
        tensors[f"{stem.replace('/', '.')}.{suffix}"] = value.T.copy() if kind == "kernel" else value
    return tensors
