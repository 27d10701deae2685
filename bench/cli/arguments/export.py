"""The arguments of `bertbench export`."""

import argparse
from pathlib import Path
from typing import Final

from bench.bert.config import PRESETS
from bench.bert.contract.model_folder import LARGEST_VERSION
from bench.cli.common.values import whole

MOST_LIKELIEST: Final = 100
"""Of `--top-k`: an answer has so many values a WordPiece."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="DIR_OR_PRESET",
        help="folder of Google's, Hugging Face's or the Estimator's, or a TensorFlow checkpoint in it; demo; "
        f"or {', '.join(PRESETS)} (random weights)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="MODEL_DIR", help="the version is written to MODEL_DIR/<version>/"
    )
    parser.add_argument(
        "--version", type=whole(0, LARGEST_VERSION), metavar="N", help="number of the version (default: the next one)"
    )
    parser.add_argument(
        "--sentences",
        type=Path,
        metavar="FILE.tsv",
        help="sentences of the golden answers (default: the package's that fit)",
    )
    parser.add_argument("--init-head", action="store_true", help="random masked-LM head if the checkpoint has none")
    case = parser.add_mutually_exclusive_group()
    case.add_argument("--cased", dest="lower_case", action="store_false", default=None, help="do not lower-case text")
    case.add_argument("--uncased", dest="lower_case", action="store_true", help="lower-case text")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the encoder's matrix products and their weights (default: float32)",
    )
    parser.add_argument(
        "--top-k",
        type=whole(1, MOST_LIKELIEST),
        metavar="N",
        help="a signature more, score_top_k: the N likeliest WordPieces at each place too, "
        "which score --format html shows",
    )
    parser.add_argument(
        "--fixed-length", type=whole(), metavar="S", help="the article's export: rows padded to S (128)"
    )
    parser.add_argument(
        "--max-predictions", type=whole(), metavar="P", help="the article's export: slots padded to P (20)"
    )
    parser.add_argument(
        "--article-output", choices=("prob", "nll"), help="the article's export: its output (default: prob)"
    )
