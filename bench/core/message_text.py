"""Text out of files in messages."""

from typing import Final

_MAX_CHARACTERS: Final = 80


def shown(name: str) -> str:
    """A name as a message shows it: one line, printable ASCII, not too long."""
    text = name.encode("unicode_escape").decode()
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
