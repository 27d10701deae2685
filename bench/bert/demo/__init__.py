"""The demo: the checkpoint that ships with the package, and the sentences that are sent by default."""

from pathlib import Path
from typing import Final

from bench.errors import UsageError

CHECKPOINT: Final = Path(__file__).parent / "checkpoint"
"""Folder of the demo checkpoint, Google's layout."""


def default_sentences() -> Path:
    """`scenarios/data/sentences.tsv`: ordinary English sentences, one a line.

    The file lies beside the package, in the checkout, where people look for the scenarios; there is no second copy.

    Raises:
        UsageError: the package was installed without its checkout.
    """
    path = Path(__file__).parents[3] / "scenarios" / "data" / "sentences.tsv"
    if not path.is_file():
        raise UsageError(f"no file {path}; run from a checkout (pip install -e .) or give a sentences file")
    return path
