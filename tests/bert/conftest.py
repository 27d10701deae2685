"""A small BERT with a vocabulary of its own, and its export, made once for all tests here."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.bert.tf_logging import limit_tensorflow_log

limit_tensorflow_log()

from bench.bert.checkpoints.types import Checkpoint  # noqa: E402
from bench.bert.checkpoints.variables import fresh_variables  # noqa: E402
from bench.bert.config import BertConfig  # noqa: E402
from bench.bert.contract.exported_model import ExportedModel  # noqa: E402
from bench.bert.text.sentence import EncodedSentence  # noqa: E402
from bench.bert.text.tokenizer import Tokenizer  # noqa: E402

PIECES = (
    *("the", "a", "cat", "dog", "book", "desk", "on", "in", "is", "was", "there", "and", "ran", "sat"),
    *("un", "##believ", "##able", "##ly", "##s", ",", ".", "!"),
)
SENTENCES = (
    "the cat sat on the desk .",
    "unbelievably , the dogs ran !",
    "a",
    "there is a book on the desk",
    "unbelievable cats and unbelievable dogs was in the book and on the desk , the dog ran and the cat sat .",
    "the dog",
)


def small_config(act: str = "gelu", layers: int = 2) -> BertConfig:
    """Wide weights, so that answers differ clearly from each other."""
    return BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=48,
        hidden_act=act,
        max_position_embeddings=40,
        initializer_range=0.4,
    )


VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES)


def small_checkpoint(seed: int = 1, act: str = "gelu", layers: int = 2) -> Checkpoint:
    """Seeded random weights; norms and biases too, which fresh ones would hide."""
    config = small_config(act, layers)
    values = fresh_variables(config, seed)
    noise = fresh_variables(dataclasses.replace(config, num_hidden_layers=layers), seed + 1000)
    for index, (name, value) in enumerate(sorted(values.items())):
        if value.ndim == 1:
            spread = noise["bert/embeddings/word_embeddings"].ravel()
            values[name] = value + 0.5 * spread[index : index + value.size]
    return Checkpoint(config, Tokenizer(VOCABULARY), values, "test")


def encode(texts: Sequence[str] = SENTENCES) -> list[EncodedSentence]:
    """Sentences in the small vocabulary."""
    tokenizer = Tokenizer(VOCABULARY)
    return [tokenizer.encode(text) for text in texts]


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return small_checkpoint()


@pytest.fixture(scope="session")
def exported(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """The small model exported with both signatures."""
    from bench.bert.export.export import ExportOptions, export_model

    model_dir: Path = tmp_path_factory.mktemp("exported") / "model"
    export_model(checkpoint, model_dir, encode(), ExportOptions())
    return ExportedModel.open(model_dir)
