"""Text from files in messages."""

from typing import Final

_MAX_CHARACTERS: Final = 80


def shown(name: str) -> str:
    """A name for a message: one line of printable ASCII, shortened if long."""
    text = name.encode("unicode_escape").decode()
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}..."
