"""From paragraphs to clean sentences: plain typography, a cut at each sentence end, whatever is not prose left out."""

import re
from collections.abc import Iterator
from typing import Final

MIN_WORDS: Final = 4
MAX_WORDS: Final = 60

_PLAIN: Final = str.maketrans({"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "…": "...", "\u00a0": " ", "`": "'"})
_END: Final = re.compile(r"""(?<=[.!?])["')\]]*\s+(?=["'(]*[A-Z0-9])""")
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\"'])(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Lt|Sgt|Gen|No|vs|etc|cf|ca|e\.g|i\.e|esp|approx|[A-Z])\.$"
)
# Letters of Latin scripts, digits and the punctuation of running text. Whatever holds anything else is code or markup.
_PROSE: Final = re.compile(r"[A-Za-zÀ-ɏ0-9 .,;:!?'\"()\-–—$£€%&]+")
_WORD: Final = re.compile(r"[A-Za-zÀ-ɏ]+(?:['-][A-Za-zÀ-ɏ]+)*")


def plain(text: str) -> str:
    """`text` on one line, with straight quotation marks and three dots for an ellipsis."""
    return " ".join(text.translate(_PLAIN).split())


def split_sentences(paragraph: str) -> list[str]:
    """Cuts a paragraph after `.`, `!` or `?` where a capital, a digit or a quotation follows; abbreviations hold."""
    sentences, start = [], 0
    for match in _END.finditer(paragraph):
        before = paragraph[start : match.start()]
        if _ABBREVIATION.search(before):
            continue
        end = match.start() + len(match.group().rstrip())
        sentences.append(paragraph[start:end].strip())
        start = match.end()
    return [*sentences, paragraph[start:].strip()]


def is_prose(sentence: str) -> bool:
    """Whether this is a sentence of 4 to 60 words of running text, rather than code, a heading or a list of names."""
    if not _PROSE.fullmatch(sentence) or sentence.count('"') % 2 or sentence.count("(") != sentence.count(")"):
        return False
    words = _WORD.findall(sentence)
    if len(words) < MIN_WORDS or len(sentence.split()) > MAX_WORDS:
        return False
    capitals = sum(word[0].isupper() for word in words[1:])
    letters = sum(map(len, words))
    return capitals <= len(words) * 0.4 and letters >= 0.7 * len(sentence.replace(" ", ""))


def sentences(paragraph: str) -> Iterator[str]:
    """The clean sentences of a paragraph, in order."""
    for sentence in split_sentences(plain(paragraph)):
        whole = _without_open_quote(sentence)
        if is_prose(whole):
            yield whole


def _without_open_quote(sentence: str) -> str:
    """Speech that goes on over several sentences leaves one quotation mark in the first and in the last of them."""
    if sentence.count('"') == 1 and (sentence.startswith('"') or sentence.endswith('"')):
        return sentence.strip('"')
    return sentence
