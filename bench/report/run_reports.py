"""Reports of several runs, one for each and one side by side."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.analysis.latency_curves import LatencyCurves, latency_curves
from bench.analysis.run import Analysis, analyse
from bench.core.errors import UsageError
from bench.report.run_report import write_run_report, write_side_by_side
from bench.report.view import RunView
from bench.results.run_reader import Run

SIDE_BY_SIDE: Final = "report"
"""The folder of a side-by-side report, beside its runs."""


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
    for run in runs:
        folder = run.path if out is None else out if len(runs) == 1 else out / run.name
        analysis, found = analyse(run), latency_curves(run)
        yield RunReport(analysis, found, write_run_report(analysis, found, folder), folder)


def write_comparison_report(reports: Sequence[RunReport], out: Path | None = None) -> Path:
    """Writes the side-by-side report and returns its folder: `out`, or one beside the runs."""
    folder = out or _beside([report.analysis.run.path for report in reports])
    write_side_by_side([(report.analysis, report.curves) for report in reports], folder)
    return folder


def _beside(paths: Sequence[Path]) -> Path:
    """A folder for the comparison, in the folder that holds all runs."""
    return Path(os.path.commonpath([path.resolve().parent for path in paths])) / SIDE_BY_SIDE
