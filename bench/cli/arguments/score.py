"""The arguments of `bertbench score`."""

import argparse
from pathlib import Path
from typing import Final

from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE
from bench.cli.common.options import add_preflight_option, add_target_options
from bench.cli.common.values import DURATION, whole
from bench.core.errors import UsageError
from bench.report.score_page import Html
from bench.report.scores import Json, Jsonl, Tsv

TEXTS: Final = {form.name: form for form in (Tsv, Jsonl, Json)}
"""The formats of `--format` that are no page, by name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("file", metavar="FILE.tsv", help="one sentence a line, UTF-8; - is standard input")
    add_target_options(parser, estimator=True)
    add_preflight_option(parser)
    parser.add_argument("--format", choices=(*TEXTS, Html.name), help="(default: tsv)")
    parser.add_argument("--out", type=Path, metavar="F", help="output file (default: standard output)")
    parser.add_argument(
        "--compare-with",
        type=Path,
        metavar="MODEL_DIR",
        help="a second model beside the first one on the page of --format html, on a server that is started here",
    )
    parser.add_argument("--resume", action="store_true", help="continue an interrupted --out file")
    parser.add_argument(
        "--long",
        choices=("error", "window"),
        default="error",
        help="sentences that are too long for the model (default: error)",
    )
    parser.add_argument("--protocol", choices=("grpc", "rest"), help="(default: gRPC where its address is known)")
    parser.add_argument("--signature", choices=(COMPACT_SIGNATURE, ARTICLE_SIGNATURE), default=COMPACT_SIGNATURE)
    parser.add_argument("--in-flight", type=whole(1, 1000), default=3, help="requests under way at once (default: 3)")
    parser.add_argument("--timeout", type=DURATION, default="60s", help="for one request (default: 60s)")


def check(args: argparse.Namespace) -> None:
    """Refuses options that contradict each other.

    Raises:
        UsageError: they do.
    """
    if args.resume and args.out is None:
        raise UsageError("--resume continues a file; name it with --out")
    if args.compare_with is not None and args.format != Html.name:
        raise UsageError("--compare-with is for two models on one page; add --format html")
