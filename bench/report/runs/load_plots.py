"""Plots of the load over time: throughput, requests in flight, the server's own metrics."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from bench.analysis.compare import side_estimate
from bench.analysis.latency_curves import LatencyCurves
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.units import pluralize
from bench.report import plots
from bench.report.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SERIES, SKY, YELLOW, Axes
from bench.report.runs.latency_plots import LOG_FROM
from bench.stats.estimate import Estimate

FAILURES: Final = {
    "wrong_answer": (RED, "wrong answer"),
    "timeout": (PURPLE, "timeout"),
    "unavailable": (ORANGE, "unavailable"),
    "rejected": (YELLOW, "rejected"),
    "invalid_response": (SKY, "invalid response"),
    "dropped": (BLACK, "dropped (never sent)"),
}


def throughput(analysis: Analysis, curves: LatencyCurves, path: Path) -> bool:
    """Requests/s due, sent and successful, and failures by outcome; False without a request."""
    series = curves.series
    if not series["time"].size:
        return False
    failed = [name for name in FAILURES if series[name].any()]
    rows = 2 if failed else 1
    figure, axes = plots.new_figure(rows, height=4.4 + 1.8 * (rows - 1), heights=[2.4, 1][:rows])
    time = series["time"] + curves.interval / 2
    asked = "due (schedule)" if analysis.run.manifest.open_loop else "due (users)"
    axes[0].plot(time, curves.rate("ok"), color=BLUE, linewidth=2.2, label="successful")
    axes[0].plot(time, curves.rate("sent"), color=ORANGE, linewidth=1.4, label="sent")
    axes[0].plot(time, curves.rate("due"), color=BLACK, linestyle="--", linewidth=1.0, label=asked)
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("requests/s")
    plots.title(axes[0], "Throughput over time", f"each {curves.interval:g} s")
    if failed:
        floor = np.zeros(time.size)
        for name in failed:
            color, label = FAILURES[name]
            rate = curves.failure_rate(series[name])
            axes[1].bar(
                time, rate, curves.interval * 0.9, floor, color=color, label=label, edgecolor="white", linewidth=0
            )
            floor = floor + rate
        axes[1].set_ylabel("failed requests/s")
    _time_axis(axes, curves)
    plots.legend_below(figure, columns=5)
    plots.save(figure, path)
    return True


def in_flight(analysis: Analysis, curves: LatencyCurves, path: Path) -> bool:
    """Requests in flight and users over time; False without a request."""
    series, client = curves.series, curves.client
    if not series["time"].size:
        return False
    figure, (axes,) = plots.new_figure(height=4.0)
    time = series["time"] + curves.interval / 2
    axes.plot(time, curves.in_flight, color=BLUE, label="in flight (sent, not done), mean")
    if not np.isnan(client["waiting"]).all() and np.nanmax(client["waiting"]) > 0:
        axes.plot(client["time"], client["waiting"], color=RED, label="waiting (due, not sent)")
    users, present = analysis.run.manifest.workload.users, analysis.summary.users
    most = users if present is None else present.most
    if most <= 4 * max(float(np.nanmax(curves.in_flight, initial=0.0)), 1.0):
        if present is None or present.constant:
            axes.axhline(most, color=GREY, linestyle="--", label=f"users: {most:,}")
        else:
            axes.step(client["time"], client["users"], where="pre", color=GREY, linestyle="--", label="users")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("requests")
    _time_axis([axes], curves)
    plots.title(
        axes, "Requests in flight", f"L = λ·W, each {curves.interval:g} s; {present or pluralize(users, 'user')}"
    )
    plots.legend(axes)
    plots.save(figure, path)
    return True


def server(analysis: Analysis, curves: LatencyCurves, path: Path) -> bool:
    """The server's own timings, and CPU utilization; False if the server was not sampled."""
    found, client = curves.server, curves.client
    timed = any(not np.isnan(found[name]).all() for name in ("request", "runtime", "queue"))
    used = not np.isnan(found["cpu"]).all()
    if not timed and not used:
        return False
    rows = int(timed) + 1
    figure, axes = plots.new_figure(rows, height=2.4 + 1.9 * rows)
    if timed:
        largest = max(float(np.nanmax(found[name], initial=0.0)) for name in ("request", "runtime", "queue"))
        scale, unit = plots.seconds_scale(largest)
        lines = [("request", BLUE, "-", "request"), ("runtime", GREEN, "--", "session, queueing included")]
        lines.append(("queue", RED, ":", "batch queueing delay"))
        for name, color, style, label in lines:
            if not np.isnan(found[name]).all():
                axes[0].plot(found["time"], found[name] * scale, color=color, linestyle=style, label=label)
        axes[0].set_ylabel(f"mean per request ({unit})")
        axes[0].set_ylim(bottom=0)
    cores = [(found["time"], found["cpu"], PURPLE, "-", "server")]
    cores.append((client["time"], client["cpu"], ORANGE, "--", "busiest load worker"))
    cores.append((client["time"], client["machine_cpu"], GREY, ":", "load generator's machine"))
    for time, values, color, style, label in cores:
        if not np.isnan(values).all():
            axes[-1].plot(time, values, color=color, linestyle=style, label=f"CPU: {label}")
    axes[-1].set_ylabel("CPU utilization (cores)")
    axes[-1].set_ylim(bottom=0)
    plots.title(axes[0], "Inside the server", "from its own counters, each second" if timed else "")
    _time_axis(axes, curves)
    plots.legend_below(figure, columns=3)
    plots.save(figure, path)
    return True


