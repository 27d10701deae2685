"""Tokenizer settings and hard texts: folders as people have them, and what is to come of each."""

import json
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

TEXTS: Final = (
    *("a" * length for length in (1, 99, 100, 101, 199, 200, 201)),
    # 100 letters after lower-casing and the removal of accents, but not before, and the other way round.
    "e\u0301" * 60,
    "é" * 100 + " " + "é" * 101,
    "\u0130" * 70,
    "The cafe CAFÉ café Cafe\u0301 naïve Ångström",
    "Straße STRASSE ẞ ǅ İstanbul ıi ŉ ﬁ",
    "ΟΔΟΣ Σ ΣΑΣ Ὀδυσσεύς",
    "Ёлка йод Їжак",
    "한국어 각 \u1112\u1161\u11ab",
    "東京is𠀀㐀豈 がぎぐ パピ ｶﾞ",
    "شَدَّة עִבְרִית हिन्दी ไทยที่ தமிழ்",
    "👩\u200d👩\u200d👧 👍🏽 🇩🇪 ❤\ufe0f",
    "a\u200bb a\u200db a\ufeffb a\u00adb a\u2060b a\u200eb \u200b",
    "a\x00b\x07c\x7fd\x85e\x1bf \x01",
    "a\u00a0b\u2028c\u2029d\u3000e\u1680f\tg\rh\x0bi\x0cj\x1ck\u2009l",
    "a\ufffdb \ue000c \U000f0000d \u0378e",
    "##a #a ##",
    "don't a-b a_b a…b ‘a’ «a» $a+<=>^`|~ ¡a¿ ，a。 a‿b",
    "１２３ ½ ² ＡＢＣ ａ 1.5e3",
    "\u0301a \u0301",
    "[MASK] a[MASK]b [mask] [SEP][CLS] [UNK]s [PAD] [ MASK ] [MASK]. [M\u0301ASK]",
    "[MASK]\u00a0[MASK]  [MASK] \t a",
    "<ent> a<ent>b <ENT> < ent> <e\u0301nt> <ent>s <ent>\u200b",
    "xyz axyz xyzs XYZ xyz. x\u200byz xÿz",
    "<s> </s> <mask> <unk> <pad> <cls>",
)


def _spellings(text: str) -> set[str]:
    forms = {text, text.lower(), "".join(char.lower() for char in text)}
    return forms | {unicodedata.normalize(form, spelt) for spelt in forms for form in ("NFD", "NFC")}


def _vocabulary() -> list[str]:
    """Each character of the texts as a start and as a continuation, so that any cut shows; few capitals."""
    characters = {char for text in TEXTS for spelt in _spellings(text) for char in spelt}
    kept = sorted(char for char in characters if not char.isspace() and (not char.isupper() or char in "ACTMK"))
    words = ["cafe", "café", "Café", "the", "The", "##afe", "xy", "##yz", "aa", "##aa"]
    return [*SPECIAL, *kept, *(f"##{char}" for char in kept), "\u2028", "\u3000", *words]


VOCABULARY: Final = _vocabulary()
SIZE: Final = len(VOCABULARY)


@dataclass(frozen=True)
class Setting:
    """A folder.

    Args:
        name: of the setting.
        config: `tokenizer_config.json`; None for none.
        refused: None if its tokens are to be those of `transformers`; else what the refusal must name.
        files: further files, or other contents of `vocab.txt` and `config.json`: JSON, text or bytes; None removes one.
    """

    name: str
    config: dict[str, Any] | None = None
    refused: str | None = None
    files: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Writes the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        contents: dict[str, Any] = {"config.json": {"model_type": "bert"}, "vocab.txt": "\n".join(VOCABULARY) + "\n"}
        if self.config is not None:
            contents["tokenizer_config.json"] = self.config
        for name, content in (contents | self.files).items():
            if isinstance(content, bytes):
                (folder / name).write_bytes(content)
            elif content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                (folder / name).write_text(text, encoding="utf-8", newline="")


def token(content: str, index: int | None = None, **flags: bool) -> dict[str, Any]:
    """An added token as files have it."""
    plain = dict.fromkeys(("lstrip", "rstrip", "single_word", "special"), False)
    made = {"content": content, **plain, "normalized": not flags.get("special", False), **flags}
    return made if index is None else {"id": index, **made}


