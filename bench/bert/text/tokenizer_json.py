"""`tokenizer.json` of the `tokenizers` library, as far as it describes a BERT tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.bert.text.token_entries import Entry, parse_entry
from bench.bert.text.tokenizer_options import CONTINUATION
from bench.core.errors import UsageError
from bench.core.strict_json import Section, brief, read_object

TOKENIZER_FILE: Final = "tokenizer.json"

# `truncation` and `padding` have no effect unless `transformers` is asked to truncate or pad.
_IGNORED: Final = ("version", "truncation", "padding", "decoder")
_PARTS: Final = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model")


@dataclass(frozen=True, slots=True)
class TokenizerJson:
    """What the file says.

    Args:
        where: its path.
        ids: the ids of the WordPieces.
        unk_token: the piece for a word that cannot be split.
        max_word_chars, do_lower_case, split_cjk, clean_text: see `TokenizerOptions`.
        strip_accents: None follows `do_lower_case`.
        added: the added tokens in the order of the file.
        post_processor: the object that puts tokens around a text; None puts none there.
    """

    where: str
    ids: Mapping[str, int]
    unk_token: str
    max_word_chars: int
    do_lower_case: bool
    strip_accents: bool | None
    split_cjk: bool
    clean_text: bool
    added: tuple[Entry, ...]
    post_processor: dict[str, Any] | None


def read_tokenizer_json(path: Path) -> TokenizerJson:
    """Reads the file.

    Raises:
        UsageError: it cannot be read, or a part of it is another than BERT's; the message names the part.
    """
    top = Section(read_object(path), str(path))
    top.only((*_IGNORED, *_PARTS))
    model = _part(top, "model", "WordPiece", ("unk_token", "continuing_subword_prefix", "max_input_chars_per_word"))
    normalizer = _part(top, "normalizer", "BertNormalizer", ("clean_text", "handle_chinese_chars", "lowercase"))
    _part(top, "pre_tokenizer", "BertPreTokenizer", ())
    if model.raw["continuing_subword_prefix"] != CONTINUATION:
        key = "continuing_subword_prefix"
        raise model.refuse(key, model.raw[key], brief(CONTINUATION))
    post_processor = top.raw.get("post_processor")
    return TokenizerJson(
        where=str(path),
        ids=_ids(model),
        unk_token=str(model.raw["unk_token"]),
        max_word_chars=model.count("max_input_chars_per_word"),
        do_lower_case=normalizer.flag("lowercase"),
        strip_accents=normalizer.optional_flag("strip_accents", null=True),
        split_cjk=normalizer.flag("handle_chinese_chars"),
        clean_text=normalizer.flag("clean_text"),
        added=_added(top),
        post_processor=None if post_processor is None else top.section("post_processor").raw,
    )


def check_frame(found: TokenizerJson, cls: tuple[str, int], sep: tuple[str, int]) -> None:
    """Refuses a post-processor that does not put [CLS] and [SEP] around a text, as none at all does not.

    Args:
        found: the file.
        cls, sep: text and id of the special tokens.

    Raises:
        UsageError: it is missing, of another kind, or of other tokens.
    """
    raw = found.post_processor or {}
    if raw.get("type") == "BertProcessing":
        good = (raw.get("cls"), raw.get("sep")) == (list(cls), list(sep))
    else:
        good = raw.get("type") == "TemplateProcessing" and _template_is(raw, cls, sep)
    if not good:
        raise UsageError(
            f"{found.where}: post_processor {brief(found.post_processor)} does not put {cls[0]!r} and {sep[0]!r} "
            "around a text; if the model was trained with them, save the tokenizer with BertProcessing"
        )


def _template_is(raw: dict[str, Any], cls: tuple[str, int], sep: tuple[str, int]) -> bool:
    single, tokens = raw.get("single"), raw.get("special_tokens")
    if not isinstance(single, list) or not isinstance(tokens, dict):
        return False
    wanted = [
        {"SpecialToken": {"id": cls[0], "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": sep[0], "type_id": 0}},
    ]
    return single == wanted and all(
        isinstance(tokens.get(name), dict) and tokens[name].get("ids") == [index] for name, index in (cls, sep)
    )


def _part(top: Section, key: str, kind: str, required: tuple[str, ...]) -> Section:
    """The part of that type, with the keys that it must have."""
    raw = top.raw.get(key)
    # The library writes no type into old files' models.
    found = (raw.get("type") or ("WordPiece" if key == "model" else None)) if isinstance(raw, dict) else raw
    if found != kind:
        raise UsageError(f"{top.where}: {key} is {_kind(found, raw)}; only BERT's {kind} is supported")
    section = Section(raw, f"{top.where}: {key}")
    further = {"model": ("vocab",), "normalizer": ("strip_accents",)}.get(key, ())
    section.only({"type", *required, *further})
    for name in required:
        if name not in section.raw:
            raise UsageError(f"{section.where} has no {name}; save the tokenizer again")
    return section


def _kind(found: object, raw: object) -> str:
    return found if isinstance(found, str) and found.isidentifier() else brief(raw)


def _ids(model: Section) -> dict[str, int]:
    vocabulary = model.section("vocab")
    ids = {piece: vocabulary.identifier(piece) for piece in vocabulary.raw}
    if len(set(ids.values())) != len(ids):
        raise UsageError(f"{vocabulary.where}: two pieces have one id; save the tokenizer again")
    return ids


def _added(top: Section) -> tuple[Entry, ...]:
    raw = top.raw.get("added_tokens") or []
    if not isinstance(raw, list):
        raise UsageError(f"{top.where}: added_tokens is {brief(raw)}, not a list; save the tokenizer again")
    entries = tuple(parse_entry(token, f"{top.where}: added_tokens") for token in raw)
    for entry in entries:
        if entry.flags is None or entry.id is None:
            raise UsageError(f"{entry.where}: {entry.content!r} has no id; save the tokenizer again")
    return entries
