"""Reports as files: PNG plots, `report.md`, a self-contained `report.html`, `summary.csv`."""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup

from bench.analysis.compare import RUN_NOISE_HALF, manifest_differences
from bench.analysis.latency_curves import LatencyCurves
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.analysis.run_profile import RunProfile
from bench.core.atomic_files import write_atomically
from bench.core.output import to_utf8
from bench.core.units import pluralize, were
from bench.report import page
from bench.report.charts import COLORS, Chart
from bench.report.csv_cells import text_cell
from bench.report.pages import render
from bench.report.runs import latency_plots, load_plots
from bench.report.runs.repeats import HEADER, repeats_views
from bench.report.runs.run_charts import RunLine, overlaid_charts, run_charts
from bench.report.runs.sides import Side, objective_rows, overview_rows, pair_views, run_rows
from bench.report.runs.view import Picture, RunView, facts, run_view
from bench.report.text import MEANS
from bench.stats.estimate import Estimate

_PACKAGE: Final = "bench.report.runs"
_PLOTS: Final = (
    ("latency percentiles", "latency-percentiles.png", latency_plots.percentiles),
    ("latency over time", "latency-over-time.png", latency_plots.over_time),
    ("throughput over time", "throughput-over-time.png", load_plots.throughput),
    ("requests in flight", "in-flight.png", load_plots.in_flight),
    ("inside the server", "server.png", load_plots.server),
)

_SUMMARY: Final = "summary.csv"
_TEXT: Final = "report.md"
_PAGE: Final = "report.html"
_LATENCY: Final = "latency.png"
_METRICS: Final = "metrics.png"
RUN_REPORT: Final = (_SUMMARY, _TEXT, _PAGE, *(file for _, file, _ in _PLOTS))
"""The files of a run's report."""
COMPARISON_REPORT: Final = (_SUMMARY, _TEXT, _PAGE, _LATENCY, _METRICS)
"""The files of the report of several runs."""


def write_run_report(analysis: Analysis, curves: LatencyCurves, profile: RunProfile, folder: Path) -> RunView:
    """Writes one run's report into `folder`, which is created if needed.

    Plots without data are left out; those that an earlier report in `folder` has are removed once no page shows them.

    Args:
        analysis: of the run.
        curves: of the run.
        profile: of the run.
        folder: gets the files.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [Picture(title, file) for title, file, draw in _PLOTS if draw(analysis, curves, folder / file)]
    view = run_view(analysis, profile, pictures)
    write_atomically(folder / _SUMMARY, to_utf8(summary_csv([analysis])))
    charts = run_charts(analysis, curves, profile)
    data = page.page_data(page.RUN, charts, **_run_fields(analysis, facts(analysis)))
    sections = [(name, title) for name, title in SECTIONS if _has(view, charts, name)]
    _render(folder, "run", charts, data, sections=sections, view=view)
    for file in {file for _, file, _ in _PLOTS} - {picture.file for picture in pictures}:
        (folder / file).unlink(missing_ok=True)
    return view


def _run_fields(analysis: Analysis, facts: Mapping[str, str]) -> dict[str, Any]:
    """The fields of one run's page for a comparison with another page.

    Args:
        analysis: of the run.
        facts: what was run, and where, as texts by name.
    """
    summary, manifest = analysis.summary, analysis.run.manifest
    begins = analysis.run.begins
    return {
        "name": analysis.run.name,
        "valid": analysis.validity.valid,
        "arrivals": manifest.arrivals,
        "begins": begins,
        "ends": begins + summary.seconds,
        "run_noise": RUN_NOISE_HALF,
        "metrics": {name: _metric(name, estimate) for name, estimate in summary.metrics.items()},
        "facts": dict(facts),
    }


def _metric(name: str, estimate: Estimate) -> dict[str, Any]:
    metric = METRICS[name]
    ends = {part: getattr(estimate, part) for part in ("center", "lo", "hi", "n")}
    return {"title": metric.title, "unit": metric.unit, "better": metric.better, **ends}


def _has(view: RunView, charts: Sequence[Chart], section: str) -> bool:
    """Whether the page has a section."""
    rows = {"time": view.parts, "words": view.words, "slowest": view.slowest}
    if section == "server":
        return any(chart.name.startswith("server") for chart in charts)
    return bool(rows.get(section, True))


SECTIONS: Final = (
    ("summary", "Summary"),
    ("latency", "Latency"),
    ("load", "Load"),
    ("outcomes", "Outcomes"),
    ("time", "Time"),
    ("words", "Words"),
    ("client", "Load generator"),
    ("server", "Server"),
    ("slowest", "Slowest"),
    ("validity", "Validity"),
    ("metrics", "Metrics"),
    ("repeat", "What was run"),
    ("environment", "Environment"),
)
"""Sections of a run's page: the element's id and the title in the navigation."""


MOST_PAIRS: Final = 6
"""Most sides that a report compares with the first, one by one."""
MOST_LINES: Final = 24
"""Most runs whose charts are drawn on top of each other: more cannot be told apart."""


def write_side_by_side(
    sides: Sequence[Side],
    curves: Mapping[Path, LatencyCurves],
    folder: Path,
    pages: Mapping[Path, Path] | None = None,
    copies: int = 0,
) -> None:
    """Writes the report of several sides into `folder`.

    Args:
        sides: one or more; the others are compared with the first.
        curves: of each run, by the path of its folder.
        folder: gets the files; created if needed.
        pages: the report of each run that has one, by the path of the run's folder.
        copies: how many runs are on no side because they are copies of others.

    Raises:
        UsageError: the runs of a side are not repeats of each other.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        RunLine(_line_label(side, number), side.label, index % COLORS, index // COLORS, entry, found)
        for index, side in enumerate(sides)
        for number, entry in enumerate(side.analyses, 1)
        if (found := curves[entry.run.path])
    ]
    analyses = [line.analysis for line in lines]
    pictures = []
    if latency_plots.side_by_side([(line.label, line.curves) for line in lines], folder / _LATENCY):
        pictures.append(Picture("latency percentiles", _LATENCY))
    if load_plots.intervals([(line.label, line.analysis) for line in lines], folder / _METRICS):
        pictures.append(Picture("throughput and latency with intervals", _METRICS))
    first, *others = sides
    write_atomically(folder / _SUMMARY, to_utf8(summary_csv(analyses)))
    charts, repeats = overlaid_charts(lines) if len(lines) <= MOST_LINES else [], repeats_views(analyses)
    pairs = pair_views(sides) if len(others) <= MOST_PAIRS else []
    left_out = list(_left_out(sides, len(lines), copies))
    sections = [("summary", "Summary"), ("runs", "Runs"), *([("charts", "Charts")] if charts else [])]
    sections += [("changes", "Every metric")] if pairs else []
    sections += [("repeats", "Repeats together")] if repeats else []
    _render(
        folder,
        "runs",
        charts,
        page.page_data("runs", charts),
        sections=[*sections, ("differences", "What differs")],
        title=f"{pluralize(len(analyses), 'run')} side by side",
        sides=sides,
        runs=run_rows(sides, curves, {run: _relative(page_, folder) for run, page_ in (pages or {}).items()}),
        pairs=pairs,
        left_out=left_out,
        overview=overview_rows(sides),
        objectives=objective_rows(sides),
        differences={side.letter: _differences(first, side) for side in others},
        pictures=pictures,
        repeats=repeats,
        means=MEANS if any(len(side.analyses) > 1 for side in sides) else "",
        head=HEADER,
    )


