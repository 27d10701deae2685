"""Reports of several runs: each into its own folder, and one side by side."""

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
        analysis: the run, its figures and whether they can be believed.
        curves: what the plots show.
        view: what the pages show.
        folder: where the files lie.
    """

    analysis: Analysis
    curves: LatencyCurves
    view: RunView
    folder: Path


def write_run_reports(runs: Sequence[Run], out: Path | None = None) -> Iterator[RunReport]:
    """Writes a report of each run, and gives each when it is written.

    Args:
        runs: one or more.
        out: where a single run's report goes, or each of several into a folder of the run's name; None is each run's
            own folder.

    Raises:
        UsageError: two runs of one name with `out`, or records that cannot be read.
        OSError: a folder that cannot be written.
    """
    names = [run.name for run in runs]
    twice = {name for name in names if names.count(name) > 1}
    if out is not None and twice:
        raise UsageError(f"two runs are called {min(twice)}; report them without --out, or one by one")
    for run in runs:
        folder = run.path if out is None else out if len(runs) == 1 else out / run.name
        analysis, found = analyse(run), latency_curves(run)
        yield RunReport(analysis, found, write_run_report(analysis, found, folder), folder)


def write_comparison_report(reports: Sequence[RunReport], out: Path | None = None) -> Path:
    """Writes the report of runs side by side, and gives its folder: `out`, or one beside the runs."""
    folder = out or _beside([report.analysis.run.path for report in reports])
    write_side_by_side([(report.analysis, report.curves) for report in reports], folder)
    return folder


def _beside(paths: Sequence[Path]) -> Path:
    """A folder for the comparison, in the folder that holds all runs."""
    return Path(os.path.commonpath([path.resolve().parent for path in paths])) / SIDE_BY_SIDE
