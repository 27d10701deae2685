"""The history of metrics as text and as a picture."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.core.atomic_files import write_atomically
from bench.core.units import format_change
from bench.gate.history import ChangePoint, MetricSeries
from bench.report import plots, text

_SUBTITLE: Final = 130
"""Characters of a line below the title of a plot."""


def history_text(series: Sequence[MetricSeries]) -> str:
    """A line for each change point, and how often one is found by chance."""
    lines: list[str] = []
    for load in dict.fromkeys(entry.load for entry in series):
        own = [entry for entry in series if entry.load == load]
        lines += [f"{load}: {len(own[0].runs)} runs"]
        for entry in own:
            last = text.metric_value(entry.metric, entry.values[-1])
            lines += [f"  {entry.metric.title}: {last} now" + ("" if entry.points else ", no change point")]
            lines += [f"    {_line(entry, point)}" for point in entry.points]
        lines += [
            f"  by chance: {100 * own[0].false_alarms:.2g} % of series of this length without a change have a change "
            f"point (simulated; nominal {100 * own[0].p_value:g} %)"
        ]
    return "\n".join(lines) + "\n"


def _line(series: MetricSeries, point: ChangePoint) -> str:
    unit = "points" if series.metric.unit == "share" else "%"
    call = {True: "worse", False: "better", None: "changed"}[point.worse]
    return f"{format_change(100 * point.change)} {unit} from {point.run} on ({call}, p = {point.p:.2g})"


def plot_history(
    series: Sequence[MetricSeries], path: Path, write: Callable[[Path, bytes], None] = write_atomically
) -> None:
    """Writes a PNG by `write`: a plot for each metric, runs in order, the level between change points as a line."""
    subtitles = [
        textwrap.fill(
            f"{entry.load}; by chance a change point in {100 * entry.false_alarms:.2g} % of such series", _SUBTITLE
        )
        for entry in series
    ]
    lines = sum(len(subtitle.splitlines()) for subtitle in subtitles)
    figure, axes = plots.new_figure(len(series), height=1.2 + 2.0 * len(series) + 0.2 * lines, share=False)
    for plot, entry, subtitle in zip(axes, series, subtitles, strict=True):
        times = entry.metric.unit == "s"
        factor, unit = plots.seconds_scale(max(entry.values)) if times else (1.0, entry.metric.unit)
        scaled = [value * factor for value in entry.values]
        plot.plot(range(len(scaled)), scaled, "o", markersize=4, color=plots.BLUE)
        for begin, end, level in entry.levels:
            plot.plot([begin - 0.4, end - 0.6], [level * factor] * 2, color=plots.ORANGE, linewidth=2.2)
        for point in entry.points:
            colour = plots.RED if point.worse else plots.GREEN
            plot.axvline(point.index - 0.5, color=colour, linewidth=1.2, linestyle="--")
        plots.title(plot, entry.metric.title, subtitle)
        plot.set_ylabel(unit or "count")
        plot.set_xlabel("run, in the order of time")
        # With room above, so that levels that are close together are not cut off at the edge.
        plot.set_ylim(0, 1.15 * max(scaled) or None)
    plots.save(figure, path, write)
