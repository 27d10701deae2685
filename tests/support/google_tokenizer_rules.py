"""Google's tokenization rules, written plainly from their description, as the oracle of the tokenizer's tests."""

import unicodedata

CJK_BLOCKS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
ASCII_SYMBOLS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def split_words(text: str, lower: bool) -> list[str]:
    """Clean-up, CJK spacing, lower-casing with accents stripped, and the cut at punctuation."""
    cleaned = "".join(_clean(char) for char in text)
    words = []
    for word in cleaned.split():
        if lower:
            word = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
        words += "".join(f" {char} " if _is_punctuation(char) else char for char in word).split()
    return words


def word_pieces(word: str, vocabulary: frozenset[str], longest: int = 200) -> list[str]:
    """Greedy longest match from the left; a word that cannot be covered is one [UNK]."""
    pieces: list[str] = []
    rest = word if len(word) <= longest else ""
    while rest:
        prefix = "##" if pieces else ""
        found = next((end for end in range(len(rest), 0, -1) if prefix + rest[:end] in vocabulary), None)
        if found is None:
            return ["[UNK]"]
        pieces.append(prefix + rest[:found])
        rest = rest[found:]
    return pieces or ["[UNK]"]


def _clean(char: str) -> str:
    if char in "\t\n\r" or unicodedata.category(char) == "Zs":
        return " "
    if char in "\0\ufffd" or unicodedata.category(char) in ("Cc", "Cf"):
        return ""
    return f" {char} " if any(low <= ord(char) <= high for low, high in CJK_BLOCKS) else char


def _is_punctuation(char: str) -> bool:
    return char in ASCII_SYMBOLS or unicodedata.category(char).startswith("P")
