"""Plots of a capacity measurement: throughput by users, latency by rate, validation, replicas and cost by rate."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Final

import numpy as np

from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.capacity.plan.plan import PlanRow
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.what_if import FleetView
from bench.capacity.report.curves import fine_rates
from bench.core.atomic_files import write_named
from bench.core.units import format_rate, format_seconds
from bench.report import plots
from bench.report.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Axes

_COLUMNS: Final = {"p50": BLUE, "p95": GREEN, "p99": PURPLE}
_FINE: Final = 120


def throughput(result: CapacityResult, path: Path) -> None:
    """Throughput and latency of the ladder by users, with the Universal Scalability Law."""
    measurements = [m for m in result.measurements if m.stage is Stage.LADDER]
    users = np.array([m.users or 0 for m in measurements], np.float64)
    figure, (upper, lower) = plots.new_figure(2, height=6.6, heights=[1.5, 1])
    rates = np.array([m.throughput.center or np.nan for m in measurements])
    ends = np.array([[m.throughput.lo or np.nan, m.throughput.hi or np.nan] for m in measurements])
    spread = np.abs(ends.T - rates)
    upper.errorbar(users, rates, np.nan_to_num(spread), fmt="o", color=BLUE, capsize=3, label="measured, 95 % interval")
    if result.usl is not None:
        fine = np.geomspace(users.min(), users.max(), _FINE)
        upper.plot(fine, result.usl.throughput(fine), color=ORANGE, label="Universal Scalability Law")
    upper.axhline(
        result.saturated, color=GREY, linestyle="--", label=f"saturated: {format_rate(result.saturated)}, measured"
    )
    upper.set_ylim(bottom=0)
    upper.set_ylabel("successful requests/s")
    plots.title(upper, "Throughput by users in closed loop", "each user sends, waits for the answer, and sends again")
    factor, unit = plots.seconds_scale(max((m.raw.get("p99", 0.0) for m in measurements), default=1.0))
    for name, color in _COLUMNS.items():
        lower.plot(
            users,
            [factor * m.raw.get(name, np.nan) for m in measurements],
            "o-",
            color=color,
            label=name,
        )
    lower.set_ylim(bottom=0)
    lower.set_ylabel(f"latency, {unit}")
    lower.set_xlabel("users")
    for axes in (upper, lower):
        plots.log_axis(axes, "x", users.min() * 0.9, users.max() * 1.1)
    plots.legend_below(figure, columns=6)
    plots.save(figure, path)


def latency(result: CapacityResult, path: Path) -> None:
    """Latency by rate: the model with its intervals, the runs of the fit and of the validation, and the objective."""
    model = result.model
    figure, (axes,) = plots.new_figure(height=5.6)
    rates = fine_rates(model, _FINE)
    predictions = [model.predict(float(rate), extrapolate=True) for rate in rates]
    tails = [m.raw.get("p99", 0.0) for m in result.measurements if m.rate is not None]
    factor, unit = plots.seconds_scale(max([*tails, *result.slo.latency.values()], default=1.0))
    known = rates <= model.valid[1]
    shown: list[float] = []
    for name, color in _COLUMNS.items():
        center = np.array([_number(entry.latency[name].center) for entry in predictions]) * factor
        lo = np.array([_number(entry.latency[name].lo) for entry in predictions]) * factor
        hi = np.array([_number(entry.latency[name].hi) for entry in predictions]) * factor
        axes.plot(rates[known], center[known], color=color, label=f"model, {name}")
        beyond = rates >= model.valid[1]
        axes.plot(rates[beyond], center[beyond], color=color, linestyle=":")
        axes.fill_between(rates[known], lo[known], hi[known], color=color, alpha=0.15, linewidth=0)
        shown += [*center[known & np.isfinite(center)]]
        shown += _plot_measurements(axes, result.measurements, name, color, factor)
    _objective(axes, result, factor, unit)
    axes.axvline(
        result.model.parameter_set.capacity, color=GREY, linestyle="--", linewidth=1.2, label="capacity, by the model"
    )
    axes.axvline(
        model.knee, color=GREY, linestyle=":", linewidth=1.4, label=f"knee: {format_rate(model.knee)}, by the model"
    )
    shown += [factor * limit for limit in result.slo.latency.values()]
    plots.log_axis(axes, "y", min(shown) * 0.8, max(shown) * 1.4)
    axes.set_xlim(0, max(model.parameter_set.capacity, float(rates[-1])) * 1.06)
    axes.set_xlabel("rate of Poisson arrivals, requests/s")
    axes.set_ylabel(f"latency from due, {unit}")
    _marker_legend(axes)
    plots.title(
        axes,
        "Latency by rate",
        "bands: 90 % interval of the long run; bars: 95 % interval of a run; dotted: above the highest measured rate",
    )
    plots.legend(axes, columns=4)
    plots.save(figure, path)


def _plot_measurements(
    axes: Axes, measurements: Sequence[Measurement], name: str, color: str, factor: float
) -> list[float]:
    """Measured percentiles: filled markers for the runs of the fit, open markers for those of the validation."""
    found = []
    for measurement in measurements:
        if measurement.rate is None or name not in measurement.raw or measurement.stage is Stage.REPLICAS:
            continue
        value = factor * measurement.raw[name]
        fitted = measurement.stage is Stage.KNEE
        summary = measurement.latency[name]
        if summary.lo is not None and summary.hi is not None:
            axes.plot(
                [measurement.rate] * 2, [factor * summary.lo, factor * summary.hi], color=color, linewidth=1, zorder=3
            )
        axes.plot(
            measurement.rate,
            value,
            "o" if fitted else "D",
            color=color,
            markerfacecolor=color if fitted else "white",
            markersize=5 if fitted else 7,
            zorder=4,
        )
        found.append(value)
    return found


def _marker_legend(axes: Axes) -> None:
    axes.plot([], [], "o", color=BLACK, markersize=5, label="measured, in the fit")
    axes.plot([], [], "D", color=BLACK, markerfacecolor="white", markersize=7, label="measured, validation")


def _objective(axes: Axes, result: CapacityResult, factor: float, unit: str) -> None:
    for name, limit in result.slo.latency.items():
        axes.axhline(factor * limit, color=RED, linewidth=1.4, label=f"objective: {name} {format_seconds(limit)}")
    sustained = result.sustained
    if sustained.attainable and sustained.rate.lo is not None:
        assert sustained.rate.center is not None
        axes.axvspan(sustained.rate.lo, sustained.rate.hi or sustained.rate.center, color=RED, alpha=0.12, linewidth=0)
        axes.axvline(
            sustained.rate.center,
            color=RED,
            linewidth=1.2,
            linestyle="-.",
            label=f"sustained: {format_rate(sustained.rate.center)}, by the model",
        )


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def validation(result: CapacityResult, path: Path) -> bool:
    """Predicted against measured percentiles of the validation runs; returns False without one."""
    if not result.validation:
        return False
    figure, (axes,) = plots.new_figure(height=5.0)
    largest = max(max(value.measured, value.predicted.hi or 0.0) for value in result.validation)
    factor, unit = plots.seconds_scale(largest)
    values: list[float] = []
    for name, color in _COLUMNS.items():
        found = [value for value in result.validation if value.column == name]
        center = factor * np.array([_number(value.predicted.center) for value in found])
        lo = factor * np.array([_number(value.predicted.lo) for value in found])
        hi = factor * np.array([_number(value.predicted.hi) for value in found])
        measured = factor * np.array([value.measured for value in found])
        # One array: matplotlib takes two of one value each for something else.
        spread = np.array([center - lo, hi - center])
        axes.errorbar(measured, center, spread, fmt="D", color=color, capsize=3, label=name)
        values += [*lo, *hi, *measured]
    ends = (min(values) * 0.85, max(values) * 1.15)
    axes.plot(ends, ends, color=GREY, linestyle="--", label="predicted = measured")
    plots.log_axis(axes, "x", *ends)
    plots.log_axis(axes, "y", *ends)
    axes.set_xlabel(f"measured, {unit}")
    axes.set_ylabel(f"predicted, {unit}")
    plots.title(axes, "Validation", "bars: 90 % interval of a run of that length and schedule")
    plots.legend(axes)
    plots.save(figure, path)
    return True


def replicas(table: Sequence[PlanRow], planned: PlanRow, path: Path) -> None:
    """Replicas by rate, and their price if there is one."""
    priced = planned.price is not None
    figure, axes = plots.new_figure(2 if priced else 1, height=6.4 if priced else 4.4)
    rates = [row.rate for row in table]
    axes[0].plot(rates, [row.replicas for row in table], "o-", color=BLUE, label="replicas, including spare ones")
    axes[0].plot(rates, [row.needed for row in table], "s--", color=ORANGE, label="needed for the rate")
    axes[0].plot(planned.rate, planned.replicas, "o", color=RED, markersize=10, zorder=3, label="planned")
    plots.count_axis(axes[0], "replicas")
    plots.title(axes[0], "Replicas by rate")
    if priced:
        axes[1].plot(rates, [_number(row.price) for row in table], "o-", color=GREEN, label="price per hour")
        axes[1].plot(planned.rate, _number(planned.price), "o", color=RED, markersize=10, zorder=3)
        axes[1].set_ylim(bottom=0)
        axes[1].set_ylabel("price per hour")
    axes[-1].set_xlabel("rate, requests/s")
    plots.legend_below(figure, columns=4)
    plots.save(figure, path)


def day(result: CapacityResult, path: Path) -> bool:
    """Rate and replicas over a day; False without a day's plan."""
    planned = result.planned
    if planned is None or planned.diurnal is None:
        return False
    spans, rows = planned.diurnal.spans, planned.diurnal.rows
    hours = [*(span.start / 3600 for span in spans), (spans[-1].start + spans[-1].seconds) / 3600]
    figure, (upper, lower) = plots.new_figure(2, height=6.0)
    upper.stairs([span.rate for span in spans], hours, color=BLUE, linewidth=1.8, label="rate")
    upper.set_ylim(bottom=0)
    upper.set_ylabel("rate, requests/s")
    plots.title(upper, "Replicas over the day")
    lower.stairs(
        [row.replicas for row in rows], hours, color=ORANGE, linewidth=1.8, label="replicas that follow the rate"
    )
    lower.axhline(planned.diurnal.peak.replicas, color=GREY, linestyle="--", label="replicas of the peak, all day")
    plots.count_axis(lower, "replicas")
    lower.set_xlabel(f"hours since {spans[0].label}")
    plots.legend_below(figure, columns=3)
    plots.save(figure, path)
    return True


