"""Reports of several runs, one for each and one side by side."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.latency_curves import LatencyCurves, latency_curves
from bench.analysis.measured import load
from bench.analysis.run import Analysis, analyse
from bench.analysis.run_profile import run_profile
from bench.core.errors import UsageError
from bench.report.runs.run_report import COMPARISON_REPORT, RUN_REPORT, write_run_report, write_side_by_side
from bench.report.runs.sides import named_sides, sides_of
from bench.report.runs.view import RunView
from bench.results.run_paths import SIDE_BY_SIDE
from bench.results.run_reader import Run


@dataclass(frozen=True)
class RunReport:
    """A report that was written.

    Args:
        analysis: of the run.
        curves: the data of the plots.
        view: the content of the pages.
        folder: that has the files.
    """

    analysis: Analysis
    curves: LatencyCurves
    view: RunView
    folder: Path


def write_run_reports(runs: Sequence[Run], out: Path | None = None) -> Iterator[RunReport]:
    """Writes a report of each run.

    Args:
        runs: one or more.
        out: the folder of the report; with several runs each gets a folder of the run's name in it. None is the run's
            own folder.

    Raises:
        UsageError: two runs of one name with `out`, or records that cannot be read.
        OSError: a folder that cannot be written.
    """
    names = [run.name for run in runs]
    twice = {name for name in names if names.count(name) > 1}
    if out is not None and twice:
        raise UsageError(f"two runs have the name {min(twice)}; report them without --out, or separately")
    for run, folder in zip(runs, report_folders(runs, out), strict=True):
        measured = load(run)
        analysis, curves = analyse(run, measured=measured), latency_curves(run, measured)
        profile = run_profile(run, measured, curves.interval)
        yield RunReport(analysis, curves, write_run_report(analysis, curves, profile, folder), folder)


def report_folders(runs: Sequence[Run], out: Path | None) -> list[Path]:
    """The folder of each run's report, see `write_run_reports`."""
    return [run.path if out is None else out if len(runs) == 1 else out / run.name for run in runs]


def written_files(runs: Sequence[Run], out: Path | None) -> list[Path]:
    """All files that reports of `runs` may consist of, that side by side too."""
    folders = report_folders(runs, out)
    found = [folder / name for folder in folders for name in RUN_REPORT]
    return found + [comparison_folder(runs, out) / name for name in COMPARISON_REPORT] if len(runs) > 1 else found


def comparison_folder(runs: Sequence[Run], out: Path | None) -> Path:
    """The folder of the report of several runs: `out`, or one beside the runs."""
    if out is not None:
        return out
    return Path(os.path.commonpath([run.path.resolve().parent for run in runs])) / SIDE_BY_SIDE


def write_comparison_report(reports: Sequence[RunReport], out: Path | None = None) -> Path:
    """Writes the report of several runs: repeats together, each other side against the first, and no run twice.

    Returns:
        Its folder, see `comparison_folder`.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = comparison_folder([report.analysis.run for report in reports], out)
    sides = sides_of([report.analysis for report in reports])
    curves = {report.analysis.run.path: report.curves for report in reports}
    pages = {report.analysis.run.path: report.folder / "report.html" for report in reports}
    copies = len(reports) - sum(len(side.analyses) for side in sides)
    write_side_by_side(sides, curves, folder, pages, copies)
    return folder


def write_sides(groups: Sequence[Sequence[Analysis]], folder: Path) -> None:
    """Writes the report of sides that the caller formed.

    Args:
        groups: the runs of each side, two sides or more.
        folder: gets the files; created if needed.

    Raises:
        UsageError: records that cannot be read, or runs of a side that are not repeats of each other.
        OSError: the folder cannot be written.
    """
    curves = {entry.run.path: latency_curves(entry.run, load(entry.run)) for group in groups for entry in group}
    write_side_by_side(named_sides(groups), curves, folder)
