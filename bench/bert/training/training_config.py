"""The options of a training run, stored in its folder so that only the same run is resumed.

Format history of `training.json`:
    1: first.
    2: with `start_sha256` and `init_head`; a run of format 1 is resumed without them.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, Final

from bench.bert.config import PRESETS, BertConfig
from bench.bert.text.vocab_txt import VOCAB_FILE
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.output import to_json
from bench.core.versioned_json import INDENTED, VersionedJson

FILE_NAME: Final = "training.json"
MIN_SENTENCES: Final = 100
MOST_BATCH_POSITIONS: Final = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train; every field changes the result.

    Args:
        preset: the model's shape, where no checkpoint is given.
        layers: encoder layers instead of the preset's.
        checkpoint: where to start: a folder, `demo` or a preset's name; None trains from scratch.
        init_head: start with a fresh masked-LM head if the checkpoint has none.
        vocab_size: pieces of the vocabulary that is made where no checkpoint brings one.
        do_lower_case: whether that vocabulary is uncased.
        max_length: positions of a model trained from scratch; longer lines are split.
        dropout: of a model trained from scratch, instead of BERT's 0.1.
        epochs: how often each line is seen, unless `steps` says how long to train.
        steps: batches in all.
        warmup_share: fraction of the steps in which the learning rate rises.
        learning_rate: its peak; None takes 5e-5 from a checkpoint, else 1e-3 at width 128 and less for wider models.
        batch_positions: rows × width of a batch, `MOST_BATCH_POSITIONS` at most.
        evaluations: evaluations on the held-out lines; the last is at the end.
        seed: of weights, masks and order.

    Raises:
        UsageError: a value is out of range.
    """

    preset: str = "tiny"
    layers: int | None = None
    checkpoint: str | None = None
    init_head: bool = False
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
        if self.batch_positions > MOST_BATCH_POSITIONS:
            raise UsageError(f"a batch has {MOST_BATCH_POSITIONS} positions at most, not {self.batch_positions}")
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


def check_folder(out: Path, training_config: TrainingConfig, text_digest: str, start_digest: str | None = None) -> None:
    """Makes sure that `out` may be this run's folder: absent, empty, or that of the same run, started earlier.

    Args:
        out: the folder; nothing is written.
        training_config: the options of the run.
        text_digest: SHA-256 of the text.
        start_digest: SHA-256 of what the run starts from; None while it is not known yet.

    Raises:
        UsageError: the folder holds something else, or another run; the message names what differs.
    """
    path = out / FILE_NAME
    if not path.is_file():
        # An interruption of the first write leaves only temporary files.
        if out.exists() and not (out.is_dir() and all(entry.suffix == ".tmp" for entry in out.iterdir())):
            raise UsageError(f"{out} is not empty and holds no training run; give another folder with --out")
        return
    found = _FILE.load(path)
    unchecked = _ADDED if found["format"] == 1 else frozenset()
    for name, value in _values(training_config, text_digest, start_digest).items():
        if name not in unchecked and found.get(name) != value:
            what = _difference(name, found.get(name), value, training_config.checkpoint)
            raise UsageError(f"{out} was started with another {what}; give another folder with --out")


def claim_folder(out: Path, training_config: TrainingConfig, text_digest: str, start_digest: str) -> None:
    """Makes `out` this run's folder; see `check_folder`."""
    out.mkdir(parents=True, exist_ok=True)
    record = {"format": _FILE.version, **_values(training_config, text_digest, start_digest)}
    write_atomically(out / FILE_NAME, to_json(record, option=INDENTED))


_FILE: Final = VersionedJson(
    TrainingConfig, 2, name="training record", cure="give another folder with --out", updates={2: dict}
)
_TEXT: Final = "text_sha256"
_START: Final = "start_sha256"
# What records of format 1 lack.
_ADDED: Final = frozenset((_START, "init_head"))


def _values(training_config: TrainingConfig, text_digest: str, start_digest: str | None) -> dict[str, Any]:
    start = {} if start_digest is None else {_START: start_digest}
    return {_TEXT: text_digest} | start | dataclasses.asdict(training_config)


def _difference(name: str, before: object, now: object, checkpoint: str | None) -> str:
    if name == _TEXT:
        return "text"
    if name == _START:
        return f"checkpoint ({checkpoint} was changed)" if checkpoint else f"vocabulary ({VOCAB_FILE} was changed)"
    return f"{name} ({before!r} there, {now!r} now)"
