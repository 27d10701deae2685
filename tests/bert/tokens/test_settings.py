"""Forty and more tokenizer settings on hard texts: cut as `transformers` cuts them, or refused by name."""

import json
import re
from pathlib import Path

import pytest
import tokenizers

from bench.bert.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from bench.core.errors import UsageError
from tests.bert.tokens.record import read_record
from tests.bert.tokens.table import REFUSED, SETTINGS, SIZE, TEXTS, VOCABULARY, Setting, tokenizer_json

RECORD = read_record()
FAST = [setting for setting in SETTINGS if "tokenizer.json" in setting.files]
# Here transformers itself goes another way than the library: it adds the special tokens that a file lacks.
ADDED_BY_TRANSFORMERS = ("tokenizer.json, no added tokens",)


def named(setting: Setting) -> str:
    return setting.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint"


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(SETTINGS) >= 40
    assert len(REFUSED) >= 40
    assert {len(text) for text in TEXTS} >= {99, 100, 101, 199, 200, 201}
    assert sorted(RECORD) == sorted(map(named, SETTINGS))


@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_texts_are_cut_as_transformers_does(folder: Path, setting: Setting) -> None:
    setting.write(folder)
    tokenizer = Tokenizer.from_folder(folder)
    for text, ids in zip(TEXTS, RECORD[setting.name], strict=True):
        sentence = tokenizer.encode(text)
        assert list(sentence.token_ids) == ids, text
        assert [tokenizer.vocabulary[index] for index in ids] == list(sentence.pieces)
        starts = [number for number, piece in enumerate(sentence.pieces) if not piece.startswith("##")]
        assert [sentence.word_ids.index(word) for word in range(sentence.num_words)] == starts


