"""The files of a capacity measurement: `capacity.html`, `capacity.md`, `capacity.json` and plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.plan.result import CapacityResult
from bench.capacity.report import plots
from bench.capacity.report.html_page import capacity_html
from bench.capacity.report.json_report import capacity_document, capacity_json
from bench.capacity.report.markdown_report import capacity_markdown, capacity_view, interrupted_markdown
from bench.core.atomic_files import write_atomically
from bench.core.output import to_utf8

REPORT: Final = "capacity.md"
JSON: Final = "capacity.json"
PAGE: Final = "capacity.html"
INTERRUPTED: Final = "interrupted.md"
"""The report of an interrupted sweep; the complete report replaces it."""


def write_interrupted(measurements: Sequence[Measurement], why: str, folder: Path) -> Path:
    """Writes the completed steps into `folder`; returns the path of the file.

    Args:
        measurements: the steps.
        why: what ended the sweep, as text.
        folder: folder of the sweep.
    """
    path = folder / INTERRUPTED
    write_atomically(path, to_utf8(interrupted_markdown(measurements, why)))
    return path


def write_capacity_report(result: CapacityResult, folder: Path) -> Path:
    """Writes the page, `capacity.md`, `capacity.json` and the plots into `folder`.

    Returns:
        The path of `capacity.md`.
    """
    pictures = [("Latency by rate", "capacity-latency.png"), ("Throughput by users", "capacity-throughput.png")]
    plots.latency(result, folder / pictures[0][1])
    plots.throughput(result, folder / pictures[1][1])
    if plots.validation(result, folder / "capacity-checks.png"):
        pictures.append(("Validation", "capacity-checks.png"))
    if result.planned is not None:
        plots.replicas(result.planned.table, result.planned.row, folder / "capacity-replicas.png")
        pictures.append(("Replicas and cost by rate", "capacity-replicas.png"))
    if plots.day(result, folder / "capacity-day.png"):
        pictures.append(("Replicas over the day", "capacity-day.png"))
    path = folder / REPORT
    write_atomically(folder / JSON, capacity_json(capacity_document(result, path)))
    view = capacity_view(result, pictures)
    write_atomically(folder / PAGE, to_utf8(capacity_html(result, view)))
    write_atomically(path, to_utf8(capacity_markdown(view)))
    (folder / INTERRUPTED).unlink(missing_ok=True)
    return path
