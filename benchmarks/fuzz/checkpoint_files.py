"""Files of checkpoints and of exported models."""

import json
import random
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.bert.tf_logging import limit_tensorflow_log

limit_tensorflow_log()

from safetensors.numpy import save_file  # noqa: E402

from bench.bert.checkpoints.google import write_google_folder  # noqa: E402
from bench.bert.checkpoints.resolve import open_checkpoint  # noqa: E402
from bench.bert.checkpoints.torch_file import read_torch_file  # noqa: E402
from bench.bert.checkpoints.types import Checkpoint  # noqa: E402
from bench.bert.checkpoints.variables import fresh_variables  # noqa: E402
from bench.bert.config import BertConfig  # noqa: E402
from bench.bert.contract.exported_model import ExportedModel  # noqa: E402
from bench.bert.text.tokenizer import Tokenizer  # noqa: E402
from bench.bert.training.training import EVALUATIONS_FILE, read_evaluations  # noqa: E402
from bench.bert.training.training_config import TrainingConfig, check_folder, claim_folder  # noqa: E402
from bench.core.bounded_files import own_file  # noqa: E402
from bench.load.engine.payloads import build_payloads, largest_response  # noqa: E402
from bench.workload.workload import Workload  # noqa: E402
from benchmarks.fuzz.kinds import Kind  # noqa: E402
from benchmarks.fuzz.mutations import (  # noqa: E402
    PLACES,
    mutate_bytes,
    mutate_framed_json,
    mutate_json,
    mutate_text,
)

_TORCH: Final = Path(__file__).parents[2] / "tests" / "bert" / "torch_files"
_TEXT: Final = "the [MASK] cat sat , unbelievably ! \x07 Ünï 漢字 fox"
_PIECES: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "un", "##able", ",", "!", "fox")


@cache
def _checkpoint() -> Checkpoint:
    config = BertConfig(len(_PIECES), 8, 1, 2, 12, max_position_embeddings=16)
    return Checkpoint(config, Tokenizer(_PIECES), fresh_variables(config, 1), "fuzz")


def _google(folder: Path, secret: Path) -> None:
    for place in (folder, secret):
        write_google_folder(place, _checkpoint())
    (folder / "checkpoint").write_text('model_checkpoint_path: "bert_model.ckpt"\n')


