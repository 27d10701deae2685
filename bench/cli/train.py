"""`bertbench train`: masked-LM training of a BERT on a text file."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from msgspec import Meta

from bench.bert.text.text_file import STDIN, read_sentences
from bench.bert.tf_logging import limit_tensorflow_log
from bench.bert.training.training_config import TrainingConfig
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.train_progress import TrainingProgress
from bench.core import interrupts
from bench.core.bounded_files import check_rereadable
from bench.core.errors import ExitCode, UsageError
from bench.core.units import format_percent

if TYPE_CHECKING:
    from bench.bert.training.training import Evaluation


class TrainDocument(Document, frozen=True, kw_only=True):
    """A trained model, and how it does on the held-out lines."""

    command: str = "train"
    folder: Annotated[str, Meta(description="the checkpoint")]
    steps: int
    loss: Annotated[float, Meta(description="mean negative log-likelihood of a masked piece, nats")]
    accuracy: Annotated[float, Meta(description="fraction of the masked pieces that were guessed right")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Trains, or resumes an interrupted run.

    Raises:
        UsageError: bad options or input; see `bench.bert.training.training.train`.
    """
    training_config = _training_config(args)
    _check_text(args.text)
    limit_tensorflow_log()
    from bench.bert.training.training import train  # loads TensorFlow

    hint = f"the same command resumes from the last checkpoint in {args.out}"
    with (
        interrupts.noting(lambda: hint if any(args.out.glob("*.index")) else ""),
        TrainingProgress(out.progress) as progress,
    ):
        last = train(args.text, args.out, training_config, progress, args.save_every)
    _print_result(last, args.out, out)
    return ExitCode.OK


def _check_text(path: Path) -> None:
    """Refuses a text that cannot be read, before TensorFlow loads.

    Raises:
        UsageError: it has no sentence, or cannot be read several times.
    """
    cure = "write the text into a file"
    if str(path) == STDIN:
        raise UsageError(f"standard input cannot be read again, as training does; {cure}")
    check_rereadable(path, cure)
    next(read_sentences(path))


def _training_config(args: argparse.Namespace) -> TrainingConfig:
    given: dict[str, Any] = {
        field.name: value
        for field in dataclasses.fields(TrainingConfig)
        if (value := getattr(args, field.name, None)) is not None
    }
    shaping: list[str] = [name for name in ("preset", "layers", "vocab_size", "max_length", "dropout") if name in given]
    shaping += ["cased"] if args.cased else []
    if args.checkpoint is not None and shaping:
        raise UsageError(
            f"--{shaping[0].replace('_', '-')} is for a model from scratch; leave it out with --checkpoint"
        )
    if args.init_head and args.checkpoint is None:
        raise UsageError("--init-head is for a --checkpoint without a head; a model from scratch has a random one")
    return TrainingConfig(do_lower_case=not args.cased, **given)


def _print_result(last: "Evaluation", folder: Path, out: CommandOutput) -> None:
    line = (
        f"{folder}: {last.step} steps; held-out lines: loss {last.loss:.3f}, "
        f"{format_percent(last.accuracy)} of the masked pieces guessed right"
    )
    document = TrainDocument(folder=str(folder), steps=last.step, loss=last.loss, accuracy=last.accuracy)
    out.result(document, f"{line}\nexport it with: bertbench export --checkpoint {folder} --out MODEL_DIR", line)
