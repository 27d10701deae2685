"""The options that write the verdicts of runs to files."""

import argparse
from pathlib import Path

from bench.cli.common.values import output_path


def add_verdict_options(parser: argparse.ArgumentParser) -> None:
    """`--markdown` and `--junit` of the verdicts of runs."""
    text = "verdicts of the runs, for a step summary or a comment"
    parser.add_argument("--markdown", type=output_path, metavar="FILE", help=text)
    parser.add_argument("--junit", type=output_path, metavar="FILE", help="verdicts of the runs as JUnit XML")


def verdict_files(args: argparse.Namespace) -> dict[str, Path | None]:
    """The files of these options, for `refuse_overlaps`."""
    return {"--markdown": args.markdown, "--junit": args.junit}
