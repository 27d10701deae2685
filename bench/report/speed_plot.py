"""The plot of how long one call takes by several ways."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.core.units import format_seconds
from bench.report import plots


def plot_speeds(path: Path, names: Sequence[str], p50: Sequence[float], p95: Sequence[float], note: str) -> None:
    """Writes a line a way, from its p50, a dot, to its p95.

    Args:
        path: of the PNG.
        names: of the ways, N.
        p50: seconds, N.
        p95: seconds, N.
        note: what a call is.

    Raises:
        OSError: the file cannot be written.
    """
    figure, (axes,) = plots.new_figure(height=1.6 + 0.6 * len(names))
    scale, unit = plots.seconds_scale(max(p95))
    places = np.arange(len(names))[::-1]
    axes.hlines(places, np.array(p50) * scale, np.array(p95) * scale, color=plots.BLUE, linewidth=3)
    axes.plot(np.array(p50) * scale, places, "o", color=plots.BLUE, markersize=9)
    for place, middle, high in zip(places, p50, p95, strict=True):
        text = f" p50 {format_seconds(middle)}, p95 {format_seconds(high)}"
        axes.text(high * scale, float(place), text, va="center", fontsize=9)
    axes.set_yticks(places, list(names))
    axes.grid(axis="y", visible=False)
    # Room for the text beside the longest bar.
    axes.set_ylim(-0.6, len(names) - 0.4)
    plots.log_axis(axes, "x", min(p50) * scale / 3, max(p95) * scale * 12)
    axes.set_xlabel(f"time of a call ({unit})")
    plots.title(axes, "Time of one call", note)
    plots.save(figure, path)
