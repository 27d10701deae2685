"""What README.md and other pages show, and what of an output does not change from run to run."""

import re
from pathlib import Path

from tests.support.pages import ROOT, blocks

README = ROOT / "README.md"

_CHANGES = (
    (r"(?<!\S)(?:[~/]|https?://|results/)\S+", "PATH"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r" \[[^\]]*\]", ""),
    (r"'\S+'", "WORD"),
    (r"\bINVALID: .*", "VERDICT"),
    (r"\bVALID\b", "VERDICT"),
    (r"[<>]?\d[\d.,]*(?:e[-+]?\d+)?(?: (?:ns|µs|ms|m \d+ s|s)\b)?", "#"),
    (r"—", "#"),
)


def skeleton(text: str) -> list[str]:
    """The lines with figures, paths, words and verdicts named only by their kind; notes of single runs left out."""
    lines = []
    for line in text.splitlines():
        if line.strip().startswith("note:"):
            continue
        for pattern, kind in _CHANGES:
            line = re.sub(pattern, kind, line)
        lines.append(" ".join(line.split()))
    return lines


def shown(first_line: str, page: Path = README) -> str:
    """The text block of a page that begins with `first_line`."""
    (found,) = [block.text for block in blocks(page, "text") if block.text.startswith(first_line)]
    return found
