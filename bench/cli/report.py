"""`bertbench report`: plots, report.md, report.html and CSV of runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

from msgspec import Meta, Struct

from bench.analysis.repeats import repeats_of
from bench.analysis.run import analyse
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.output_files import refuse_overlaps
from bench.cli.common.verdict_files import verdict_files
from bench.core.errors import ExitCode
from bench.core.shown_path import shown_path
from bench.objectives.text import objective_lines
from bench.report.json_values import RepeatsValue, RunValue, repeats_value, run_value
from bench.report.objectives import write_verdicts
from bench.report.runs.repeats import repeats_view
from bench.report.runs.run_reports import (
    RunReport,
    comparison_folder,
    report_folders,
    write_comparison_report,
    write_run_reports,
    written_files,
)
from bench.report.runs.view import headline_rows
from bench.report.text import table
from bench.results.run_reader import find_runs


class ReportValue(Struct, frozen=True, kw_only=True):
    """The report of one run."""

    run: RunValue
    folder: Annotated[str, Meta(description="has report.html, report.md, summary.csv and the plots")]
    plots: Annotated[Sequence[str], Meta(description="names of files in the folder")]


class ReportsValue(Struct, frozen=True, kw_only=True):
    """The reports of one or several runs."""

    runs: Sequence[ReportValue]
    repeats: Sequence[RepeatsValue]
    side_by_side: Annotated[str | None, Meta(description="folder of the report of several runs; null for one")]


class ReportDocument(Document, frozen=True, kw_only=True):
    """Reports that were written."""

    command: str = "report"
    reports: ReportsValue


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Writes a report of each run, and one of several runs side by side; prints verdicts and file names.

    Raises:
        UsageError: no such run, or one that cannot be read; files that would overwrite each other.
    """
    if args.junit or args.markdown:
        runs = find_runs(args.runs, verify=False)
        folders = [*report_folders(runs, args.out), *([comparison_folder(runs, args.out)] if len(runs) > 1 else [])]
        refuse_overlaps(verdict_files(args), others=written_files(runs, args.out), folders=folders)
    reports = write_reports(args.runs, args.out, out)
    if args.junit or args.markdown:
        write_verdicts([analyse(stored) for stored in find_runs(args.runs, verify=False)], args.junit, args.markdown)
    out.result(ReportDocument(reports=reports), "", report_lines(reports))
    return ExitCode.OK


def write_reports(paths: Sequence[Path], folder: Path | None, out: CommandOutput) -> ReportsValue:
    """Writes the reports of `run`, and prints verdicts and file names as parts of the result.

    Args:
        paths: runs, or folders of runs.
        folder: of the reports; None is each run's own.
        out: the command's.

    Raises:
        UsageError: no such run, or one that cannot be read.
    """
    reports = []
    for report in write_run_reports(find_runs(paths), folder):
        out.part(_text(report))
        reports.append(report)
    together = write_comparison_report(reports, folder) if len(reports) > 1 else None
    repeats = repeats_of([report.analysis for report in reports]) if together else []
    for group in repeats:
        out.part("\n".join((*repeats_view(group).lines(), "")))
    if together:
        out.part(f"side by side: {shown_path(together / 'report.html')}")
    return ReportsValue(
        runs=[_value(report) for report in reports],
        repeats=[repeats_value(group) for group in repeats],
        side_by_side=str(together) if together else None,
    )


def report_lines(reports: ReportsValue) -> str:
    """The pages that were written, a line each."""
    folders = [report.folder for report in reports.runs]
    return "\n".join(shown_path(Path(folder) / "report.html") for folder in (*folders, reports.side_by_side) if folder)


def _value(report: RunReport) -> ReportValue:
    plots = [picture.file for picture in report.view.pictures]
    return ReportValue(run=run_value(report.analysis), folder=str(report.folder), plots=plots)


def _text(report: RunReport) -> str:
    view = report.view
    names = ", ".join(picture.file for picture in view.pictures) or "no plots"
    objectives = objective_lines(report.analysis.objectives)
    lines = [view.name, view.verdict, *objectives, *(f"warning: {warning}" for warning in view.warnings)]
    lines += [*view.screen.alarms, *view.screen.sentences]
    lines.append(table(headline_rows(report.analysis)))
    lines.append(f"report: {shown_path(report.folder / 'report.html')} (also report.md, summary.csv, {names})\n")
    return "\n".join(lines)
