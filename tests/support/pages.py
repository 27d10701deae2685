"""The shell blocks of the pages for users."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FIRST = ("README", "install", "first-run", "own-bert")
"""Their blocks come before those of the other pages, which go on from them."""

GUIDE = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/guide").glob("*.md"), key=lambda page: (page.stem not in _FIRST, page.stem)),
]
"""The pages for users, in the order in which their blocks can be run."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Args:
        page: the file.
        number: of the block on its page, from 1.
        info: the words after the fence: the language, then marks.
        text: what is in it.
    """

    page: Path
    number: int
    info: tuple[str, ...]
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.stem}-{self.number}"

    def commands(self) -> list[list[str]]:
        """The words of each line, continued lines joined, `&&` and `;` dividing; no comment lines."""
        lines = re.sub(r"\\\n", " ", self.text).splitlines()
        lexed = [shlex.shlex(line, posix=True, punctuation_chars="&;|<>") for line in lines]
        found: list[list[str]] = []
        for lexer in lexed:
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, "&&"]:
                if word in ("&&", ";", "|", ">"):
                    found += [words] if words else []
                    words = []
                else:
                    words.append(word)
        return found


def blocks(page: Path, *languages: str) -> list[Block]:
    """The fenced blocks of a page in one of the languages."""
    fenced = re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [
        Block(page, number, tuple(info.split()), text)
        for number, (info, text) in enumerate(fenced, 1)
        if info.split()[:1] and info.split()[0] in languages
    ]
