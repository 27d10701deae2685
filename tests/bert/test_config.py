"""Configs are read strictly: what changes the model is taken or refused by name, never skipped."""

from pathlib import Path

import orjson
import pytest

from bench.bert.config import PRESETS, BertConfig, read_google_config, read_hugging_face_config
from bench.errors import UsageError

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
    assert read_google_config(write(tmp_path, GOOGLE)) == PRESETS["base"]
    assert read_hugging_face_config(write(tmp_path, HUGGING_FACE)) == PRESETS["base"]


def test_keys_of_the_pooler_are_harmless(tmp_path: Path) -> None:
    """As in the multilingual and Chinese models of both kinds."""
    pooler = {"pooler_type": "first_token_transform", "directionality": "bidi", "pooler_fc_size": 768}
    assert read_google_config(write(tmp_path, GOOGLE | pooler)) == PRESETS["base"]
    assert read_hugging_face_config(write(tmp_path, HUGGING_FACE | pooler)) == PRESETS["base"]


def test_defaults_of_generation_are_harmless_in_hugging_faces_files(tmp_path: Path) -> None:
    older = {"do_sample": False, "num_beams": 1, "torchscript": False, "id2label": {"0": "LABEL_0"}, "pruned_heads": {}}
    assert read_hugging_face_config(write(tmp_path, HUGGING_FACE | older)) == PRESETS["base"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_sise": 3}, "hidden_sise"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
        ({"model_type": "roberta"}, "model_type"),
        ({"is_decoder": True}, "is_decoder"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"hidden_act": "silu"}, "silu"),
        ({"hidden_size": 770}, "num_attention_heads"),
        ({"hidden_size": "768"}, "hidden_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"num_hidden_layers": True}, "num_hidden_layers"),
        ({"layer_norm_eps": None}, "layer_norm_eps"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
    ],
)
def test_what_changes_the_model_is_named(tmp_path: Path, change: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        read_hugging_face_config(write(tmp_path, HUGGING_FACE | change))


def test_a_key_of_the_other_form_is_unknown_to_google(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="position_embedding_type"):
        read_google_config(write(tmp_path, GOOGLE | {"position_embedding_type": "absolute"}))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"vocab_size": 5}'])
def test_what_is_no_config_says_so_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        read_google_config(write(tmp_path, content))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_google_config(tmp_path / "none.json")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for eps in (1e-12, 1e-5):
        config = BertConfig(vocab_size=9, hidden_size=8, num_attention_heads=2, hidden_act="relu", layer_norm_eps=eps)
        assert read_google_config(write(tmp_path, config.to_json())) == config


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
