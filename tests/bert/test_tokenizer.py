"""The tokenizer keeps Google's rules."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from bench.bert.text.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerOptions
from bench.core.errors import UsageError
from tests.support.google_tokenizer_rules import split_words, word_pieces

SPECIALS = list(SPECIAL_TOKENS.values())
WORDS = """
the cafe is a an un ##aff ##able ##ly john ##son s ' don t " , . ! ? - 東 京 d ##e # ##s 19 ##84 I It Café ας ##x
"""
PIECES = [*SPECIALS, *WORDS.split(), "x" * 200]


@pytest.fixture(scope="module")
def uncased() -> Tokenizer:
    return Tokenizer(PIECES, TokenizerOptions.google(do_lower_case=True))


@pytest.fixture(scope="module")
def cased() -> Tokenizer:
    return Tokenizer(PIECES, TokenizerOptions.google(do_lower_case=False))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The Café", "the cafe"),
        ("cafe\u0301", "cafe"),
        ("unaffably unaffable", "[UNK] un ##aff ##able"),
        ("don't", "don ' t"),
        ("don’t", "don [UNK] t"),
        ('"It," a-an!?', '" [UNK] , " a - an ! ?'),
        ("東京 is", "東 京 is"),
        ("the東is", "the 東 is"),
        ("t\u200bhe\u00ad \x07the\x00 \ufffdthe", "the the the"),
        ("the\u00a0the\u3000the\u2028the", "the the the the"),
        ("\tthe \r\n is ", "the is"),
        ("##s #s", "# # s # s"),
        ("1984", "19 ##84"),
        ("de", "d ##e"),
        ("the [MASK] [SEP]", "the [UNK] [UNK] [UNK] [UNK] [UNK] [UNK]"),
        ("ΑΣ", "ας"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "[UNK]"),
        ("the zzz is", "the [UNK] is"),
        ("", ""),
        ("\u200b \x01", ""),
    ],
)
def test_hand_worked_uncased(uncased: Tokenizer, text: str, pieces: str) -> None:
    assert " ".join(uncased.encode(text).pieces) == pieces


GREEK = (*"αας.σ", "##σ", "##ς", "##α")


@pytest.mark.parametrize("between", ["\x01", "\ufffd", "\x00", "\u00ad", "\u200b", "\n", ".", " ", ""])
def test_a_sigma_is_final_by_the_text_after_its_clean_up(between: str) -> None:
    """As in Google's code, whose tokens are lower-cased last."""
    pieces = (*SPECIAL_TOKENS.values(), *dict.fromkeys(GREEK))
    tokenizer = Tokenizer(pieces)
    for text in (f"ΑΣ{between}Α", f"Α{between}Σ", f"Σ{between}", f"Α{between}Σ{between}Α"):
        expected = [piece for word in split_words(text, True) for piece in word_pieces(word, frozenset(pieces))]
        assert list(tokenizer.encode(text).pieces) == expected
        assert "[UNK]" not in expected


@pytest.mark.parametrize(("text", "pieces"), [("It is Café", "It is Café"), ("The cafe", "[UNK] cafe")])
def test_hand_worked_cased(cased: Tokenizer, text: str, pieces: str) -> None:
    assert " ".join(cased.encode(text).pieces) == pieces


def test_a_word_is_a_piece_and_its_continuations(uncased: Tokenizer) -> None:
    sentence = uncased.encode("Unaffable Johnson's cafe.")
    assert sentence.pieces == ("un", "##aff", "##able", "john", "##son", "'", "s", "cafe", ".")
    assert sentence.word_ids == (0, 0, 0, 1, 1, 2, 3, 4, 5)
    assert sentence.token_ids == tuple(PIECES.index(piece) for piece in sentence.pieces)
    assert sentence.words == ("unaffable", "johnson", "'", "s", "cafe", ".")


def test_nothing_is_truncated(uncased: Tokenizer) -> None:
    assert uncased.encode("the " * 1000).num_pieces == 1000


@pytest.mark.parametrize("lower", [True, False])
def test_every_older_character_is_treated_as_google_does(lower: bool) -> None:
    """Each code point of the basic plane that Unicode 3.2 had, between two letters; private use aside."""
    moved = {0x166D, 0x1734, 0x1885, 0x1886}  # their category has changed since the library's tables were made
    left_out = ("Cn", "Co", "Cs")
    codes = [c for c in range(0x10000) if c not in moved and unicodedata.ucd_3_2_0.category(chr(c)) not in left_out]
    texts = {code: f"a{chr(code)}b" for code in codes}
    words = sorted({word for text in texts.values() for word in split_words(text, lower)})
    tokenizer = Tokenizer([*SPECIALS, *words], TokenizerOptions.google(lower))
    wrong = [
        hex(code) for code, text in texts.items() if list(tokenizer.encode(text).pieces) != split_words(text, lower)
    ]
    assert wrong == []


def test_pieces_are_the_greedy_longest_match(uncased: Tokenizer) -> None:
    known = frozenset(PIECES)
    for word in ("unaffable", "unable", "johnsonly", "johnsons", "caféxx", "19848484", "deded", "afface"):
        lowered = split_words(word, lower=True)[0]
        assert list(uncased.encode(word).pieces) == word_pieces(lowered, known)


def write_vocab(folder: Path, pieces: list[str]) -> Path:
    path = folder / "vocab.txt"
    path.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return path


LOWER = [piece for piece in PIECES if piece in SPECIALS or piece == piece.lower()]


def test_case_is_read_off_the_vocabulary_unless_told(tmp_path: Path) -> None:
    write_vocab(tmp_path, [*LOWER, *(piece.title() for piece in LOWER if piece.isalpha())])
    assert not Tokenizer.from_folder(tmp_path).options.do_lower_case
    assert Tokenizer.from_folder(tmp_path, do_lower_case=True).options == TokenizerOptions.google(True)
    write_vocab(tmp_path, LOWER)
    assert Tokenizer.from_folder(tmp_path).options.do_lower_case


