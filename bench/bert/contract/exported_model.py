"""An exported model on disk as clients need it: its golden answers and its tokenizer. No TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from bench.bert.contract.golden import Golden, read_golden
from bench.bert.contract.model_folder import latest_version
from bench.bert.text.tokenizer import VOCAB_FILE, Tokenizer


@dataclass(frozen=True)
class ExportedModel:
    """A model folder's newest version.

    Args:
        model_dir: the folder that holds the version folders.
        version_dir: the newest of them.
        golden: its golden answers.
        tokenizer: the tokenizer it was exported with.
    """

    model_dir: Path
    version_dir: Path
    golden: Golden
    tokenizer: Tokenizer

    @classmethod
    def open(cls, model_dir: Path) -> "ExportedModel":
        """Reads the newest version.

        Raises:
            UsageError: no version, no golden file, or files that do not belong together.
        """
        golden = read_golden(model_dir).golden
        version_dir = latest_version(model_dir)
        tokenizer = Tokenizer.from_description(version_dir / "assets" / VOCAB_FILE, golden.tokenizer)
        return cls(model_dir, version_dir, golden, tokenizer)
