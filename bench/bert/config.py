"""The shape of a BERT, read strictly from Google's `bert_config.json` or Hugging Face's `config.json`.

An unknown key is an error that names it: a misspelt or new key that changes the model must not pass in silence. Keys
that are known to leave the masked-LM's forward pass alone are listed below.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from bench.errors import UsageError

GOOGLE_FILE: Final = "bert_config.json"
HUGGING_FACE_FILE: Final = "config.json"

# `gelu` is the exact erf form, as in Hugging Face's BERT and in bert-as-language-model; google-research/bert's later
# code spells the tanh approximation `gelu` too, which its configs cannot tell apart: give "gelu_new" for it.
ACTIVATIONS: Final = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

# The multilingual and Chinese models carry the pooler's shape, which nothing here reads.
_POOLER: Final = frozenset(
    f"pooler_{name}" for name in ("fc_size", "num_attention_heads", "num_fc_layers", "size_per_head", "type")
) | {"directionality"}
# What `transformers` writes beside the model's shape: bookkeeping, heads of other tasks, defaults of generation.
_BOOKKEEPING: Final = """
    _attn_implementation _commit_hash _name_or_path architectures cross_attention_hidden_size dtype finetuning_task
    gradient_checkpointing language model_card name output_attentions output_hidden_states output_past return_dict
    tokenizer_class torch_dtype torchscript transformers_version use_bfloat16 use_cache xla_device
"""
_TASKS: Final = """
    bos_token_id bos_token_ids classifier_dropout cls_token_id decoder_start_token_id eos_token_id eos_token_ids
    id2label label2id mask_token_id num_labels pad_token_id prefix problem_type sep_token_id task_specific_params
    tf_legacy_loss
"""
_GENERATION: Final = """
    bad_words_ids begin_suppress_tokens diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size
    exponential_decay_length_penalty forced_bos_token_id forced_eos_token_id length_penalty max_length min_length
    no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_scores remove_invalid_values
    repetition_penalty return_dict_in_generate suppress_tokens temperature top_k top_p typical_p
"""
_HUGGING_FACE_IGNORED: Final = _POOLER.union(_BOOKKEEPING.split(), _TASKS.split(), _GENERATION.split())
# Keys that change the forward pass; only the value that BERT has is taken.
_HUGGING_FACE_FIXED: Final[Mapping[str, tuple[object, ...]]] = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "is_encoder_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "pruned_heads": ({}, None),
    "chunk_size_feed_forward": (0,),
    "quantization_config": (None,),
}


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
        max_position_embeddings: the longest row, [CLS] and [SEP] included.
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
            raise UsageError(f"hidden_act {self.hidden_act!r} is not supported; known are {known}")

    def _check_field(self, name: str, kind: Any) -> None:
        value = getattr(self, name)
        if kind is int and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise UsageError(f"{name} must be a whole number above zero, not {value!r}; correct the config")
        if kind is float:
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
                raise UsageError(f"{name} must be a number from 0 up to 1, not {value!r}; correct the config")
            object.__setattr__(self, name, float(value))
        if kind is str and not isinstance(value, str):
            raise UsageError(f"{name} must be text, not {value!r}; correct the config")

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


def read_google_config(path: Path) -> BertConfig:
    """The config in Google's `bert_config.json`.

    Raises:
        UsageError: unreadable, an unknown key, a missing key, or a value no BERT can have.
    """
    return _build(_read_object(path), path, ignored=_POOLER, fixed={})


def read_hugging_face_config(path: Path) -> BertConfig:
    """The config in Hugging Face's `config.json` of a BERT.

    Raises:
        UsageError: unreadable, an unknown key, a key whose value makes it another model, a missing key.
    """
    return _build(_read_object(path), path, ignored=_HUGGING_FACE_IGNORED, fixed=_HUGGING_FACE_FIXED)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        raw = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give a checkpoint folder") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON ({error}); give a checkpoint folder that is whole") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path} is not a JSON object; give a checkpoint folder that is whole")
    return raw


def _build(
    raw: dict[str, Any], path: Path, ignored: frozenset[str], fixed: Mapping[str, tuple[object, ...]]
) -> BertConfig:
    for key, value in raw.items():
        if key in fixed and value not in fixed[key]:
            raise UsageError(f"{path}: {key} = {value!r} is another model; only {fixed[key][0]!r} is supported")
        if key not in _FIELDS and key not in ignored and key not in fixed:
            raise UsageError(f"{path}: unknown key {key!r} may change the model; remove it if it does not")
    missing = [key for key in _REQUIRED if key not in raw]
    if missing:
        raise UsageError(f"{path}: no {missing[0]!r}; give the config that belongs to the checkpoint")
    try:
        return BertConfig(**{key: value for key, value in raw.items() if key in _FIELDS})
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


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