def intervals(runs: Sequence[tuple[str, Analysis]], path: Path) -> bool:
    """Throughput and latency of several runs, a dot with an interval for each; False without a value."""
    names = [name for name in ("throughput", "from_due_p50", "from_due_p95", "from_due_p99") if _known(runs, name)]
    if not names:
        return False
    height = 0.4 + len(names) * (0.7 + 0.24 * len(runs))
    figure, axes = plots.new_figure(len(names), height=height, share=False)
    for axis, name in zip(axes, names, strict=True):
        metric = METRICS[name]
        found = [(run, side_estimate(metric, [analysis])) for run, analysis in runs]
        ends = [end for _, estimate in found for end in (estimate.lo, estimate.center, estimate.hi) if end is not None]
        scale, unit = plots.seconds_scale(max(ends)) if metric.unit == "s" else (1.0, "")
        shown = f"{metric.title} ({unit})" if unit else metric.title
        lo, hi = _dot_axis(axis, min(ends) * scale, max(ends) * scale)
        for row, (_, estimate) in enumerate(found):
            _dot(axis, row, estimate, scale, (lo, hi))
        axis.set_yticks(range(len(runs)), [run for run, _ in runs], fontsize=9)
        axis.set_ylim(len(runs) - 0.5, -0.5)
        axis.set_title(f"{shown}, with 95 % intervals", fontsize=10, loc="left")
    plots.save(figure, path)
    return True


def _dot_axis(axis: Axes, smallest: float, largest: float) -> tuple[float, float]:
    """Limits of the axis of dots; logarithmic where values differ widely."""
    if smallest > 0 and largest / smallest > LOG_FROM:
        limits = (smallest / 1.3, largest * 1.3)
        plots.log_axis(axis, "x", *limits)
    else:
        limits = (0.0, largest * 1.08 if largest > 0 else 1.0)
        axis.set_xlim(*limits)
    return limits


def _dot(axis: Axes, row: int, estimate: Estimate, scale: float, limits: tuple[float, float]) -> None:
    """A dot with its interval; an open end is an arrow at the edge."""
    if estimate.center is None:
        axis.text(0.01, row, "no value", va="center", color=GREY, fontsize=9, transform=axis.get_yaxis_transform())
        return
    color = SERIES[row % len(SERIES)]
    if estimate.lo is not None:
        end = limits[1] if estimate.hi is None else estimate.hi * scale
        axis.hlines(row, estimate.lo * scale, end, color=color, linewidth=4, alpha=0.35)
        if estimate.hi is None:
            axis.plot(end, row, ">", color=color, markersize=6, clip_on=False)
    axis.plot(estimate.center * scale, row, "o", color=color, markersize=6)


def _known(runs: Sequence[tuple[str, Analysis]], name: str) -> bool:
    return any(side_estimate(METRICS[name], [analysis]).center is not None for _, analysis in runs)


def _time_axis(axes: Sequence[Axes], curves: LatencyCurves) -> None:
    axes[-1].set_xlabel("time since the run began (s)")
    ends = [*(curves.series["time"][-1:] + curves.interval), *curves.server["time"][-1:], curves.interval]
    axes[-1].set_xlim(0, max(map(float, ends)))
    for axis in axes:
        plots.mark_warmup(axis, curves.begins, curves.ends)