@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_what_is_written_reads_back_with_the_same_digest(folder: Path, tmp_path: Path, setting: Setting) -> None:
    setting.write(folder)
    tokenizer = Tokenizer.from_folder(folder)
    (tmp_path / "bert_config.json").write_text("{}")
    tokenizer.write_folder(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    told = Tokenizer.from_description(tmp_path / "vocab.txt", json.loads(json.dumps(tokenizer.describe())))
    assert again.digest == told.digest == tokenizer.digest
    assert again.special == told.special == tokenizer.special
    for text in TEXTS:
        assert again.encode(text) == told.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("setting", SETTINGS, ids=named)
def test_the_library_reads_what_is_written(folder: Path, tmp_path: Path, setting: Setting) -> None:
    setting.write(folder)
    tokenizer = Tokenizer.from_folder(folder)
    tokenizer.write_folder(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    library.encode_special_tokens = tokenizer.options.split_special_tokens
    special = tokenizer.special
    for text in TEXTS:
        assert library.encode(text).ids == [special.cls, *tokenizer.encode(text).token_ids, special.sep]


@pytest.mark.parametrize("setting", FAST, ids=named)
def test_a_tokenizer_json_cuts_as_the_library_does(folder: Path, setting: Setting) -> None:
    setting.write(folder)
    library = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    library.no_truncation()
    library.no_padding()
    library.encode_special_tokens = bool((setting.config or {}).get("split_special_tokens"))
    if setting.name in ADDED_BY_TRANSFORMERS:
        library.add_special_tokens(VOCABULARY[:5])
    tokenizer = Tokenizer.from_folder(folder)
    for text in TEXTS:
        assert list(tokenizer.encode(text).token_ids) == library.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("setting", REFUSED, ids=named)
def test_what_is_not_supported_is_refused_by_name(folder: Path, setting: Setting) -> None:
    setting.write(folder)
    with pytest.raises(UsageError) as refusal:
        Tokenizer.from_folder(folder)
    message = str(refusal.value)
    assert re.search(setting.refused or "", message.replace(f"{folder}/", ""))
    assert message.isprintable()
    assert str(folder) in message


CASED = "\n".join([*VOCABULARY, *(f"A{number}" for number in range(SIZE // 5))])


def write_google(folder: Path, config: dict[str, object] | None, vocabulary: str = CASED) -> Tokenizer:
    files = {"config.json": None, "vocab.txt": vocabulary, "bert_config.json": "{}"}
    Setting("", config, None, files).write(folder)
    return Tokenizer.from_folder(folder)


def test_a_google_folder_keeps_googles_rules(folder: Path) -> None:
    tokenizer = write_google(folder, None)
    assert tokenizer.parts.google
    assert len(tokenizer.encode("a" * 200).pieces) == 100
    assert tokenizer.encode("a" * 201).pieces == ("[UNK]",)
    assert tokenizer.encode("[MASK]").pieces == ("[", "[UNK]", "]")


@pytest.mark.parametrize("limit", [7, 100, 200, 300])
def test_a_google_folder_has_the_word_limit_that_it_states(folder: Path, tmp_path: Path, limit: int) -> None:
    tokenizer = write_google(folder, {"do_lower_case": True, "max_input_chars_per_word": limit})
    assert tokenizer.encode("a" * limit).pieces[0] == "aa"
    assert tokenizer.encode("a" * (limit + 1)).pieces == ("[UNK]",)
    (tmp_path / "bert_config.json").write_text("{}")
    tokenizer.write_folder(tmp_path)
    assert Tokenizer.from_folder(tmp_path).digest == tokenizer.digest


@pytest.mark.parametrize(
    ("config", "case", "accents"),
    [
        (None, False, False),
        ({"strip_accents": True}, False, True),
        ({"do_lower_case": True}, True, True),
        ({"do_lower_case": True, "strip_accents": False}, True, False),
        ({"do_lower_case": False, "strip_accents": None}, False, False),
    ],
)
def test_a_google_folder_honours_each_key(
    folder: Path, config: dict[str, object] | None, case: bool, accents: bool
) -> None:
    options = write_google(folder, config).options
    assert (options.do_lower_case, options.strip_accents, options.max_word_chars) == (case, accents, 200)


@pytest.mark.parametrize("case", [True, False])
@pytest.mark.parametrize("accents", [True, False])
def test_accents_are_as_stated_where_the_command_line_says_the_case(folder: Path, case: bool, accents: bool) -> None:
    with pytest.raises(UsageError, match="--cased or --uncased"):
        write_google(folder, {"strip_accents": accents}, "\n".join(VOCABULARY))
    options = Tokenizer.from_folder(folder, do_lower_case=case).options
    assert (options.do_lower_case, options.strip_accents) == (case, accents)


def test_googles_folder_with_hugging_faces_files_has_their_rules(folder: Path) -> None:
    tokenizer = write_google(folder, {"do_lower_case": True, "tokenizer_class": "BertTokenizer"})
    assert tokenizer.encode("a" * 101).pieces == ("[UNK]",)
    assert tokenizer.encode("[MASK]").pieces == ("[MASK]",)


@pytest.mark.parametrize("config", ["config.json", "bert_config.json"])
def test_the_weights_tell_whose_rules_a_bare_vocabulary_has(folder: Path, config: str) -> None:
    """Folders of 2018 have Google's config beside PyTorch's weights; some of today have both kinds of weights."""
    Setting("", None, None, {"config.json": None, config: "{}"}).write(folder)
    assert Tokenizer.from_folder(folder, True, google=True).options.max_word_chars == 200
    assert Tokenizer.from_folder(folder, True, google=False).options.max_word_chars == 100


@pytest.mark.parametrize(
    ("config", "override", "case", "accents"),
    [
        ({}, False, False, False),
        ({"do_lower_case": False}, True, True, True),
        ({"do_lower_case": True, "strip_accents": False}, False, False, False),
        ({"do_lower_case": False, "strip_accents": True}, True, True, True),
        ({"strip_accents": False}, True, True, False),
    ],
)
@pytest.mark.parametrize("with_json", [False, True])
def test_the_command_line_overrides_the_case_and_nothing_else(
    folder: Path, config: dict[str, bool], override: bool, case: bool, accents: bool, with_json: bool
) -> None:
    normalizer = {"lowercase": config.get("do_lower_case", True), "strip_accents": config.get("strip_accents")}
    files = {"tokenizer.json": tokenizer_json(normalizer)} if with_json else {}
    Setting("", config, None, files).write(folder)
    options = Tokenizer.from_folder(folder, do_lower_case=override).options
    assert (options.do_lower_case, options.strip_accents) == (case, accents)


def test_the_command_line_decides_between_files_that_disagree(folder: Path) -> None:
    Setting("", {}, None, {"tokenizer.json": tokenizer_json({"lowercase": False})}).write(folder)
    assert not Tokenizer.from_folder(folder, do_lower_case=False).options.do_lower_case
    assert Tokenizer.from_folder(folder, do_lower_case=True).options.do_lower_case


def test_a_cased_vocabulary_and_no_word_of_case(folder: Path) -> None:
    vocabulary = "\n".join([*VOCABULARY[:5], "A", "B", "c"])
    Setting("", {}, None, {"vocab.txt": vocabulary}).write(folder)
    assert Tokenizer.from_folder(folder, do_lower_case=False).encode("A c").pieces == ("A", "c")


def test_the_list_of_special_tokens_has_another_name_in_transformers_5(folder: Path, tmp_path: Path) -> None:
    for path, key in ((folder, "additional_special_tokens"), (tmp_path, "extra_special_tokens")):
        Setting("", {key: ["<ent>", "xyz"]}).write(path)
    assert Tokenizer.from_folder(folder).digest == Tokenizer.from_folder(tmp_path).digest
    assert Tokenizer.from_folder(tmp_path).encode("axyz").pieces == ("a", "xyz")


def test_half_a_surrogate_pair_in_a_text_is_refused(folder: Path) -> None:
    SETTINGS[0].write(folder)
    with pytest.raises(UsageError, match="surrogate pair at character 2"):
        Tokenizer.from_folder(folder).encode("a\ud800b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nfc": True}, "unknown field nfc"),
        ({"do_lower_case": "yes"}, "do_lower_case: expected bool, got str"),
        ({"max_word_chars": 0}, "max_word_chars: expected int >= 1"),
        ({"special_tokens": {"mask": "<mask>"}}, "special_tokens: pad is missing"),
        ({"special_tokens": None}, "special_tokens: expected object, got null"),
        ({"special_tokens": {**SPECIAL_TOKENS, "unk": "##a"}}, "##a. looks like a continuation"),
        ({"added_tokens": [{"content": "##a"}]}, "##a. looks like a continuation"),
        ({"added_tokens": [{"lstrip": True}]}, r"added_tokens\[0\]: content is missing"),
        ({"added_tokens": [{"content": "<ent>", "greedy": True}]}, "unknown field greedy"),
        ({"added_tokens": ["<ent>"]}, r"added_tokens\[0\]: expected object, got str"),
        ({"added_tokens": {}}, "added_tokens: expected array, got object"),
        ({"vocab_digest": "sha256:0"}, "not the vocabulary"),
    ],
)
def test_a_description_that_is_none_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    SETTINGS[0].write(folder)
    description = Tokenizer.from_folder(folder).describe()
    with pytest.raises(UsageError, match=message):
        Tokenizer.from_description(folder / "vocab.txt", description | change)


def test_a_description_of_an_older_version_still_reads(folder: Path) -> None:
    """Its keys are the six that every description has."""
    tokenizer = write_google(folder, {"do_lower_case": True})
    assert list(tokenizer.describe()) == [
        "vocab_digest",
        "vocab_size",
        "do_lower_case",
        "strip_accents",
        "split_cjk",
        "max_word_chars",
    ]