def _several(folder: Path, secret: Path) -> None:
    """Two checkpoints, of which the state file names one."""
    _google(folder, secret)
    for path in list(folder.glob("bert_model.ckpt.*")):
        shutil.copy(path, path.with_name(path.name.replace("bert_model.ckpt", "model.ckpt-7")))
        path.rename(path.with_name(path.name.replace("bert_model.ckpt", "other.ckpt-3")))
    (folder / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')


def _mutate_state(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return mutate_text(rng, data)
    place = rng.choice((*PLACES, "/SECRET/bert_model.ckpt", "../secret/bert_model.ckpt", "a\\..\\b", "gs://x/y"))
    return f'model_checkpoint_path: "{place}"\n'.encode() * rng.choice((1, 1, 2))


def _hugging_face(folder: Path, weights: str) -> None:
    shutil.copy(_TORCH / "config.json", folder)
    shutil.copy(_TORCH / "vocab.txt", folder)
    shutil.copy(
        _TORCH / weights, folder / ("model.safetensors" if weights.endswith("tensors") else "pytorch_model.bin")
    )


def _sharded(folder: Path, secret: Path) -> None:
    for name in ("config.json", "vocab.txt"):
        shutil.copy(_TORCH / name, folder)
    shutil.copytree(_TORCH / "shards", folder, dirs_exist_ok=True)
    shutil.copytree(_TORCH / "shards", secret, dirs_exist_ok=True)


def _safe_sharded(folder: Path, secret: Path) -> None:
    for name in ("config.json", "vocab.txt"):
        shutil.copy(_TORCH / name, folder)
    tensors = {name: np.asarray(tensor) for name, tensor in read_torch_file(_TORCH / "zip.bin").items()}
    save_file(tensors, folder / "model-00001-of-00001.safetensors")
    save_file(tensors, secret / "model.safetensors")
    names = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def _mutate_index(rng: random.Random, data: bytes) -> bytes:
    """As JSON, or with one name of a file that leads outside."""
    if rng.random() < 0.5:
        return mutate_json(rng, data)
    index: dict[str, Any] = json.loads(data)
    names = index["weight_map"]
    outside = ("/SECRET/model.safetensors", "../secret/model.safetensors", "../secret/pytorch_model-00001-of-00002.bin")
    names[rng.choice(list(names))] = rng.choice((*PLACES, *outside, "./x", "a/b", "x\0y", "nul:", "CON"))
    return json.dumps(index).encode()


def _tokenizer_folder(folder: Path, _secret: Path) -> None:
    """Hugging Face's files of a tokenizer, all of them."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": at, "content": token, "special": True, **flags} for at, token in enumerate(_PIECES[:5])]
    Path(folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in _PIECES))
    named = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _PIECES, strict=False))
    config = {"do_lower_case": True, "tokenizer_class": "BertTokenizer", "model_max_length": 512, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    (folder / "added_tokens.json").write_text(json.dumps({"[NEW]": len(_PIECES)}))
    whole = {
        "version": "1.0",
        "added_tokens": [
            *added,
            {"id": len(_PIECES), "content": "[NEW]", "special": False, **flags, "normalized": True},
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: at for at, piece in enumerate(_PIECES)},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole))


def _slow_tokenizer(folder: Path, secret: Path) -> None:
    _tokenizer_folder(folder, secret)
    (folder / "tokenizer.json").unlink()


def _tokenize(folder: Path) -> object:
    return Tokenizer.from_folder(folder, google=False).encode(_TEXT)


def _open(folder: Path) -> Checkpoint:
    checkpoint = open_checkpoint(folder)
    checkpoint.tokenizer.encode(_TEXT)
    return checkpoint


def _variables(checkpoint: object) -> object:
    assert isinstance(checkpoint, Checkpoint)
    return checkpoint.digest


def _export(folder: Path, _secret: Path) -> None:
    from tests.support.toy_golden import toy_golden

    extra, assets = folder / "1" / "assets.extra", folder / "1" / "assets"
    extra.mkdir(parents=True)
    assets.mkdir()
    tokenizer = _checkpoint().tokenizer
    tokenizer.write_vocab(assets / "vocab.txt")
    golden = toy_golden(3, words=(3, 5))
    (extra / "golden.json").write_bytes(re.sub(rb'"vocab_digest"', b'"x"', golden.to_json()))
    described: dict[str, Any] = json.loads((extra / "golden.json").read_bytes())
    described["tokenizer"] = tokenizer.describe()
    (extra / "golden.json").write_text(json.dumps(described))


def _use_export(folder: Path) -> object:
    model = ExportedModel.open(folder)
    for signature in ("score", "serving_default"):
        workload = Workload(protocol="both", transport="fast", signature=signature, users=1, duration=1.0, warmup=0.0)
        largest_response(build_payloads(model.golden, workload, ("rest", "grpc")))
    return model.tokenizer.encode(_TEXT)


def _training(folder: Path, _secret: Path) -> None:
    claim_folder(folder, TrainingConfig(), "0" * 64, "1" * 64)
    (folder / EVALUATIONS_FILE).write_text("step\theld_out_loss\theld_out_accuracy\n10\t4.5\t0.25\n20\t4.1\t0.31\n")


def _resume_training(folder: Path) -> object:
    check_folder(folder, TrainingConfig(), "0" * 64, "1" * 64)
    path = own_file(folder, EVALUATIONS_FILE)
    return read_evaluations(path) if path.is_file() else []


def _weights(name: str, file: str) -> Kind:
    safe = file.endswith("tensors")
    mutate = mutate_framed_json if safe else mutate_bytes
    target = "model.safetensors" if safe else "pytorch_model.bin"
    return Kind(name, lambda folder, _secret: _hugging_face(folder, file), (target,), _open, mutate)


KINDS: Final = (
    Kind("tf-index", _google, ("*.index",), _open, mutate_bytes, digest=_variables),
    Kind("tf-data", _google, ("*.data-*",), _open, mutate_bytes, digest=_variables),
    Kind("state-file", _several, ("checkpoint",), _open, _mutate_state, digest=_variables),
    _weights("safetensors", "model.safetensors"),
    _weights("torch-zip", "zip.bin"),
    _weights("torch-legacy", "legacy.bin"),
    _weights("torch-wrapped", "wrapped.bin"),
    Kind("torch-index", _sharded, ("*.index.json",), _open, _mutate_index),
    Kind("safetensors-index", _safe_sharded, ("*.index.json",), _open, _mutate_index),
    Kind("google-config", _google, ("bert_config.json",), _open),
    Kind("hugging-face-config", lambda folder, _: _hugging_face(folder, "zip.bin"), ("config.json",), _open),
    Kind("tokenizer-json", _tokenizer_folder, ("tokenizer.json",), _tokenize),
    Kind("tokenizer-config", _slow_tokenizer, ("tokenizer_config.json",), _tokenize),
    Kind("special-tokens-map", _slow_tokenizer, ("special_tokens_map.json", "added_tokens.json"), _tokenize),
    Kind("vocab-txt", _slow_tokenizer, ("vocab.txt",), _tokenize, mutate_text),
    Kind("training-record", _training, ("training.json",), _resume_training, links=True),
    Kind("evaluations", _training, ("evaluation.tsv",), _resume_training, mutate_text, links=True),
    Kind("golden", _export, ("1/assets.extra/golden.json",), _use_export),
    Kind("export-vocabulary", _export, ("1/assets/vocab.txt",), _use_export, mutate_text),
)
