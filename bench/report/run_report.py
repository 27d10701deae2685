"""Reports as files: PNG plots, `report.md`, a self-contained `report.html`, `summary.csv`."""

import base64
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.analysis.compare import manifest_differences
from bench.analysis.latency_curves import LatencyCurves
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.atomic_files import write_atomically
from bench.report import latency_plots, load_plots
from bench.report.pages import render
from bench.report.repeats import HEADER, repeats_views
from bench.report.view import Picture, RunView, run_view, side_by_side_rows

_PLOTS: Final = (
    ("latency percentiles", "latency-percentiles.png", latency_plots.percentiles),
    ("latency over time", "latency-over-time.png", latency_plots.over_time),
    ("throughput over time", "throughput-over-time.png", load_plots.throughput),
    ("requests in flight", "in-flight.png", load_plots.in_flight),
    ("inside the server", "server.png", load_plots.server),
)


def write_run_report(analysis: Analysis, curves: LatencyCurves, folder: Path) -> RunView:
    """Writes one run's report into `folder`, which is created if needed.

    Plots without data are left out; plots of an earlier report in `folder` are removed.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for title, file, draw in _PLOTS:
        (folder / file).unlink(missing_ok=True)
        if draw(analysis, curves, folder / file):
            pictures.append(Picture(title, file))
    view = run_view(analysis, pictures)
    write_atomically(folder / "summary.csv", summary_csv([analysis]).encode())
    _render(folder, "run", view=view)
    return view


def write_side_by_side(entries: Sequence[tuple[Analysis, LatencyCurves]], folder: Path) -> None:
    """Writes the report of several runs side by side into `folder`.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    analyses = [analysis for analysis, _ in entries]
    pictures = []
    if latency_plots.side_by_side(
        [(analysis.run.name, curves) for analysis, curves in entries], folder / "latency.png"
    ):
        pictures.append(Picture("latency percentiles", "latency.png"))
    if load_plots.intervals([(analysis.run.name, analysis) for analysis in analyses], folder / "metrics.png"):
        pictures.append(Picture("throughput and latency with intervals", "metrics.png"))
    first, *others = (analysis.run for analysis in analyses)
    differences = {
        run.name: [str(entry) for entry in found]
        for run in others
        if (found := manifest_differences(first.manifest, run.manifest))
    }
    write_atomically(folder / "summary.csv", summary_csv(analyses).encode())
    views = [run_view(analysis, []) for analysis in analyses]
    rows = side_by_side_rows(analyses)
    repeats = repeats_views(analyses)
    _render(
        folder, "runs", views=views, rows=rows, differences=differences, pictures=pictures, repeats=repeats, head=HEADER
    )


def summary_csv(analyses: Sequence[Analysis]) -> str:
    """All metrics in base units, one row per run and metric; an empty cell is an absent value or an open end."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    names = "run valid part metric unit better center lo hi confidence n warnings"
    writer.writerow(names.split())
    for analysis in analyses:
        parts = {"": analysis.summary.metrics, **analysis.summary.protocols}
        for part, metrics in parts.items():
            for name, estimate in metrics.items():
                metric = METRICS[name]
                ends = ["" if end is None else repr(end) for end in (estimate.center, estimate.lo, estimate.hi)]
                fixed = [analysis.run.name, str(analysis.validity.valid).lower(), part, name]
                counts = [estimate.confidence, repr(round(estimate.n, 3)), "; ".join(estimate.warnings)]
                writer.writerow([*fixed, metric.unit, metric.better or "", *ends, *counts])
    return lines.getvalue()


def _render(folder: Path, template: str, **values: Any) -> None:
    """Writes `report.md` and `report.html` from templates `TEMPLATE.md.j2` and `TEMPLATE.html.j2`."""
    for kind in ("md", "html"):
        page = render("bench.report", f"{template}.{kind}.j2", embedded=lambda file: _data_url(folder / file), **values)
        write_atomically(folder / f"report.{kind}", page.encode())


def _data_url(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
