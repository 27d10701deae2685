"""`bertbench report`: plots, report.md, report.html and CSV of runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bench.core.errors import ExitCode
from bench.report.repeats import repeats_views
from bench.report.run_reports import SIDE_BY_SIDE, RunReport, write_comparison_report, write_run_reports
from bench.report.text import table
from bench.report.view import headline_rows
from bench.results.run_reader import find_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder of the report (default: the run's own; a comparison goes into {SIDE_BY_SIDE}/ beside the runs)",
    )


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Writes a report of each run, and one of several runs side by side; prints verdicts and file names.

    Raises:
        UsageError: no such run, or one that cannot be read.
    """
    write_reports(args.runs, args.out, out)
    return ExitCode.OK


def write_reports(paths: Sequence[Path], folder: Path | None, out: TextIO) -> None:
    """Writes the reports of `run`.

    Args:
        paths: runs, or folders of runs.
        folder: of the reports; None is each run's own.
        out: gets verdicts and file names.

    Raises:
        UsageError: no such run, or one that cannot be read.
    """
    reports = []
    for report in write_run_reports(find_runs(paths), folder):
        _print(report, out)
        reports.append(report)
    if len(reports) > 1:
        together = write_comparison_report(reports, folder)
        for view in repeats_views([report.analysis for report in reports]):
            print("\n".join((*view.lines(), "")), file=out)
        print(f"side by side: {together / 'report.html'}", file=out)


def _print(report: RunReport, out: TextIO) -> None:
    view = report.view
    print(f"{view.name}\n{view.verdict}", file=out)
    for warning in view.warnings:
        print(f"warning: {warning}", file=out)
    print(table(headline_rows(report.analysis)), file=out)
    names = ", ".join(picture.file for picture in view.pictures) or "no plots"
    print(f"report: {report.folder / 'report.html'} (also report.md, summary.csv, {names})\n", file=out)
