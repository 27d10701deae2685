"""`bertbench train`: masked-LM training of a BERT on a text file."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from msgspec import Meta

from bench.bert.config import PRESETS
from bench.bert.text.text_file import read_sentences
from bench.bert.tf_logging import limit_tensorflow_log
from bench.bert.training.training_config import TrainingConfig
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.values import DURATION, SEED, number, whole
from bench.cli.train_progress import TrainingProgress
from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.units import format_percent

if TYPE_CHECKING:
    from bench.bert.training.training import Evaluation

_DEFAULT = TrainingConfig()


class TrainDocument(Document, frozen=True, kw_only=True):
    """A trained model, and how it does on the held-out lines."""

    command: str = "train"
    folder: Annotated[str, Meta(description="the checkpoint")]
    steps: int
    loss: Annotated[float, Meta(description="mean negative log-likelihood of a masked piece, nats")]
    accuracy: Annotated[float, Meta(description="fraction of the masked pieces that were guessed right")]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("text", type=Path, metavar="TEXT", help="UTF-8 text, one sentence a line")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="checkpoint folder; the same command again resumes"
    )
    parser.add_argument("--checkpoint", metavar="DIR_OR_PRESET", help="start from its weights and vocabulary")
    parser.add_argument(
        "--preset", choices=tuple(PRESETS), help="shape of a model from scratch, with a vocabulary from TEXT (tiny)"
    )
    parser.add_argument("--layers", type=whole(1, 1000), metavar="N", help="encoder layers instead of the preset's")
    parser.add_argument(
        "--vocab-size", type=whole(), metavar="N", help=f"most pieces of that vocabulary ({_DEFAULT.vocab_size})"
    )
    parser.add_argument("--cased", action="store_true", help="keep case and accents")
    parser.add_argument(
        "--max-length",
        type=whole(8, 100_000),
        metavar="N",
        help=f"positions of a model from scratch ({_DEFAULT.max_length})",
    )
    parser.add_argument(
        "--dropout", type=number(0, 0.99), metavar="P", help=f"dropout of a model from scratch ({_DEFAULT.dropout})"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs",
        type=number(0, 1e6, open_least=True),
        metavar="N",
        help=f"passes over TEXT ({_DEFAULT.epochs:g})",
    )
    length.add_argument("--steps", type=whole(), metavar="N", help="batches instead of passes")
    parser.add_argument(
        "--learning-rate",
        type=number(0, 1, open_least=True),
        metavar="R",
        help="peak learning rate (5e-5 from a checkpoint, else 1e-3)",
    )
    parser.add_argument(
        "--warmup-share",
        type=number(0, 0.99),
        metavar="P",
        help=f"fraction of the steps in which the rate rises ({_DEFAULT.warmup_share})",
    )
    parser.add_argument(
        "--batch-positions", type=whole(), metavar="N", help=f"rows × width of a batch ({_DEFAULT.batch_positions})"
    )
    parser.add_argument(
        "--evaluations",
        type=whole(1, 100_000),
        metavar="N",
        help=f"evaluations on the held-out lines ({_DEFAULT.evaluations})",
    )
    parser.add_argument(
        "--save-every", type=DURATION, default="30s", metavar="T", help="time between checkpoints (30s)"
    )
    parser.add_argument(
        "--seed", type=SEED, metavar="N", help=f"random seed of weights, masks and order ({_DEFAULT.seed})"
    )


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Trains, or resumes an interrupted run.

    Raises:
        UsageError: bad options or input; see `bench.bert.training.training.train`.
    """
    training_config = _training_config(args)
    next(read_sentences(args.text))  # fails on a missing file before TensorFlow loads
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
    return TrainingConfig(do_lower_case=not args.cased, **given)


def _print_result(last: "Evaluation", folder: Path, out: CommandOutput) -> None:
    line = (
        f"{folder}: {last.step} steps; held-out lines: loss {last.loss:.3f}, "
        f"{format_percent(last.accuracy)} of the masked pieces guessed right"
    )
    document = TrainDocument(folder=str(folder), steps=last.step, loss=last.loss, accuracy=last.accuracy)
    out.result(document, f"{line}\nexport it with: bertbench export --checkpoint {folder} --out MODEL_DIR", line)
