"""The arguments of `bertbench train`."""

import argparse
from pathlib import Path

from bench.bert.config import PRESETS
from bench.bert.training.training_config import MOST_BATCH_POSITIONS, TrainingConfig
from bench.cli.common.values import DURATION, SEED, number, whole

_DEFAULT = TrainingConfig()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("text", type=Path, metavar="TEXT", help="UTF-8 text, one sentence a line")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="checkpoint folder; the same command again resumes"
    )
    parser.add_argument("--checkpoint", metavar="DIR_OR_PRESET", help="start from its weights and vocabulary")
    parser.add_argument("--init-head", action="store_true", help="random masked-LM head if the checkpoint has none")
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
        "--epochs", type=number(0, 1e6, open_least=True), metavar="N", help=f"passes over TEXT ({_DEFAULT.epochs:g})"
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
        "--batch-positions",
        type=whole(1, MOST_BATCH_POSITIONS),
        metavar="N",
        help=f"rows × width of a batch ({_DEFAULT.batch_positions})",
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