def special_tokens() -> list[dict[str, Any]]:
    """The five special tokens as `tokenizer.json` has them."""
    return [token(content, index, special=True) for index, content in enumerate(SPECIAL)]


def tokenizer_json(
    normalizer: dict[str, Any] | None = None, model: dict[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    """A BERT's `tokenizer.json`, some parts changed."""
    template = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    made: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special_tokens(),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        }
        | (normalizer or {}),
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": [*template, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                name: {"id": name, "ids": [SPECIAL.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: index for index, piece in enumerate(VOCABULARY)},
        }
        | (model or {}),
    }
    return made | top


def fast(config: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Arguments of `Setting`: a folder with a `tokenizer.json`."""
    return {"config": config, "files": {"tokenizer.json": tokenizer_json(**changes)}}


def _decoder(*tokens: dict[str, Any]) -> dict[str, Any]:
    """`added_tokens_decoder` of the special tokens and others, which carry ids."""
    return {str(entry.pop("id")): entry for entry in [*special_tokens(), *(dict(made) for made in tokens)]}


_ENT: Final = token("<ent>", SIZE)
_XYZ: Final = token("xyz", SIZE + 1, single_word=True)
_CASED: Final = {"do_lower_case": False}
_OTHERS: Final = ("<pad>", "<unk>", "<cls>", "</s>", "<mask>", *VOCABULARY[5:])
_RENAMED: Final = dict(
    zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), _OTHERS[:5], strict=True)
)
# What transformers, sentence-transformers and their users leave in a folder, and what has no effect on tokens.
_BOOKKEEPING: Final = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "do_basic_tokenize": True,
    "never_split": None,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "name_or_path": "bert-base-uncased",
    "special_tokens_map_file": "/home/someone/.cache/special_tokens_map.json",
    "tokenizer_file": None,
    "auto_map": {"AutoTokenizer": ["a.B", None]},
    "processor_class": "AProcessor",
    "padding_side": "left",
    "truncation_side": "left",
    "model_input_names": ["input_ids"],
    "extra_special_tokens": {},
    "chat_template": "{{ a }}",
    "clean_up_tokenization_spaces": False,
    "model_max_length": 1000000000000000019884624838656,
    "max_length": 8,
    "stride": 0,
    "truncation_strategy": "longest_first",
    "pad_to_multiple_of": None,
    "pad_token_type_id": 0,
    "pad_token_id": 0,
    "is_local": True,
    "backend": "tokenizers",
    "init_inputs": [],
    "trained_by": "me",
    "language": "de",
    "max_len": 512,
    "max_len_single_sentence": 510,
    "mask_token_id": 4,
    "additional_special_tokens_ids": [],
    "add_bos_token": False,
    "spaces_between_special_tokens": True,
    "return_token_type_ids": True,
    "transformers_version": "4.57.1",
    "mecab_kwargs": None,
}

SETTINGS: Final = (
    Setting("nothing but vocab.txt"),
    Setting("an empty config", {}),
    Setting("lower-case", {"do_lower_case": True}),
    Setting("cased", _CASED),
    Setting("accents kept, case unsaid", {"strip_accents": False}),
    Setting("accents stripped, cased", {"strip_accents": True, **_CASED}),
    Setting("accents null", {"strip_accents": None, "do_lower_case": True}),
    Setting("ideographs together", {"tokenize_chinese_chars": False}),
    Setting("all three", {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}),
    Setting("what has no effect", _BOOKKEEPING),
    Setting("class of another name", {"tokenizer_class": "DistilBertTokenizerFast"}),
    Setting(
        "class in config.json", {}, files={"config.json": {"model_type": "bert", "tokenizer_class": "BertTokenizer"}}
    ),
    Setting("special tokens split", {"split_special_tokens": True}),
    Setting(
        "mask takes blanks", {"mask_token": {"__type": "AddedToken", **token("[MASK]", lstrip=True, normalized=False)}}
    ),
    Setting("special tokens renamed", _RENAMED, files={"vocab.txt": "\n".join(_OTHERS) + "\n"}),
    Setting("begin and end named", {"bos_token": "[CLS]", "eos_token": "[SEP]"}),
    Setting("added token", {"added_tokens_decoder": _decoder(_ENT)}),
    Setting("added words", {"added_tokens_decoder": _decoder(_ENT, _XYZ)}),
    Setting("added token as typed", {"added_tokens_decoder": _decoder({**_ENT, "normalized": False}), **_CASED}),
    Setting("added token takes blanks", {"added_tokens_decoder": _decoder({**_ENT, "lstrip": True, "rstrip": True})}),
    Setting(
        "added token of the vocabulary", {"added_tokens_decoder": _decoder(token("café", VOCABULARY.index("café")))}
    ),
    Setting(
        "added special, split",
        {"split_special_tokens": True, "added_tokens_decoder": _decoder({**_ENT, "special": True})},
    ),
    Setting(
        "normalized special", {"added_tokens_decoder": _decoder(token("[MASK]", 4, special=True, normalized=True))}
    ),
    Setting("further special", {"additional_special_tokens": ["<ent>", "xyz"]}),
    Setting("added_tokens.json", {}, files={"added_tokens.json": {"<ent>": SIZE, "xyz": SIZE + 1}}),
    Setting("empty added_tokens.json", {}, files={"added_tokens.json": {}}),
    Setting(
        "special_tokens_map.json with flags",
        {},
        files={"special_tokens_map.json": {"mask_token": token("[MASK]", lstrip=True), "unk_token": "[UNK]"}},
    ),
    Setting(
        "both older files",
        {"do_lower_case": True},
        files={
            "added_tokens.json": {"<ent>": SIZE},
            "special_tokens_map.json": {"additional_special_tokens": ["<ent>"], "cls_token": "[CLS]"},
        },
    ),
    Setting(
        "special tokens as objects",
        {
            key: {"__type": "AddedToken", **token(content, special=True)}
            for key, content in zip(_RENAMED, SPECIAL, strict=True)
        }
        | {"mask_token": "[MASK]"},
    ),
    Setting(
        "word of the vocabulary as further special",
        {"additional_special_tokens": ["café", {"__type": "AddedToken", **token("xy", single_word=True)}]},
    ),
    Setting(
        "special tokens without flags",
        {"added_tokens_decoder": {str(number): {"content": content} for number, content in enumerate(SPECIAL)}},
    ),
    Setting("added token without flags", {"added_tokens_decoder": _decoder({"content": "<ent>", "id": SIZE})}),
    Setting("never split special tokens", {"never_split": ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"]}),
    Setting("class of SqueezeBERT", {"tokenizer_class": "SqueezeBertTokenizer"}),
    Setting("class of LXMERT", {"tokenizer_class": "LxmertTokenizerFast"}),
    Setting("class of DPR", {"tokenizer_class": "DPRQuestionEncoderTokenizer"}),
    Setting("saved by transformers 5", **fast({"backend": "tokenizers", "is_local": True, "local_files_only": True})),
    Setting("a limit of 1e30 tokens", {"model_max_length": 1e30}),
    Setting("bert-base-german-cased of 2019", {"do_lower_case": False, "init_inputs": [], "max_len": 512}),
    Setting(
        "sentence-transformers",
        {"do_lower_case": True},
        files={
            "modules.json": "[]",
            "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
            "config_sentence_transformers.json": {"prompts": {}},
        },
    ),
    Setting(
        "special tokens in added_tokens.json",
        {},
        files={"added_tokens.json": dict(zip(SPECIAL, range(5), strict=True))},
    ),
    Setting("vocab.txt without an end of line", files={"vocab.txt": "\n".join(VOCABULARY)}),
    Setting("vocab.txt with CR", files={"vocab.txt": "\r".join(VOCABULARY) + "\r"}),
    Setting("vocab.txt with CR LF", files={"vocab.txt": "\r\n".join(VOCABULARY) + "\r\n"}),
    Setting("vocab.txt with a piece twice", files={"vocab.txt": "\n".join([*VOCABULARY, "cafe"]) + "\n"}),
    Setting("vocab.txt with blank lines", files={"vocab.txt": "\n".join([*VOCABULARY, "", "zz", "", ""]) + "\n"}),
    *(
        Setting(
            f"vocab.txt with {count} blank lines at its end, added tokens",
            {"do_lower_case": True, "additional_special_tokens": ["<ent>", "xyz"]},
            files={"vocab.txt": "\n".join([*VOCABULARY, *inside, *[""] * count]) + "\n"},
        )
        for count, inside in ((1, []), (2, []), (3, ["", "zz"]))
    ),
    Setting(
        "vocab.txt with a blank end, added token with its id",
        {"added_tokens_decoder": _decoder({**_ENT, "id": SIZE + 1})},
        files={"vocab.txt": "\n".join([*VOCABULARY, ""]) + "\n"},
    ),
    *(
        Setting(
            f"tokenizer.json with an empty last piece, {name}",
            {"do_lower_case": True},
            files={
                "vocab.txt": vocabulary,
                "tokenizer.json": tokenizer_json(
                    model={"vocab": {piece: index for index, piece in enumerate([*VOCABULARY, ""])}},
                    added_tokens=[*special_tokens(), {**_ENT, "id": SIZE + 1}],
                ),
            },
        )
        for name, vocabulary in (("alone", None), ("and vocab.txt", "\n".join(VOCABULARY)))
    ),
    Setting("tokenizer.json", **fast()),
    Setting("tokenizer.json and config", **fast({"do_lower_case": True, "tokenizer_class": "BertTokenizerFast"})),
    Setting("tokenizer.json of 200 letters", **fast(model={"max_input_chars_per_word": 200})),
    Setting("tokenizer.json of 7 letters", **fast(model={"max_input_chars_per_word": 7})),
    Setting("tokenizer.json, cased", **fast(_CASED, normalizer={"lowercase": False})),
    Setting(
        "tokenizer.json, cased, generic",
        **fast({"tokenizer_class": "PreTrainedTokenizerFast"}, normalizer={"lowercase": False}),
    ),
    Setting(
        "tokenizer.json, accents and ideographs",
        **fast(
            {"strip_accents": False, "tokenize_chinese_chars": False},
            normalizer={"strip_accents": False, "handle_chinese_chars": False},
        ),
    ),
    Setting("tokenizer.json, no clean-up", **fast(normalizer={"clean_text": False})),
    Setting("tokenizer.json, added tokens", **fast(added_tokens=[*special_tokens(), _ENT, _XYZ])),
    Setting(
        "tokenizer.json, added tokens in every file",
        {"added_tokens_decoder": _decoder(_ENT, _XYZ), "tokenizer_class": "BertTokenizer"},
        files={
            "tokenizer.json": tokenizer_json(added_tokens=[*special_tokens(), _ENT, _XYZ]),
            "added_tokens.json": {"<ent>": SIZE, "xyz": SIZE + 1},
            "special_tokens_map.json": {"mask_token": token("[MASK]", normalized=False), "unk_token": "[UNK]"},
        },
    ),
    Setting(
        "tokenizer.json, added tokens in older files",
        {"do_lower_case": True},
        files={
            "tokenizer.json": tokenizer_json(added_tokens=[*special_tokens(), {**_ENT, "rstrip": True}]),
            "added_tokens.json": {"<ent>": SIZE},
        },
    ),
    Setting(
        "tokenizer.json, renamed, generic",
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        files={
            "tokenizer.json": tokenizer_json(
                model={"vocab": {piece: index for index, piece in enumerate(VOCABULARY)}, "unk_token": "a"},
                added_tokens=[],
            )
        },
    ),
    Setting("tokenizer.json, no added tokens", **fast(added_tokens=[])),
    Setting("tokenizer.json, special split", **fast({"split_special_tokens": True})),
    Setting(
        "tokenizer.json, truncation and padding",
        **fast(
            truncation={"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
            padding={
                "strategy": {"Fixed": 8},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "[PAD]",
            },
        ),
    ),
    Setting("tokenizer.json, no vocab.txt", files={"tokenizer.json": tokenizer_json(), "vocab.txt": None}),
    Setting(
        "tokenizer.json, pieces of white space trimmed",
        files={
            "tokenizer.json": tokenizer_json(
                model={"vocab": {piece.strip(): index for index, piece in enumerate(VOCABULARY)}}
            )
        },
    ),
    Setting(
        "tokenizer.json, gaps in the ids",
        files={
            "tokenizer.json": tokenizer_json(
                model={"vocab": {p: i for i, p in enumerate(VOCABULARY) if i not in (9, 50)}}
            ),
            "vocab.txt": None,
        },
    ),
    Setting(
        "tokenizer.json, BertProcessing",
        **fast(post_processor={"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}),
    ),
)

REFUSED: Final = (
    Setting(
        "MeCab", {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}, "BertJapanese|word_tok"
    ),
    Setting("MeCab by class", {"tokenizer_class": "BertJapaneseTokenizer"}, "tokenizer_class .BertJapaneseTokenizer"),
    Setting(
        "MeCab in config.json",
        {"do_lower_case": False},
        "config.json: tokenizer_class .BertJapaneseTokenizer",
        {"config.json": {"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}},
    ),
    Setting("MeCab by keys", {"word_tokenizer_type": "mecab"}, "word_tokenizer_type"),
    Setting("SentencePiece", {"tokenizer_class": "BertGenerationTokenizer"}, "BertGenerationTokenizer"),
    Setting("SentencePiece by keys", {"sp_model_kwargs": {}}, "sp_model_kwargs"),
    Setting("Albert", {"tokenizer_class": "AlbertTokenizerFast"}, "AlbertTokenizerFast"),
    Setting("BERTweet", {"tokenizer_class": "BertweetTokenizer", "normalization": True}, "Bertweet|normalization"),
    Setting("generic without tokenizer.json", {"tokenizer_class": "PreTrainedTokenizerFast"}, "needs tokenizer.json"),
    Setting("no basic tokenizer", {"do_basic_tokenize": False}, "do_basic_tokenize"),
    Setting("never split", {"never_split": ["a"]}, "never_split"),
    Setting("never split special tokens and a word", {"never_split": ["[MASK]", "the"]}, "never_split"),
    Setting("never split text", {"never_split": "[MASK]"}, "never_split"),
    Setting("null for ideographs", {"tokenize_chinese_chars": None}, "tokenize_chinese_chars is null"),
    Setting("another name for the case", {"do_lowercase": False}, "do_lowercase"),
    Setting("classes of Albert's kind", {"remove_space": True, "keep_accents": False}, "remove_space"),
    Setting("word limit", {"max_input_chars_per_word": 200}, "max_input_chars_per_word = 200"),
    Setting("prefix", {"wordpieces_prefix": "@@"}, "wordpieces_prefix"),
    Setting("no clean-up", {"clean_text": False}, "clean_text"),
    Setting("extra special tokens by name", {"extra_special_tokens": {"image_token": "<i>"}}, "extra_special_tokens"),
    Setting("arguments", {"init_inputs": ["other.txt"]}, "init_inputs"),
    Setting("another vocabulary", {"vocab_file": "x/vocab2.txt"}, "vocab_file", {"vocab2.txt": "a\n"}),
    Setting("versioned files", {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}, "fast_tokenizer_files"),
    Setting("unknown, speaks of case", {"keep_case_of_names": True}, "keep_case_of_names"),
    Setting("text for a flag", {"do_lower_case": "true"}, 'do_lower_case is "true"'),
    Setting("number for a flag", {"tokenize_chinese_chars": 1}, "tokenize_chinese_chars is 1"),
    Setting("null for a flag", {"do_lower_case": None}, "do_lower_case is null"),
    Setting("number for accents", {"strip_accents": 0}, "strip_accents is 0"),
    Setting("number for a token", {"mask_token": 4}, "mask_token"),
    Setting("mask token nowhere", {"mask_token": "<mask!>"}, "mask_token.*<mask!>"),
    Setting("id not its own", {"added_tokens_decoder": _decoder(token("<ent>", SIZE + 50))}, "<ent>.*id"),
    Setting("id of another piece", {"added_tokens_decoder": _decoder(token("<ent>", 7))}, "<ent>.*id 7"),
    Setting("ids out of order", refused="'xyz' has the id", **fast(added_tokens=[*special_tokens(), _XYZ, _ENT])),
    Setting(
        "a gap in the ids", refused="<ent>.*id", **fast(added_tokens=[*special_tokens(), {**_ENT, "id": SIZE + 3}])
    ),
    Setting("added continuation", {"added_tokens_decoder": _decoder(token("##ent", SIZE))}, "##ent"),
    Setting(
        "a continuation as unknown token",
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        "##a. looks like a continuation",
        {"tokenizer.json": tokenizer_json(model={"unk_token": "##a"})},
    ),
    Setting("a continuation as mask", {"mask_token": "##a"}, "##a. looks like a continuation"),
    Setting(
        "special tokens nowhere, generic",
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        r"lacks \[PAD\], \[CLS\], \[SEP\], \[MASK\]",
        {
            "tokenizer.json": tokenizer_json(model={"vocab": {"[UNK]": 0, "a": 1}}, added_tokens=[]),
            "vocab.txt": None,
        },
    ),
    Setting("unknown flag", {"added_tokens_decoder": _decoder({**_ENT, "greedy": True})}, "greedy"),
    Setting(
        "key twice", None, "do_lower_case.*twice", {"tokenizer_config.json": '{"do_lower_case": 1, "do_lower_case": 2}'}
    ),
    Setting("half a surrogate pair", None, "surrogate", {"tokenizer_config.json": '{"mask_token": "\\ud800"}'}),
    Setting("nested too deep", None, "cannot be read", {"tokenizer_config.json": "[" * 100_000}),
    Setting("text for a list", {"additional_special_tokens": "<ent>"}, "additional_special_tokens"),
    Setting("token without content", {"mask_token": {"lstrip": True}}, "mask_token: content"),
    Setting("token without flags", {"added_tokens_decoder": {"5": "<ent>"}}, "added_tokens_decoder: 5"),
    Setting("words for an id", {"added_tokens_decoder": {"five": token("<ent>")}}, '"five" is not an id'),
    Setting(
        "text for an id", {}, "added_tokens.json: the id of '<ent>' is \"5\"", {"added_tokens.json": {"<ent>": "5"}}
    ),
    Setting("empty added token", {"additional_special_tokens": [""]}, "additional_special_tokens is empty"),
    Setting("begin token nowhere", {"bos_token": "<s!>"}, "bos_token.*<s!>"),
    Setting("unknown token nowhere", {"unk_token": "<unk!>"}, "unk_token.*<unk!>"),
    Setting(
        "unknown token added",
        {"unk_token": "<ent>", "added_tokens_decoder": _decoder({**_ENT, "special": True})},
        "lacks <ent>",
    ),
    Setting("class of another model", {"tokenizer_class": "MPNetTokenizer"}, "MPNetTokenizer"),
    Setting(
        "classes disagree",
        {"tokenizer_class": "BertTokenizer"},
        "disagree: tokenizer_class",
        {"config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}, "tokenizer.json": tokenizer_json()},
    ),
    Setting("a limit of none", refused="max_input_chars_per_word is 0", **fast(model={"max_input_chars_per_word": 0})),
    Setting("no limit", refused="max_input_chars_per_word is null", **fast(model={"max_input_chars_per_word": None})),
    Setting("text for a normalizer's flag", refused="lowercase is .yes", **fast(normalizer={"lowercase": "yes"})),
    Setting("an id twice", refused="two pieces have one id", **fast(model={"vocab": {"a": 0, "b": 0}})),
    Setting(
        "a line break in a piece",
        None,
        "white space",
        {"tokenizer.json": tokenizer_json(model={"vocab": {"a\nb": 0}}), "vocab.txt": None},
    ),
    Setting("no such files", None, "neither vocab.txt nor tokenizer.json", {"vocab.txt": None}),
    Setting("not UTF-8", None, "vocab.txt line 2 is not UTF-8", {"vocab.txt": b"[PAD]\n\xff\n"}),
    Setting("an empty vocabulary", None, r"lacks '\[UNK\]'", {"vocab.txt": ""}),
    Setting("line breaks in a message", {"mask_token": "a\n\u2028b"}, r"lacks 'a\\n\\u2028b'"),
    Setting("line breaks in a value", {"tokenizer_class": "a\n\u2028\x1b[1mb"}, r'class "a\\n\\u2028\\u001b'),
    Setting("not JSON", None, "tokenizer_config.json cannot be read", {"tokenizer_config.json": "{"}),
    Setting("not an object", None, "not a JSON object", {"tokenizer_config.json": "[]"}),
    Setting("byte order mark", None, "byte order mark", {"vocab.txt": "\ufeff" + "\n".join(VOCABULARY)}),
    Setting(
        "blanks in vocab.txt", None, r"'the ' \(id", {"vocab.txt": "\n".join(VOCABULARY).replace("\nthe\n", "\nthe \n")}
    ),
    Setting(
        "a cased vocabulary, case unsaid", {}, "do_lower_case", {"vocab.txt": "\n".join([*SPECIAL, "A", "B", "c"])}
    ),
    Setting(
        "piece twice and added",
        {"additional_special_tokens": ["<ent>"]},
        "twice",
        {"vocab.txt": "\n".join([*VOCABULARY, "a"])},
    ),
    Setting(
        "maps disagree", {"mask_token": "[MASK]"}, "disagree.*PAD", {"special_tokens_map.json": {"mask_token": "[PAD]"}}
    ),
    Setting(
        "map alone",
        {"added_tokens_decoder": _decoder()},
        "special_tokens_map.json.*<ent>",
        {"special_tokens_map.json": {"additional_special_tokens": ["<ent>"]}},
    ),
    Setting(
        "older added tokens alone",
        {"added_tokens_decoder": _decoder()},
        "added_tokens.json has '<ent>'",
        {"added_tokens.json": {"<ent>": SIZE}},
    ),
    Setting(
        "sentence-transformers lower-cases",
        _CASED,
        "sentence_bert_config.json: do_lower_case",
        {"sentence_bert_config.json": {"max_seq_length": 8, "do_lower_case": True}},
    ),
    Setting("case disagrees", refused="disagree: do_lower_case", **fast(_CASED)),
    Setting(
        "case by default disagrees",
        refused="does not say do_lower_case.*has false",
        **fast(normalizer={"lowercase": False}),
    ),
    Setting(
        "case disagrees with the model's config",
        _CASED,
        "config.json: do_lower_case",
        {"config.json": {"model_type": "bert", "do_lower_case": True}},
    ),
    Setting("accents disagree", refused="disagree: strip_accents", **fast({"strip_accents": False})),
    Setting(
        "accents disagree by default",
        refused="does not say strip_accents.*the case.s.*has false",
        **fast(normalizer={"strip_accents": False}),
    ),
    Setting(
        "ideographs disagree",
        refused="does not say tokenize_chinese_chars",
        **fast(normalizer={"handle_chinese_chars": False}),
    ),
    Setting(
        "word limits disagree", refused="disagree: max_input_chars_per_word", **fast({"max_input_chars_per_word": 200})
    ),
    Setting("added tokens disagree", refused="<ent>", **fast({"added_tokens_decoder": _decoder(_ENT)})),
    Setting(
        "flags disagree",
        refused="disagree: lstrip of '<ent>'",
        **fast({"added_tokens_decoder": _decoder({**_ENT, "lstrip": True})}, added_tokens=[*special_tokens(), _ENT]),
    ),
    Setting("unknown tokens disagree", refused="disagree: unk_token", **fast({"unk_token": "[PAD]"})),
    Setting(
        "vocabularies disagree",
        None,
        "disagree: 'cafe'",
        {"tokenizer.json": tokenizer_json(), "vocab.txt": "\n".join(VOCABULARY).replace("\ncafe\n", "\ncafes\n")},
    ),
    Setting("BPE", refused="model is BPE", **fast(model={"type": "BPE"})),
    Setting("another prefix", refused="continuing_subword_prefix", **fast(model={"continuing_subword_prefix": "@@"})),
    Setting(
        "no normalizer",
        refused="normalizer is null",
        files={"tokenizer.json": {**tokenizer_json(), "normalizer": None}},
    ),
    Setting(
        "a sequence of normalizers",
        refused="normalizer is Sequence",
        files={
            "tokenizer.json": {**tokenizer_json(), "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}}
        },
    ),
    Setting("white space alone", refused="pre_tokenizer is Whitespace", **fast(pre_tokenizer={"type": "Whitespace"})),
    Setting(
        "another frame",
        refused="post_processor",
        **fast(post_processor={"type": "RobertaProcessing", "sep": ["</s>", 3], "cls": ["<s>", 2]}),
    ),
    Setting(
        "frame of other ids",
        refused="post_processor",
        **fast(post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 3]}),
    ),
    Setting("no frame", refused=r"post_processor null does not put .*; .* save", **fast(post_processor=None)),
    Setting(
        "no frame, generic",
        refused=r"post_processor null does not put .*; .* save",
        **fast({"tokenizer_class": "PreTrainedTokenizerFast"}, post_processor=None),
    ),
    Setting("unknown part", refused="unknown key 'dropout'", **fast(model={"dropout": 0.1})),
    Setting(
        "far ids",
        None,
        "ids up to",
        {"tokenizer.json": tokenizer_json(model={"vocab": {"a": 0, "[UNK]": 9}}), "vocab.txt": None},
    ),
)
