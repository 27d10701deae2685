"""A capacity measurement as a page: the sentence a manager reads, four figures, charts, and the whole report."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.capacity.model.validation import median_error
from bench.capacity.plan.result import CapacityResult
from bench.capacity.report.curves import fine_rates
from bench.capacity.report.text_report import (
    plan_text,
    rate,
    rate_interval,
    sustained_text,
    sustains,
    validation_text,
)
from bench.core.types import Floats
from bench.core.units import format_percent, format_rate, pluralize
from bench.report.charts import Chart, Mark, Series
from bench.report.page import page_data, render_page
from bench.report.screen import BAD, GOOD, PLAIN, Figure, FirstScreen, Value

_COLUMNS: Final = {"p50": 0, "p95": 2, "p99": 3}
"""Percentiles and their colours in the page's palette."""
_OBJECTIVE: Final = 4
_FINE: Final = 80


def capacity_html(result: CapacityResult, view: dict[str, Any]) -> str:
    """The page.

    Args:
        result: of the measurement.
        view: the values of `capacity.md`.
    """
    charts = [chart for chart in (latency_chart(result), _throughput(result)) if chart.series]
    sections = [("summary", "Summary"), ("charts", "Charts"), ("plan", "Plan"), ("validation", "Validation")]
    sections += [("model", "Model"), ("steps", "Steps"), ("setup", "Setup")]
    return render_page(
        "bench.capacity.report",
        "capacity.html.j2",
        charts=charts,
        sections=[entry for entry in sections if entry[0] != "plan" or view["plan"]],
        data=page_data("capacity", charts),
        screen=capacity_screen(result),
        view=view,
    )


def capacity_screen(result: CapacityResult) -> FirstScreen:
    """The first screen: what one server holds, the servers that a rate needs, and how far to trust both."""
    return FirstScreen(
        word=f"One server {sustained_text(result.sustained, result.slo)}.",
        state=GOOD if result.sustained.attainable else BAD,
        headline="",
        reasons=(),
        sentences=list(_sentences(result)),
        figures=[_sustained(result), _saturated(result), _trust(result), _replicas(result)],
    )


def _sentences(result: CapacityResult) -> Iterator[str]:
    if result.planned is not None:
        yield f"{plan_text(result.planned)}."
    modelled = rate_interval(result.model.capacity)
    yield f"Saturated, it gives {rate(result.saturated)}, measured; {modelled} by the model."
    text = validation_text(result.validation, result.left_out)
    yield f"How far the model was off on runs that it had not seen: {text}."


def _sustained(result: CapacityResult) -> Figure:
    found = result.sustained.rate
    value = Value("", "", found.center, rate(found.center), rate_interval(found).partition(" ")[2], found.confidence)
    if found.center is None or not result.sustained.attainable:
        return Figure("One server sustains", "no rate", BAD, (), (str(result.slo), result.sustained.reason))
    return Figure(f"One server {sustains(found)}", "", GOOD, (value,), (f"within {result.slo}",))


def _saturated(result: CapacityResult) -> Figure:
    value = Value("", "", result.saturated, rate(result.saturated), "")
    return Figure("Saturated", "", PLAIN, (value,), ("measured in closed loop; latency then grows with every user",))


def _trust(result: CapacityResult) -> Figure:
    error = median_error(result.validation)
    if error is None:
        return Figure(
            "Error of the model", "not known", PLAIN, (), (validation_text(result.validation, result.left_out),)
        )
    inside = sum(point.inside for point in result.validation)
    note = f"{inside} of {pluralize(len(result.validation), 'value')} inside the 90 % interval"
    return Figure(
        "Error of the model", format_percent(error), PLAIN, (), ("median, on runs that it had not seen", note)
    )


def _replicas(result: CapacityResult) -> Figure:
    if result.planned is None:
        note = result.unplanned or "give --plan rate=R to plan"
        return Figure("Servers needed", "not planned", BAD if result.unplanned else PLAIN, (), (note,))
    row = result.planned.row
    spare = row.replicas - row.needed
    notes = [f"{row.needed:,} for the rate and {spare:,} spare", f"utilization {format_percent(row.utilisation, 2)}"]
    return Figure(f"Servers for {format_rate(row.rate)}", f"{row.replicas:,}", PLAIN, (), notes)


def latency_chart(result: CapacityResult) -> Chart:
    """Latency by rate: the model with its intervals, the measured runs, and the objective."""
    model = result.model
    x = fine_rates(model, _FINE)
    known, beyond = x <= model.valid[1], x >= model.valid[1]
    predictions = [model.predict(float(value), extrapolate=True).latency for value in x]
    series = []
    for name, color in _COLUMNS.items():
        found = {end: _floats([getattr(entry[name], end) for entry in predictions]) for end in ("center", "lo", "hi")}
        for text, end, where, dash in (
            (f"model, {name}", "center", known, False),
            (f"model, {name}, lower end", "lo", known, True),
            (f"model, {name}, upper end", "hi", known, True),
            (f"model, {name}, extrapolated", "center", beyond, True),
        ):
            values = np.where(where, found[end], np.nan)
            series.append(Series(text, values, color, dash, group=_group(name)))
    for name, limit in result.slo.latency.items():
        series.append(Series(f"objective, {name}", np.full(x.size, limit), _OBJECTIVE, dash=True))
    note = (
        "dots are measured runs with their 95 % intervals; above the highest measured rate the model is one dashed "
        "line, extrapolated"
    )
    title, marks = "Latency by rate", list(_measured(result.measurements))
    return Chart("capacity-latency", title, note, x, "rate", "latency from due", "s", series, log=True, marks=marks)


def _group(name: str) -> str:
    """The entry of the legend for a percentile: its lines and its dots."""
    return f"model, {name}, with its 90 % interval"


def _measured(measurements: Sequence[Measurement]) -> Iterator[Mark]:
    for step in measurements:
        if step.rate is None or step.stage is Stage.REPLICAS:
            continue
        kind = "in the fit" if step.stage is Stage.KNEE else "not in the fit"
        for name, color in _COLUMNS.items():
            if name in step.raw:
                found = step.latency[name]
                label, center = f"measured, {name}, {kind}", step.raw[name]
                yield Mark(step.rate, label, center, found.lo, found.hi, found.n, color, _group(name))


def _throughput(result: CapacityResult) -> Chart:
    """Throughput by users in closed loop, with the Universal Scalability Law."""
    steps = [step for step in result.measurements if step.stage is Stage.LADDER]
    users = _floats([step.users for step in steps])
    values = _floats([step.throughput.center for step in steps])
    series = [Series("measured", values, 0)]
    if result.usl is not None and users.size:
        series.append(Series("Universal Scalability Law", np.asarray(result.usl.throughput(users)), 1, dash=True))
    series.append(Series("saturated", np.full(users.size, result.saturated), 7, dash=True))
    marks = [
        Mark(step.users, f"{pluralize(step.users, 'user')}", found.center, found.lo, found.hi, found.n, 0)
        for step in steps
        if step.users is not None and (found := step.throughput).center is not None
    ]
    note = "each user sends, waits for the answer, and sends again; bars are 95 % intervals"
    title = "Throughput by users in closed loop"
    return Chart(
        "capacity-throughput",
        title,
        note,
        users,
        "users",
        "successful requests/s",
        "1/s",
        series if steps else [],
        marks=marks,
    )


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)
