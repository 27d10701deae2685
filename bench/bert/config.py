"""The shape of a BERT, read from Google's `bert_config.json` or Hugging Face's `config.json`.

A key that changes the model's probabilities is read, or refused by name and value; other keys are ignored, unless
they look like a misspelling of one that is not there.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from bench.core.errors import UsageError
from bench.core.message_text import shown
from bench.core.strict_json import brief, read_object

GOOGLE_FILE: Final = "bert_config.json"
HUGGING_FACE_FILE: Final = "config.json"

# `gelu` is the exact erf form, as in Hugging Face's BERT and in bert-as-language-model; google-research/bert's later
# code spells the tanh approximation `gelu` too, which its configs cannot tell apart: give "gelu_new" for it.
ACTIVATIONS: Final = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "relu": "relu",
}

# Beside the fields of `BertConfig`: keys that change what is computed from the same weights, with the value that
# leaves it BERT's. A key that is not here, nor close to one, changes nothing in a masked LM's probabilities or shows in
# the weights, whose names and shapes must be exactly BERT's. Sources: `transformers`' modeling_bert.py and the configs
# of models that call themselves `bert` and bring their own code (MosaicBERT, jina-bert, nomic-bert, BLIP).
_ONLY: Final[Mapping[str, object]] = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "attention_type": "original_full",
    "tie_word_embeddings": True,
    "bidirectional": True,
    "scale_attn_weights": True,
}
_OFF: Final = frozenset(
    (
        "add_cross_attention",
        "alibi",
        "alibi_starting_size",
        "attn_logit_softcapping",
        "attention_window",
        "causal",
        "compression_config",
        "do_layer_norm_before",
        "final_logit_softcapping",
        "is_causal",
        "is_decoder",
        "is_encoder_decoder",
        "local_attention",
        "norm_first",
        "normalize_before",
        "pre_norm",
        "prenorm",
        "pruned_heads",
        "quantization_config",
        "parallel_attention",
        "relative_attention",
        "rope_parameters",
        "rope_scaling",
        "rope_theta",
        "rotary",
        "rotary_emb_fraction",
        "scale_embedding",
        "scale_embeddings",
        "sliding_window",
        "use_alibi",
        "use_rms_norm",
        "use_rope",
        "use_rotary",
    )
)
# Names of other models' configs for fields of a BERT's: they must agree with it.
_SAME: Final[Mapping[str, Callable[["BertConfig"], object]]] = {
    "activation_function": lambda config: config.hidden_act,
    "attention_head_size": lambda config: config.size_per_head,
    "embedding_size": lambda config: config.hidden_size,
    "head_dim": lambda config: config.size_per_head,
    "hidden_activation": lambda config: config.hidden_act,
    "layer_norm_epsilon": lambda config: config.layer_norm_eps,
    "norm_eps": lambda config: config.layer_norm_eps,
    "num_key_value_heads": lambda config: config.num_attention_heads,
}
# Far above every BERT; larger numbers in a file from elsewhere would only use up memory and time.
_MOST: Final[Mapping[str, int]] = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 16,
    "num_hidden_layers": 1000,
    "num_attention_heads": 1 << 12,
    "intermediate_size": 1 << 20,
    "max_position_embeddings": 1 << 20,
    "type_vocab_size": 1 << 16,
}
# [CLS], a piece and [SEP].
_LEAST: Final[Mapping[str, int]] = {"max_position_embeddings": 3}
# Similarity from which an unknown key counts as a misspelling of one that matters and is absent.
_ALIKE: Final = 0.85


@dataclasses.dataclass(frozen=True, slots=True)
class BertConfig:
    """The shape of a BERT with a masked-LM head; the fields carry the names of Google's and Hugging Face's files.

    Args:
        vocab_size: WordPieces in the vocabulary.
        hidden_size: width of the residual stream; a multiple of `num_attention_heads`.
        num_hidden_layers: encoder layers.
        num_attention_heads: heads a layer.
        intermediate_size: width of the feed-forward layer.
        hidden_act: `gelu` (erf), `gelu_new` (tanh) or `relu`, used in the encoder and in the head's transform.
        max_position_embeddings: the longest row, [CLS] and [SEP] included, so 3 at least.
        type_vocab_size: segments.
        layer_norm_eps: added to the variance; 1e-12 in BERT.
        hidden_dropout_prob: dropout of embeddings and sub-layer outputs, in training only.
        attention_probs_dropout_prob: dropout of attention weights, in training only.
        initializer_range: standard deviation of fresh weights (truncated normal).

    Raises:
        UsageError: a value that no BERT can have.
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check_field(field.name, field.type)
        if self.hidden_size % self.num_attention_heads:
            raise UsageError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}; "
                "correct the config"
            )
        if self.hidden_act not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UsageError(f"hidden_act {brief(self.hidden_act)} is not supported; known are {known}")

    def _check_field(self, name: str, kind: Any) -> None:
        value = getattr(self, name)
        if kind is int and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise UsageError(f"{name} must be a whole number above zero, not {brief(value)}; correct the config")
        if kind is int and value < _LEAST.get(name, 1):
            raise UsageError(f"{name} must be at least {_LEAST[name]}, not {brief(value)}; correct the config")
        if kind is int and value > _MOST[name]:
            raise UsageError(f"{name} must be at most {_MOST[name]:,}, not {brief(value)}; correct the config")
        if kind is float:
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
                raise UsageError(f"{name} must be a number from 0 up to 1, not {brief(value)}; correct the config")
            object.__setattr__(self, name, float(value))
        if kind is str and not isinstance(value, str):
            raise UsageError(f"{name} must be text, not {brief(value)}; correct the config")

    @property
    def size_per_head(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def max_pieces(self) -> int:
        """The longest sentence in WordPieces; [CLS] and [SEP] take the other two positions."""
        return self.max_position_embeddings - 2

    def to_json(self) -> bytes:
        """`bert_config.json` as Google writes it; `layer_norm_eps` appears only where it differs from BERT's."""
        fields = dataclasses.asdict(self)
        if self.layer_norm_eps == 1e-12:
            del fields["layer_norm_eps"]
        return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


_FIELDS: Final = frozenset(field.name for field in dataclasses.fields(BertConfig))
# Without these a file does not say which BERT it is; the published defaults would be a guess.
_REQUIRED: Final = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
_TRAINING_ONLY: Final = frozenset(("hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range"))
_KNOWN: Final = _FIELDS | _ONLY.keys() | _OFF | _SAME.keys()
# What a misspelt key is taken to mean; a switch that is off when absent is not among them.
_MEANT: Final = (_FIELDS - _TRAINING_ONLY) | _ONLY.keys()


def find_config(folder: Path, names: Sequence[str]) -> Path:
    """The first of the files `names` that lies in `folder`.

    Raises:
        UsageError: none does.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"{folder} has neither {GOOGLE_FILE} nor {HUGGING_FACE_FILE}; "
        "copy the config there of the model that its weights belong to"
    )


def read_config(path: Path) -> BertConfig:
    """The config in Google's `bert_config.json` or Hugging Face's `config.json` of a BERT.

    Keys that do not change the probabilities are ignored.

    Raises:
        UsageError: unreadable, a missing key, a value no BERT can have, or a key whose value makes it another model.
    """
    raw = read_object(path, bom=True)
    try:
        _check_plain(raw)
        config = BertConfig(**{key: value for key, value in raw.items() if key in _FIELDS})
        _check_agreement(raw, config)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    return config


def _check_plain(raw: Mapping[str, object]) -> None:
    """Checks that keys outside of `BertConfig` describe a BERT; null counts as absent."""
    for key, value in raw.items():
        if key in _ONLY and value is not None and value != _ONLY[key]:
            raise UsageError(f"{key} = {brief(value)} is not supported; only {brief(_ONLY[key])} is")
        if key in _OFF and value:
            raise UsageError(f"{key} = {brief(value)} is not supported; a plain BERT does not have it")
    for key in _REQUIRED:
        if key not in raw:
            near = difflib.get_close_matches(key, raw.keys() - _KNOWN, 1, _ALIKE)
            hint = f" (there is {shown(near[0])!r})" if near else ""
            raise UsageError(f"no {key!r}{hint}; give the config that belongs to the checkpoint")


def _check_agreement(raw: Mapping[str, object], config: BertConfig) -> None:
    """Checks that other names of a field, and misspelt ones, agree with it."""
    for key, value in raw.items():
        if key in _SAME and value not in (None, _SAME[key](config)):
            raise UsageError(
                f"{key} = {brief(value)} contradicts the rest of the config, where it is "
                f"{brief(_SAME[key](config))}; only a plain BERT is supported"
            )
        if key not in _KNOWN and (alike := difflib.get_close_matches(key, _MEANT, 1, _ALIKE)):
            meant = alike[0]
            effective = getattr(config, meant) if meant in _FIELDS else _ONLY[meant]
            if value != effective:
                raise UsageError(
                    f"unknown key {shown(key)!r} may mean {meant!r}, which is {brief(effective)}; correct or remove it"
                )


def _preset(layers: int, hidden: int) -> BertConfig:
    return BertConfig(
        vocab_size=30_522,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=hidden * 4,
    )


# Devlin et al. 2019 (base, large) and Turc et al. 2019, "Well-Read Students Learn Better" (the smaller ones), with the
# vocabulary size of the uncased English models.
PRESETS: Final[Mapping[str, BertConfig]] = {
    "tiny": _preset(2, 128),
    "mini": _preset(4, 256),
    "small": _preset(4, 512),
    "medium": _preset(8, 512),
    "base": _preset(12, 768),
    "large": _preset(24, 1024),
}
