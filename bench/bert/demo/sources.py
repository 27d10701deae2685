"""The Debian packages that the demo's corpus is made of, and how prose is read out of each."""

import html
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Source:
    """A package and its reader.

    Args:
        package: name of the Debian package.
        licence: licence of the texts, by its SPDX name where it has one.
        author: whom to name for them.
        quotable: whether sentences of it may be passed on with no more than a notice; only those are shipped.
        read: paragraphs of the unpacked package, given its root.
    """

    package: str
    licence: str
    author: str
    quotable: bool
    read: Callable[[Path], Iterator[str]]


def _wordnet(root: Path) -> Iterator[str]:
    """Example phrases and sentences of the glosses; quotations of literature carry a name after them and are left."""
    for part in ("adj", "adv", "noun", "verb"):
        text = (root / "usr/share/wordnet" / f"data.{part}").read_text(encoding="utf-8")
        for line in text.splitlines():
            gloss = line.partition("|")[2]
            for match in re.finditer(r'"([^"]+)"(\s*-)?', gloss):
                if not match.group(2):
                    yield match.group(1)


def wordnet_definitions(root: Path) -> Iterator[str]:
    """The definitions of the glosses: phrases rather than sentences, but of ordinary words used together."""
    for part in ("adj", "adv", "noun", "verb"):
        text = (root / "usr/share/wordnet" / f"data.{part}").read_text(encoding="utf-8")
        for line in text.splitlines():
            yield from re.sub(r"\([^)]*\)", "", line.partition("|")[2].partition('"')[0]).split(";")


def _endless_sky(root: Path) -> Iterator[str]:
    """Conversations and descriptions: the texts between backquotes."""
    for path in sorted((root / "usr/share/games/endless-sky/data").rglob("*.txt")):
        for match in re.finditer(r"`([^`\n]+)`", path.read_text(encoding="utf-8", errors="replace")):
            yield match.group(1)


def _gnome_help(root: Path) -> Iterator[str]:
    """Paragraphs and titles of the help pages."""
    for path in sorted((root / "usr/share/help/C").rglob("*.page")):
        for element in ET.parse(path).iter():
            if element.tag.endswith("}p"):
                yield html.unescape("".join(element.itertext()))


SOURCES: Final = (
    Source("wordnet-base", "WordNet 3.0 licence", "Princeton University", True, _wordnet),
    Source("endless-sky-data", "GPL-3.0-or-later", "Michael Zahniser and contributors", False, _endless_sky),
    Source("gnome-user-docs", "CC-BY-SA-3.0", "the GNOME documentation project", True, _gnome_help),
)
