"""Configs are read strictly: what changes the model is taken or refused by name, never skipped."""

import json
from pathlib import Path

import orjson
import pytest

from bench.bert.config import PRESETS, BertConfig, read_config
from bench.core.errors import UsageError

GOOGLE = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
# As `transformers` writes it beside bert-base-uncased.
HUGGING_FACE = GOOGLE | {
    "architectures": ["BertForMaskedLM"],
    "gradient_checkpointing": False,
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0",
    "use_cache": True,
}


def write(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else orjson.dumps(content))
    return path


def test_both_forms_of_bert_base_are_the_preset(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, GOOGLE)) == PRESETS["base"]
    assert read_config(write(tmp_path, HUGGING_FACE)) == PRESETS["base"]


def test_keys_of_the_pooler_are_harmless(tmp_path: Path) -> None:
    """As in the multilingual and Chinese models of both kinds."""
    pooler = {"pooler_type": "first_token_transform", "directionality": "bidi", "pooler_fc_size": 768}
    assert read_config(write(tmp_path, GOOGLE | pooler)) == PRESETS["base"]
    assert read_config(write(tmp_path, HUGGING_FACE | pooler)) == PRESETS["base"]


def test_defaults_of_generation_are_harmless_in_hugging_faces_files(tmp_path: Path) -> None:
    older = {"do_sample": False, "num_beams": 1, "torchscript": False, "id2label": {"0": "LABEL_0"}, "pruned_heads": {}}
    assert read_config(write(tmp_path, HUGGING_FACE | older)) == PRESETS["base"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_sise": 3}, "hidden_sise"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"model_type": "roberta"}, "model_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = false"),
        ({"add_cross_attention": True}, "add_cross_attention = true"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"embedding_size": 128}, "embedding_size = 128"),
        ({"num_key_value_heads": 4}, "num_key_value_heads = 4"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon = 1e-05"),
        ({"layernorm_eps": 1e-5}, "layernorm_eps"),
        ({"quantization_config": {"load_in_8bit": True, "quant_method": "bitsandbytes"}}, "quantization_config"),
        ({"alibi_starting_size": 512}, "alibi_starting_size = 512"),
        ({"use_rotary": True}, "use_rotary = true"),
        ({"rope_parameters": {"rope_theta": 10000.0}}, "rope_parameters"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
        ({"parallel_attention": True}, "parallel_attention = true"),
        ({"scale_embeddings": True}, "scale_embeddings = true"),
        ({"hidden_act": None}, "hidden_act must be text, not null"),
        ({"layer_norm_eps": "1e-12"}, 'layer_norm_eps must be a number .* not "1e-12"'),
        ({"model_type": "BERT"}, 'model_type = "BERT"'),
        ({"sliding_window": 128}, "sliding_window = 128"),
        ({"normalize_before": True}, "normalize_before = true"),
        ({"model_type": "deberta\n\x1b[31m" + 200 * "x"}, "model_type"),
        ({"hidden_act": "silu"}, "silu"),
        ({"hidden_size": 770}, "num_attention_heads"),
        ({"hidden_size": "768"}, "hidden_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"max_position_embeddings": 2}, "max_position_embeddings must be at least 3, not 2; correct"),
        ({"max_position_embeddings": 0}, "max_position_embeddings must be a whole number above zero, not 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"layer_norm_eps": None}, "layer_norm_eps"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
    ],
)
def test_what_changes_the_model_is_named(tmp_path: Path, change: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        read_config(write(tmp_path, HUGGING_FACE | change))


def test_three_positions_take_a_piece(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, GOOGLE | {"max_position_embeddings": 3})).max_pieces == 1


# What `transformers` of all ages, its derivatives and trainers write into a BERT's config.
BOOKKEEPING: dict[str, object] = {
    "_name_or_path": "bert-base-uncased",
    "_num_labels": 2,
    "adapters": {"adapters": {}, "config_map": {}},
    "architectures": ["BertForSequenceClassification"],
    "attn_implementation": "sdpa",
    "auto_map": {"AutoModelForMaskedLM": "modeling_x.BertForMaskedLM"},
    "chunk_size_feed_forward": 64,
    "classifier_dropout": None,
    "embedding_size": 768,
    "finetuning_task": "mnli",
    "gradient_checkpointing": True,
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
    "layer_norm_epsilon": 1e-12,
    "loss_weight": float("nan"),
    "num_choices": 4,
    "num_key_value_heads": 12,
    "output_hidden_states": True,
    "pooler_fc_size": 768,
    "position_embedding_type": None,
    "pruned_heads": {},
    "quantization_config": None,
    "rope_scaling": None,
    "tie_encoder_decoder": False,
    "torch_dtype": "float16",
    "unk_token_id": 100,
    "use_bfloat16": False,
    "x_training_recipe": {"steps": 3},
}


@pytest.mark.parametrize("key", BOOKKEEPING)
def test_a_key_that_changes_nothing_passes(tmp_path: Path, key: str) -> None:
    content = json.dumps(HUGGING_FACE | {key: BOOKKEEPING[key]}).encode()
    assert read_config(write(tmp_path, content)) == PRESETS["base"]


def test_both_files_are_read_by_one_rule(tmp_path: Path) -> None:
    """Google's form with Hugging Face's keys in it, and a byte order mark in front."""
    content = b"\xef\xbb\xbf" + json.dumps(GOOGLE | BOOKKEEPING).encode()
    assert read_config(write(tmp_path, content)) == PRESETS["base"]
    with pytest.raises(UsageError, match="position_embedding_type = .relative_key"):
        read_config(write(tmp_path, GOOGLE | {"position_embedding_type": "relative_key"}))


@pytest.mark.parametrize("missing", ["layer_norm_eps", "hidden_act", "max_position_embeddings", "model_type"])
def test_what_an_older_file_leaves_out_has_berts_value(tmp_path: Path, missing: str) -> None:
    content = {key: value for key, value in HUGGING_FACE.items() if key != missing}
    assert read_config(write(tmp_path, content)) == PRESETS["base"]


def test_a_required_key_that_is_misspelt_is_shown(tmp_path: Path) -> None:
    content = {"hidden_sise" if key == "hidden_size" else key: value for key, value in GOOGLE.items()}
    with pytest.raises(UsageError, match=r"no 'hidden_size' \(there is 'hidden_sise'\)"):
        read_config(write(tmp_path, content))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"vocab_size": 5}', b'{"vocab_size": 5, "vocab_size": 6}', "{}".encode("utf-16")]
)
def test_what_is_no_config_says_so_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path / "none.json")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for eps in (1e-12, 1e-5):
        config = BertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, hidden_act="relu", layer_norm_eps=eps)
        assert read_config(write(tmp_path, config.to_json())) == config


def test_presets_have_the_published_sizes() -> None:
    sizes = {name: (config.num_hidden_layers, config.hidden_size) for name, config in PRESETS.items()}
    assert sizes == {
        "tiny": (2, 128),
        "mini": (4, 256),
        "small": (4, 512),
        "medium": (8, 512),
        "base": (12, 768),
        "large": (24, 1024),
    }
    for config in PRESETS.values():
        assert config.size_per_head == 64
        assert config.intermediate_size == 4 * config.hidden_size
