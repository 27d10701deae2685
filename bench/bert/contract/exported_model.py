"""An exported model on disk as clients need it: its golden answers and its tokenizer. No TensorFlow."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bert.contract.golden import Golden, read_golden
from bench.bert.contract.model_folder import latest_version
from bench.core.extras import require

if TYPE_CHECKING:
    from bench.bert.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ExportedModel:
    """A model folder's newest version.

    Args:
        model_dir: the folder that holds the version folders.
        version_dir: the newest of them.
        golden: its golden answers.
    """

    model_dir: Path
    version_dir: Path
    golden: Golden

    @classmethod
    def open(cls, model_dir: Path) -> "ExportedModel":
        """Reads the newest version.

        Raises:
            UsageError: no version, or no golden file.
        """
        golden = read_golden(model_dir).golden
        return cls(model_dir, latest_version(model_dir), golden)

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer that it was exported with. Only who has sentences of his own needs one.

        Raises:
            UsageError: the `tokenizers` package is not installed, or the files do not belong together.
        """
        require("tokenizers", "tokenizing sentences")
        from bench.bert.text.tokenizer import VOCAB_FILE, Tokenizer

        return Tokenizer.from_description(self.version_dir / "assets" / VOCAB_FILE, self.golden.tokenizer)