@pytest.mark.parametrize("marks", [("<S>", "<T>"), ("[E1]", "##[E2]", "<PERSON>", "{Name}", "_B")])
def test_marks_that_no_text_gives_do_not_make_a_vocabulary_cased(tmp_path: Path, marks: tuple[str, ...]) -> None:
    """`<S>` and `<T>` stand in Google's Chinese and multilingual vocabularies, which are of uncased models."""
    write_vocab(tmp_path, [*SPECIALS, *marks, "iphone", "nba", "e", "中"])
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.options == TokenizerOptions.google(True)
    assert tokenizer.encode("iPhone NBA É 中").pieces == ("iphone", "nba", "e", "中")


def test_a_few_capitals_leave_the_case_open(tmp_path: Path) -> None:
    """They may have been added by hand to the vocabulary of an uncased model."""
    write_vocab(tmp_path, PIECES)
    (tmp_path / "bert_config.json").write_text("{}")
    found = rf"vocab\.txt: capital letters are in 3 of the {len(PIECES)} pieces"
    cure = r"write do_lower_case in \S+tokenizer_config\.json, or export with --cased or --uncased"
    with pytest.raises(UsageError, match=f"{found}, .*; {cure}"):
        Tokenizer.from_folder(tmp_path)
    for lower in (True, False):
        assert Tokenizer.from_folder(tmp_path, do_lower_case=lower).options == TokenizerOptions.google(lower)
    for lower in (True, False):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
        assert Tokenizer.from_folder(tmp_path).options == TokenizerOptions.google(lower)


def test_tokenizer_config_decides_over_the_vocabulary(tmp_path: Path) -> None:
    write_vocab(tmp_path, PIECES)
    (tmp_path / "bert_config.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "strip_accents": False}))
    assert Tokenizer.from_folder(tmp_path).options == TokenizerOptions(True, False, True, 200)


def test_a_description_rebuilds_the_tokenizer_and_refuses_another_vocabulary(tmp_path: Path, cased: Tokenizer) -> None:
    cased.write_vocab(tmp_path / "vocab.txt")
    description = json.loads(json.dumps(cased.describe()))
    again = Tokenizer.from_description(tmp_path / "vocab.txt", description)
    assert (again.vocabulary, again.digest) == (cased.vocabulary, cased.digest)
    write_vocab(tmp_path, [*PIECES, "more"])
    with pytest.raises(UsageError, match="not the vocabulary"):
        Tokenizer.from_description(tmp_path / "vocab.txt", description)


def test_the_digest_depends_on_the_pieces_and_on_the_options(uncased: Tokenizer, cased: Tokenizer) -> None:
    assert uncased.vocab_digest == cased.vocab_digest
    assert uncased.digest != cased.digest
    assert Tokenizer([*PIECES, "more"]).vocab_digest != uncased.vocab_digest


def test_a_missing_special_token_is_named(tmp_path: Path) -> None:
    path = write_vocab(tmp_path, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the"])
    with pytest.raises(UsageError, match=r"vocab\.txt: the vocabulary lacks \[MASK\]"):
        Tokenizer.from_vocab(path, TokenizerOptions())


def test_a_vocabulary_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither vocab\.txt nor tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        Tokenizer.from_vocab(tmp_path / "vocab.txt", TokenizerOptions())
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(UsageError, match="line 2 is not UTF-8"):
        Tokenizer.from_vocab(tmp_path / "vocab.txt", TokenizerOptions())


def test_special_ids(uncased: Tokenizer) -> None:
    special = uncased.special
    assert (special.pad, special.unk, special.cls, special.sep, special.mask) == (0, 1, 2, 3, 4)


def test_it_needs_no_tensorflow() -> None:
    code = "import sys, bench.bert.text.tokenizer, bench.bert.text.text_file; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the \U0001f600 is", ["the", "\U0001f600", "is"]),
        ("the \U0001f468\u200d\U0001f469 the", ["the", "\U0001f468\u200d\U0001f469", "the"]),
        ("The Zzz!", ["the", "Zzz", "!"]),
        ("THE \u0396\u03a3 THE \u2603\u2603", ["the", "\u0396\u03a3", "the", "\u2603\u2603"]),
        (
            "\u0396\x00\u03a3  \U0001f600 \u2603\x0b\u2603\u202e\u2603 the",
            ["\u0396\u03a3", "\U0001f600", "\u2603" * 3, "the"],
        ),
        ("\u65e5\u672c is", ["\u65e5", "\u672c", "is"]),
        ("x" * 201 + " the", ["x" * 201, "the"]),
        ("the\t\u2603\n\u2603", ["the", "\u2603", "\u2603"]),
    ],
)
def test_a_word_that_the_vocabulary_lacks_is_as_the_text_has_it(
    uncased: Tokenizer, text: str, words: list[str]
) -> None:
    """Of a text that is lower-cased before it is split too; without control characters."""
    encoded = uncased.encode(text)
    assert list(encoded.words) == words
    assert "[UNK]" in encoded.pieces


@pytest.mark.parametrize(
    ("key", "shown"), [("9" * 5000, '"9{56}[.]{3}'), ("12345678901", '"12345678901"'), ("-1", '"-1"')]
)
def test_an_id_of_any_length_is_refused_in_one_line(tmp_path: Path, key: str, shown: str) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {key: {"content": "a"}}}))
    with pytest.raises(UsageError, match=f"added_tokens_decoder: {shown} is not an id; correct it"):
        Tokenizer.from_folder(tmp_path)
