"""What README.md shows, and what of an output does not change from run to run."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"

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


def shown(first_line: str) -> str:
    """The block of README.md that begins with `first_line`."""
    blocks = re.findall(r"^```\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if block.startswith(first_line)]
    return found  # type: ignore[no-any-return]
