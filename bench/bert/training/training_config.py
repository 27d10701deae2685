"""The options of a training run, stored in its folder so that only the same run is resumed."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Final

from bench.bert.config import PRESETS, BertConfig
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.output import to_json
from bench.core.versioned_json import INDENTED, VersionedJson

FILE_NAME: Final = "training.json"
MIN_SENTENCES: Final = 100


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train; every field changes the result.

    Args:
        preset: the model's shape, where no checkpoint is given.
        layers: encoder layers instead of the preset's.
        checkpoint: where to start: a folder, `demo` or a preset's name; None trains from scratch.
        vocab_size: pieces of the vocabulary that is made where no checkpoint brings one.
        do_lower_case: whether that vocabulary is uncased.
        max_length: positions of a model trained from scratch; longer lines are split.
        dropout: of a model trained from scratch, instead of BERT's 0.1.
        epochs: how often each line is seen, unless `steps` says how long to train.
        steps: batches in all.
        warmup_share: fraction of the steps in which the learning rate rises.
        learning_rate: its peak; None takes 5e-5 from a checkpoint, else 1e-3 at width 128 and less for wider models.
        batch_positions: rows × width of a batch.
        evaluations: evaluations on the held-out lines; the last is at the end.
        seed: of weights, masks and order.

    Raises:
        UsageError: a value is out of range.
    """

    preset: str = "tiny"
    layers: int | None = None
    checkpoint: str | None = None
    vocab_size: int = 8000
    do_lower_case: bool = True
    max_length: int = 128
    dropout: float = 0.1
    epochs: float = 10.0
    steps: int | None = None
    warmup_share: float = 0.1
    learning_rate: float | None = None
    batch_positions: int = 4096
    evaluations: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "layers", "vocab_size", "batch_positions", "evaluations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', ' ')} must be 1 or more, not {value}")
        if self.preset not in PRESETS:
            raise UsageError(f"no preset {self.preset!r}; known are {', '.join(PRESETS)}")
        if self.max_length < 8:
            raise UsageError(f"a model of {self.max_length} positions is too short for sentences; give 8 or more")
        if not self.epochs > 0 or not 0 <= self.warmup_share < 1 or not 0 <= self.dropout < 1 or self.seed < 0:
            raise UsageError("epochs must be above zero, warm-up and dropout from 0 up to 1, the seed 0 or more")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise UsageError(f"the learning rate must lie between 0 and 1, not {self.learning_rate}")

    def shape(self, vocab_size: int) -> BertConfig:
        """The shape of a model trained from scratch, with a vocabulary of that size."""
        preset = PRESETS[self.preset]
        return dataclasses.replace(
            preset,
            vocab_size=vocab_size,
            num_hidden_layers=self.layers or preset.num_hidden_layers,
            max_position_embeddings=self.max_length,
            # BERT's 0.02 is for a width of 768; the narrower the model, the larger its weights have to start.
            initializer_range=round(preset.initializer_range * math.sqrt(768 / preset.hidden_size), 3),
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
        )

    def peak_rate(self, config: BertConfig) -> float:
        """The learning rate's peak for a model of that shape."""
        return self.learning_rate or (5e-5 if self.checkpoint else 1e-3 * 128 / config.hidden_size)


def check_folder(out: Path, training_config: TrainingConfig, text_digest: str) -> None:
    """Makes sure that `out` may be this run's folder: absent, empty, or that of the same run, started earlier.

    Args:
        out: the folder; nothing is written.
        training_config: the options of the run.
        text_digest: SHA-256 of the text.

    Raises:
        UsageError: the folder holds something else, or another run; the message names what differs.
    """
    path = out / FILE_NAME
    if not path.is_file():
        # An interruption of the first write leaves only temporary files.
        if out.exists() and not (out.is_dir() and all(entry.suffix == ".tmp" for entry in out.iterdir())):
            raise UsageError(f"{out} is not empty and holds no training run; give another folder with --out")
        return
    found, wanted = _FILE.load(path), _record(training_config, text_digest)
    for name, value in wanted.items():
        if found.get(name) != value:
            what = "text" if name == "text_sha256" else f"{name} ({found.get(name)!r} there, {value!r} now)"
            raise UsageError(f"{out} was started with another {what}; give another folder with --out")


def claim_folder(out: Path, training_config: TrainingConfig, text_digest: str) -> None:
    """Makes `out` this run's folder; see `check_folder`."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / FILE_NAME, to_json(_record(training_config, text_digest), option=INDENTED))


_FILE: Final = VersionedJson(TrainingConfig, 1, name="training record", cure="give another folder with --out")


def _record(training_config: TrainingConfig, text_digest: str) -> dict[str, Any]:
    return {"format": _FILE.version, "text_sha256": text_digest, **dataclasses.asdict(training_config)}
