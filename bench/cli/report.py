"""`bertbench report`: plots, report.md, report.html and CSV of runs."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bench.analysis.analysis import Analysis, analyse
from bench.analysis.curves import Curves, curves
from bench.errors import ExitCode, UsageError
from bench.report.repeats import repeats_views
from bench.report.report import write_run_report, write_side_by_side
from bench.report.text import table
from bench.report.view import headline_rows
from bench.results.run import Run, find_runs

SIDE_BY_SIDE = "report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the report goes (default: one run's into its own folder; of several, each into its own and "
        f"the comparison into {SIDE_BY_SIDE}/ beside them)",
    )


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Writes a report of each run, and of several runs one side by side; prints verdicts and where the files lie.

    Raises:
        UsageError: no such run, or one that cannot be read.
    """
    runs = find_runs(args.runs)
    twice = {entry.name for entry in runs if sum(other.name == entry.name for other in runs) > 1}
    if args.out is not None and twice:
        raise UsageError(f"two runs are called {min(twice)}; report them without --out, or one by one")
    entries = [_report(entry, args.out if len(runs) == 1 else _folder(args.out, entry), out) for entry in runs]
    if len(entries) > 1:
        folder = args.out or _beside([entry.path for entry in runs])
        write_side_by_side(entries, folder)
        for view in repeats_views([analysis for analysis, _ in entries]):
            print("\n".join((*view.lines(), "")), file=out)
        print(f"side by side: {folder / 'report.html'}", file=out)
    return ExitCode.GOOD


def _report(run: Run, folder: Path | None, out: TextIO) -> tuple[Analysis, Curves]:
    analysis, found = analyse(run), curves(run)
    folder = folder or run.path
    view = write_run_report(analysis, found, folder)
    print(f"{run.name}\n{view.verdict}", file=out)
    for warning in view.warnings:
        print(f"warning: {warning}", file=out)
    print(table(headline_rows(analysis)), file=out)
    names = ", ".join(picture.file for picture in view.pictures) or "no plots"
    print(f"report: {folder / 'report.html'} (also report.md, summary.csv, {names})\n", file=out)
    return analysis, found


def _folder(out: Path | None, run: Run) -> Path | None:
    return None if out is None else out / run.name


def _beside(paths: Sequence[Path]) -> Path:
    """A folder for the comparison, in the folder that holds all runs."""
    return Path(os.path.commonpath([path.resolve().parent for path in paths])) / SIDE_BY_SIDE
