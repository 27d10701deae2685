"""Text in messages: names from files, and what is to be done."""

from collections.abc import Sequence
from typing import Final

_MAX_CHARACTERS: Final = 80


def shown(name: str) -> str:
    """A name for a message: one line of printable ASCII, shortened if long."""
    text = name.encode("unicode_escape").decode()
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."


def cures_once(texts: Sequence[str]) -> list[str]:
    """Texts of the form `fault; cure`, each cure only in the last text that has it."""
    parts = [text.rpartition("; ") for text in texts]
    later = [{cure for _, _, cure in parts[index + 1 :]} for index in range(len(parts))]
    return [
        fault if fault and cure in others else text
        for text, (fault, _, cure), others in zip(texts, parts, later, strict=True)
    ]
