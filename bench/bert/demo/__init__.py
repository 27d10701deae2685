"""The demo: the checkpoint that ships with the package, and the sentences that are sent by default."""

from pathlib import Path
from typing import Final

CHECKPOINT: Final = Path(__file__).parent / "checkpoint"
"""Folder of the demo checkpoint, Google's layout."""


def default_sentences() -> Path:
    """`scenarios/data/sentences.tsv`, ordinary English sentences, one a line, by its place in the package."""
    return Path(__file__).parents[1] / "data" / "sentences.tsv"