def fleet(views: Sequence[FleetView], limits: Mapping[str, float], path: Path) -> None:
    """Latency, losses and replicas of simulated fleets over time, one colour for each policy, as a user's file.

    Args:
        views: the simulations, of one objective.
        limits: latency limits of the objective by name, seconds.
        path: the PNG file.
    """
    figure, axes = plots.new_figure(3, height=7.6, heights=[2, 1, 1])
    # Where every request of a fleet is lost, it has no latency.
    shown = np.concatenate([*(view.p99[np.isfinite(view.p99)] for view in views), [*limits.values()]])
    factor, unit = plots.seconds_scale(float(shown.max()))
    for view, color in zip(views, plots.SERIES, strict=False):
        axes[0].plot(view.times, factor * view.p99, color=color, label=view.policy)
        axes[0].plot(view.times[view.violates], factor * view.p99[view.violates], ".", color=color, zorder=3)
        axes[1].plot(view.times, 100 * view.lost_fraction, color=color)
        changes = [*view.replicas, (float(view.times[-1]), view.replicas[-1][1])]
        axes[2].step([time for time, _ in changes], [count for _, count in changes], color=color, where="post")
    for (name, limit), style in zip(limits.items(), cycle(("--", ":", "-.")), strict=False):
        label = f"objective: {name} {format_seconds(limit)}"
        axes[0].axhline(factor * limit, color=RED, linewidth=1.2, linestyle=style, label=label)
    plots.log_axis(axes[0], "y", factor * float(shown.min()) * 0.8, factor * float(shown.max()) * 1.3)
    axes[0].set_ylabel(f"p99, {unit}")
    axes[1].set_ylim(bottom=0)
    axes[1].set_ylabel("lost, %")
    plots.count_axis(axes[2], "replicas")
    axes[2].set_xlabel("seconds")
    plots.title(
        axes[0],
        "A simulated fleet",
        "p99 of the requests that arrive in each time window; dots: it violates the objective",
    )
    plots.legend_below(figure, columns=4)
    plots.save(figure, path, write_named)
