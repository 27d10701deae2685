"""Plots of latency: over the percentiles, and over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.analysis.latency_curves import LatencyCurves, Percentiles
from bench.analysis.run import Analysis
from bench.core.types import Floats
from bench.report import plots
from bench.report.plots import BLACK, BLUE, ORANGE, PURPLE, SERIES, SKY, Axes, NullFormatter
from bench.stats.percentiles import PERCENTILES

LOG_FROM: Final = 12.0
"""A range of latencies beyond this factor gets a logarithmic axis."""

_FIRST: Final = 0.1
"""First percentile of the plots: faster requests would fill half of a logarithmic axis."""


def percentiles(analysis: Analysis, curves: LatencyCurves, path: Path) -> bool:
    """Latency against percentile, both clocks, with intervals; False without a successful request."""
    found = curves.percentiles
    if found is None:
        return False
    figure, (axes,) = plots.new_figure()
    scale, unit = plots.seconds_scale(float(found.from_due[-1]))
    tails, due, send = _tail(found)
    axes.plot(tails, due * scale, color=BLUE, linewidth=2.4, label="from due (client view)")
    axes.plot(tails, send * scale, color=ORANGE, linestyle="--", linewidth=1.4, label="from send (server view)")
    _intervals(axes, analysis, scale)
    _latency_axis(axes, float(min(due[0], send[0])) * scale, float(due[-1]) * scale, unit)
    _percentile_axis(axes, float(tails[-1]))
    plots.title(axes, "Latency percentiles", _population(analysis))
    plots.legend(axes)
    plots.save(figure, path)
    return True


def side_by_side(runs: Sequence[tuple[str, LatencyCurves]], path: Path) -> bool:
    """Latency from due against percentile, one line a run; False if no run has a successful request."""
    # The colour of a run does not depend on whether others have successful requests.
    found = [
        (SERIES[index % len(SERIES)], ("-", "--", ":", "-.")[index // len(SERIES) % 4], name, curves.percentiles)
        for index, (name, curves) in enumerate(runs)
        if curves.percentiles is not None
    ]
    if not found:
        return False
    # One line of the legend per run.
    figure, (axes,) = plots.new_figure(height=4.2 + 0.22 * len(found))
    largest = max(float(entry.from_due[-1]) for *_, entry in found)
    scale, unit = plots.seconds_scale(largest)
    drawn = [_tail(entry) for *_, entry in found]
    for (color, style, name, _), (tails, due, _) in zip(found, drawn, strict=True):
        axes.plot(tails, due * scale, color=color, linestyle=style, label=name)
    _latency_axis(axes, min(float(due[0]) for _, due, _ in drawn) * scale, largest * scale, unit)
    _percentile_axis(axes, min(float(tails[-1]) for tails, _, _ in drawn))
    plots.title(axes, "Latency percentiles, from due", "successful requests, warm-up left out")
    plots.legend(axes, columns=1)
    plots.save(figure, path)
    return True


def over_time(analysis: Analysis, curves: LatencyCurves, path: Path) -> bool:
    """Percentiles of each interval over the run; False without a successful request."""
    series = curves.series
    if not series["time"].size or np.isnan(series["from_due_p50"]).all():
        return False
    figure, (axes,) = plots.new_figure()
    largest = float(np.nanmax(series["from_due_p99"]))
    scale, unit = plots.seconds_scale(largest)
    time = series["time"] + curves.interval / 2
    for name, color, label in (("p99", PURPLE, "p99"), ("p95", SKY, "p95"), ("p50", BLUE, "p50")):
        axes.plot(time, series[f"from_due_{name}"] * scale, color=color, label=f"{label} from due", marker=".")
    axes.plot(time, series["from_send_p99"] * scale, color=BLACK, linestyle=":", linewidth=1.2, label="p99 from send")
    _latency_axis(axes, float(np.nanmin(series["from_due_p50"])) * scale, largest * scale, unit)
    axes.set_xlim(0, float(series["time"][-1]) + curves.interval)
    axes.set_xlabel("time since the run began (s)")
    plots.mark_warmup(axes, curves.begins, curves.ends)
    plots.title(axes, "Latency over time", f"successful requests, by when they were due, each {curves.interval:g} s")
    plots.legend(axes)
    plots.save(figure, path)
    return True


def _population(analysis: Analysis) -> str:
    successful, due = analysis.summary.counts["ok"], analysis.summary.due
    failed = f", {due - successful:,} failed left out" if successful < due else ""
    return f"{successful:,} successful requests{failed}, warm-up left out; bars: 95 % intervals"


def _tail(found: Percentiles) -> tuple[Floats, Floats, Floats]:
    """The visible part of the curves: 1 - fraction, for the logarithmic axis, and both latencies."""
    drawn = found.fractions >= min(_FIRST, float(found.fractions[-1]))
    return 1 - found.fractions[drawn], found.from_due[drawn], found.from_send[drawn]


def _intervals(axes: Axes, analysis: Analysis, scale: float) -> None:
    for clock, color, size in (("from_due", BLUE, 6), ("from_send", ORANGE, 3.5)):
        for name, fraction in PERCENTILES.items():
            estimate = analysis.summary.metrics[f"{clock}_{name}"]
            if estimate.center is None:
                continue
            if clock == "from_due" and estimate.lo is not None and estimate.hi is not None:
                below, above = estimate.center - estimate.lo, estimate.hi - estimate.center
                error = [[below * scale], [above * scale]]
                axes.errorbar([1 - fraction], [estimate.center * scale], error, color=color, capsize=4, linewidth=1.4)
            axes.plot([1 - fraction], [estimate.center * scale], "o", color=color, markersize=size)


def _latency_axis(axes: Axes, smallest: float, largest: float, unit: str) -> None:
    axes.set_ylabel(f"latency ({unit})")
    if smallest > 0 and largest / smallest > LOG_FROM:
        plots.log_axis(axes, "y", smallest / 1.3, largest * 1.5)
    else:
        axes.set_ylim(0, largest * 1.1 if largest > 0 else 1.0)


def _percentile_axis(axes: Axes, smallest: float) -> None:
    """An axis on which each further nine has the same width, up to the slowest request."""
    ticks = [0.9, 0.5, 0.25, 0.1, 0.05, 0.01, 0.001, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
    axes.set_xscale("log")
    axes.set_xlim(1 - _FIRST, min(smallest * 0.8, 0.5))
    shown = [tick for tick in ticks if tick >= smallest * 0.8]
    axes.set_xticks(shown, [f"{100 * (1 - tick):.8g}" for tick in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.set_xlabel("percentile (%)")