def _left_out(sides: Sequence[Side], runs: int, copies: int) -> Iterator[str]:
    """What a report of so many sides and runs does not have, and how to get it."""
    if copies:
        yield f"{pluralize(copies, 'copy', 'copies')} of these runs {were(copies)} left out: a run agrees with itself."
    if len(sides) > MOST_PAIRS + 1:
        yield (
            f"Changes against A are given for up to {MOST_PAIRS + 1} sides, and these are {len(sides):,}: report fewer "
            "runs, or compare two with bertbench compare RUN_A RUN_B."
        )
    if runs > MOST_LINES:
        yield (
            f"Charts are drawn for up to {MOST_LINES} runs, and the lines of these {runs:,} could not be told apart: "
            "report fewer runs."
        )


def _relative(path: Path, folder: Path) -> str:
    """A path as a link from a page in `folder`."""
    return quote(os.fsencode(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/")))


def _line_label(side: Side, number: int) -> str:
    return side.label if len(side.analyses) == 1 else f"{side.letter}: repeat {number}"


def _differences(first: Side, other: Side) -> list[str]:
    found = manifest_differences(first.analyses[0].run.manifest, other.analyses[0].run.manifest)
    return [str(entry) for entry in found]


def summary_csv(analyses: Sequence[Analysis]) -> str:
    """All metrics in base units, one row per run and metric; an empty cell is an absent value or an open end.

    Texts are cells of `bench.report.csv_cells`.
    """
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
                fixed = [text_cell(analysis.run.name), str(analysis.validity.valid).lower(), part, name]
                counts = [estimate.confidence, repr(round(estimate.n, 3)), text_cell("; ".join(estimate.warnings))]
                writer.writerow([*fixed, metric.unit, metric.better or "", *ends, *counts])
    return lines.getvalue()


def _render(folder: Path, template: str, charts: Sequence[Chart], data: Markup, **values: Any) -> None:
    """Writes `report.md` and `report.html` from templates `TEMPLATE.md.j2` and `TEMPLATE.html.j2`."""
    sections = values.pop("sections")
    text = render(_PACKAGE, f"{template}.md.j2", **values)
    write_atomically(folder / _TEXT, to_utf8(text))
    html = page.render_page(_PACKAGE, f"{template}.html.j2", charts, sections, data, **values)
    write_atomically(folder / _PAGE, to_utf8(html))
