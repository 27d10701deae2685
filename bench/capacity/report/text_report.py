"""A capacity measurement for people: the few lines that end the command, and `capacity.md`."""

from collections.abc import Iterable, Iterator, Sequence

from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.capacity.model.validation import ValidationPoint, median_error
from bench.capacity.plan.plan import ComparedSweep, PlanRow, SimulatedPlan, cheapest
from bench.capacity.plan.result import CapacityResult, Planned
from bench.capacity.plan.what_if import FleetView
from bench.core.units import (
    ABSENT,
    format_change,
    format_estimate,
    format_number,
    format_percent,
    format_rate,
    format_seconds,
    pluralize,
)
from bench.report.text import table as text_table
from bench.stats.estimate import Estimate

Rows = Sequence[Sequence[str]]


def capacity_lines(result: CapacityResult) -> Iterator[str]:
    """What the command says at its end."""
    yield f"one server ({result.label}) {sustained_text(result)}"
    if result.sentences > 1:
        yield f"  {sentences_text(result)}"
    yield f"  saturated at {rate(result.saturated)}, measured; at {rate_interval(result.model.capacity)} by the model"
    yield f"  the model on runs that it never saw: {validation_text(result.checks)}"
    if result.replicas is not None:
        yield f"  {pluralize(result.replicas.replicas, 'replica')}: {replica_text(result)}"
    if result.planned is not None:
        yield f"  plan, by the model: {plan_text(result.planned.row, str(result.planned.options.redundancy))}"
    yield from (f"  note: {warning}" for warning in result.warnings)


def sustained_text(result: CapacityResult) -> str:
    """What one server carries within the objective by the model, beside what was measured; or why nothing."""
    sustained = result.sustained
    if not sustained.attainable:
        return f"meets {result.slo} at no rate: {sustained.reason}"
    found = f"carries {rate_interval(sustained.rate)} within {result.slo} by the model"
    parts = []
    if sustained.highest_passed is not None:
        parts.append(f"{rate(sustained.highest_passed)} kept it")
    if sustained.lowest_failed is not None:
        parts.append(f"{rate(sustained.lowest_failed)} did not")
    return f"{found} (measured: {', '.join(parts)})" if parts else found


def sentences_text(result: CapacityResult) -> str:
    """What the rates are in sentences, where a request carries several."""
    per_second = [
        f"{format_number(found * result.sentences)} sentences/s {what}"
        for found, what in ((result.sustained.rate.center, "sustained"), (result.saturated, "saturated"))
        if found
    ]
    return f"a request has {pluralize(result.sentences, 'sentence')}, and rates count requests: {', '.join(per_second)}"


def validation_text(checks: Sequence[ValidationPoint]) -> str:
    """Median error and how many lay in the interval."""
    middle = median_error(checks)
    if middle is None:
        return "no run to hold it to"
    inside = sum(check.inside for check in checks)
    count = pluralize(len(checks), "figure")
    return f"median error {format_percent(middle)}, {inside} of {count} inside the 90 % interval"


def replica_text(result: CapacityResult) -> str:
    """Prediction and measurement of several replicas."""
    found = result.replicas
    assert found is not None
    predicted = f"predicted {rate_interval(found.predicted)} ({found.policy})"
    if found.measured is None:
        return f"{predicted}; not measured: {found.note}"
    return f"{predicted}, measured {rate(found.measured)}: {_signed(found.error)}"


def plan_text(row: PlanRow, redundancy: str) -> str:
    """A plan in one line."""
    price = "" if row.price is None else f", {row.price:,.2f} an hour"
    return (
        f"{rate(row.rate)} needs {pluralize(row.replicas, 'replica')} ({row.needed} and "
        f"{row.replicas - row.needed} spare, "
        f"{redundancy}), {format_percent(row.utilisation, 2)} busy, "
        f"{format_percent(row.utilisation_degraded, 2)} without the spare{price}"
    )


def rate(value: float | None) -> str:
    """`182/s`."""
    return ABSENT if value is None else format_rate(value)


def rate_interval(summary: Estimate) -> str:
    """`182/s [171 … 190/s]`."""
    return format_estimate(summary.center, summary.lo, summary.hi, format_rate)


def seconds(value: float | None) -> str:
    """`12.3 ms`."""
    return ABSENT if value is None else format_seconds(value)


def seconds_interval(summary: Estimate) -> str:
    """`12.3 ms [11.1 … 14 ms]`."""
    return format_estimate(summary.center, summary.lo, summary.hi, format_seconds)


def _signed(share: float | None) -> str:
    """A relative error: `+3.1 %`."""
    return ABSENT if share is None else f"{format_change(100 * share)} %"


def capacity_markdown(result: CapacityResult, pictures: Sequence[tuple[str, str]]) -> str:
    """`capacity.md`; `pictures` are (title, file name)."""
    blocks = [
        f"# Capacity: {result.label}",
        f"**One server {sustained_text(result)}.**",
        *([f"{sentences_text(result)[0].upper()}{sentences_text(result)[1:]}."] if result.sentences > 1 else []),
        *_notes(result),
        "## What was measured",
        table(("", ""), list(result.about.items())),
        *(f"![{title}]({file})" for title, file in pictures),
        *_model(result),
        *_checks(result),
        *_measured(result.measurements),
    ]
    if result.planned is not None:
        blocks += _plan(result.planned)
    return "\n\n".join(blocks) + "\n"


def interrupted_markdown(measurements: Sequence[Measurement], why: str) -> str:
    """The steps of a sweep that was ended before its time."""
    head = f"INTERRUPTED: {why} after {pluralize(len(measurements), 'step')}. This is not a result: --resume goes on."
    return "\n\n".join(["# Capacity", f"**{head}**", *(_measured(measurements) if measurements else ())]) + "\n"


def _notes(result: CapacityResult) -> Iterator[str]:
    if result.warnings:
        yield "\n".join(f"- {warning}" for warning in result.warnings)


def _model(result: CapacityResult) -> Iterator[str]:
    model, queue_model = result.model, result.model.parameter_set.queue_model
    yield "## The model"
    kind = (
        "independent servers"
        if queue_model.speeds == tuple(range(1, queue_model.servers + 1))
        else "requests in service"
    )
    if queue_model.batching is not None:
        kind = "batches"
    speeds = ", ".join(format_number(speed) for speed in _sample(queue_model.speeds))
    yield table(
        ("", ""),
        [
            ("capacity", rate_interval(model.capacity)),
            ("knee: past it latency grows by a larger share than the rate", rate(model.knee)),
            ("served at once", f"{queue_model.servers} {kind if queue_model.servers > 1 else kind.removesuffix('s')}"),
            ("speed with 1, 2, … in service", speeds),
            ("work of a request, mean", seconds(float(model.parameter_set.work.mean()))),
            ("overhead outside the server", seconds(queue_model.overhead)),
            ("latency in open loop over what the queue gives", format_number(1 / queue_model.speed_factor)),
            ("holds for", f"{rate(model.valid[0])} to {rate(model.valid[1])}; beyond it nothing is predicted unasked"),
            ("error of the model itself, at least", format_percent(model.discrepancy)),
        ],
    )
    if queue_model.batching is not None:
        batches = queue_model.batching
        yield (
            f"It makes batches of up to {batches.largest} requests, waits {seconds(batches.timeout)} for one to fill, "
            f"and one more request adds {format_percent(batches.marginal, 2)} of its work alone."
        )
    usl = result.usl
    if usl is not None:
        yield "Universal Scalability Law, fitted to the ladder (throughput only):"
        rows = [("λ, one user", usl.single), ("σ, contention", usl.contention), ("κ, coherency", usl.coherency)]
        found = [(name, _plain(summary)) for name, summary in rows]
        peak = usl.peak_users
        found.append(("users with most throughput", _plain(peak) if peak.center is not None else peak.warnings[0]))
        found.append(("fitted between", f"{usl.users[0]} and {pluralize(usl.users[1], 'user')}"))
        found.append(("largest distance from a measured step", format_percent(usl.misfit)))
        yield table(("", ""), found)


def _sample(speeds: Sequence[float]) -> Sequence[float]:
    return speeds if len(speeds) <= 12 else [*speeds[:8], speeds[-1]]


def _plain(summary: Estimate) -> str:
    return format_estimate(summary.center, summary.lo, summary.hi, format_number)


def _checks(result: CapacityResult) -> Iterator[str]:
    yield "## Held to runs that it never saw"
    yield f"{validation_text(result.checks)[0].upper()}{validation_text(result.checks)[1:]}."
    if result.checks:
        yield table(
            ("run", "rate", "load", "", "predicted, 90 % interval of such a run", "measured", "error", "inside"),
            [
                (
                    str(check.stage),
                    rate(check.rate),
                    format_percent(check.load),
                    check.column,
                    seconds_interval(check.predicted),
                    seconds(check.measured),
                    _signed(check.error),
                    "yes" if check.inside else "**no**",
                )
                for check in result.checks
            ],
        )
    if result.replicas is not None:
        count = result.replicas.replicas
        how = "" if result.replicas.measured is None else f"; {result.replicas.note}"
        yield f"{pluralize(count, 'replica')} within the objective: {replica_text(result)}{how}."


def _measured(measurements: Sequence[Measurement]) -> Iterator[str]:
    yield "## Every step"
    header = ("", "load", "answers", "in flight", "p50", "p95", "p99", "failed", "N = X·R off", "run")
    yield table(header, [_measurement_row(m) for m in measurements])
    invalid = [m for m in measurements if m.reasons]
    if invalid:
        yield "Runs that are INVALID as steps, and why:"
        yield "\n".join(f"- `{m.run}`: {'; '.join(m.reasons)}" for m in invalid)


def _measurement_row(measurement: Measurement) -> tuple[str, ...]:
    stage = f"{measurement.stage} (INVALID)" if measurement.reasons else str(measurement.stage)
    percentiles = [seconds(measurement.raw.get(name)) for name in ("p50", "p95", "p99")]
    return (
        stage,
        measurement.load,
        rate(measurement.throughput.center),
        format_number(measurement.in_flight),
        *percentiles,
        format_percent(measurement.errors),
        _signed(measurement.little),
        f"`{measurement.run}`",
    )


def _plan(planned: Planned) -> Iterator[str]:
    options = planned.options
    yield "## Plan, by the model"
    yield (
        f"**{plan_text(planned.row, str(options.redundancy))}.** Sized by the lower end of the rate's interval, with "
        f"{format_percent(options.headroom)} of it left free; by the estimate itself "
        f"{planned.row.needed_likely} would carry it."
    )
    yield plan_table(planned.table)
    yield "\n".join(
        f"- {simulated_plan_text(name, check)}"
        for name, check in (("all up", planned.all_up), ("spare ones down", planned.spare_down))
    )
    if planned.diurnal is not None:
        day = planned.diurnal
        yield "### Over the day"
        yield table(
            ("time", "rate", "replicas", "busy"),
            [
                (span.label, rate(span.rate), str(row.replicas), format_percent(row.utilisation, 2))
                for span, row in zip(day.spans, day.rows, strict=True)
            ],
        )
        saved = 1 - day.hours_followed / day.hours_fixed
        price = "" if day.price_fixed is None else f", {day.price_followed:,.2f} instead of {day.price_fixed:,.2f}"
        yield (
            f"{format_number(day.hours_followed)} replica hours where replicas follow the rate, "
            f"{format_number(day.hours_fixed)} "
            f"where the peak's {day.peak.replicas} stay: {format_percent(saved, 2)} less{price}."
        )


def simulated_plan_text(name: str, check: SimulatedPlan) -> str:
    """A simulated plan in one line."""
    who = f"{name}, {pluralize(check.replicas, 'replica')}, {check.policy}, simulated"
    if not check.latency:
        return f"{who}: {'; '.join(check.broken)}"
    latency = ", ".join(f"{column} {seconds(check.latency[column])}" for column in ("p50", "p95", "p99"))
    return f"{who}: {latency}; {'breaks ' + '; '.join(check.broken) if check.broken else 'within the objective'}"


def plan_table(rows: Sequence[PlanRow]) -> str:
    """Markdown table of rates."""
    priced = any(row.price is not None for row in rows)
    header = ["rate", "needed", "replicas", "busy", "busy without the spare", "headroom"]
    header += ["an hour", "a month"] if priced else []
    return table(header, [_plan_cells(row, priced) for row in rows])


def _plan_cells(row: PlanRow, priced: bool) -> list[str]:
    cells = [rate(row.rate), str(row.needed), str(row.replicas), format_percent(row.utilisation, 2)]
    cells += [format_percent(row.utilisation_degraded, 2), format_percent(row.headroom, 2)]
    if priced and row.price is not None and row.price_month is not None:
        cells += [f"{row.price:,.2f}", f"{row.price_month:,.0f}"]
    return cells


def sweeps_markdown(rows: Sequence[ComparedSweep], at: float) -> str:
    """Several measured sets side by side, for `at` requests a second."""
    best = cheapest(rows)
    priced = any(entry.row is not None and entry.row.price is not None for entry in rows)
    header = ["set", "one server, by the model", "replicas", "busy", *(["an hour"] if priced else []), ""]
    found = []
    for entry in rows:
        row = entry.row
        cells = [entry.label, rate_interval(entry.sustained)]
        if row is None:
            cells += [ABSENT, ABSENT, *([ABSENT] if priced else []), "cannot be planned"]
        else:
            price = [ABSENT if row.price is None else f"{row.price:,.2f}"] if priced else []
            cells += [str(row.replicas), format_percent(row.utilisation, 2), *price, "least" if entry is best else ""]
        found.append(cells)
    return f"# Capacity for {rate(at)}\n\n{table(header, found)}\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, all columns but the first to the right."""
    lines = [_line(header), _line(["---", *["---:"] * (len(header) - 1)])]
    return "\n".join(lines + [_line(row) for row in rows])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def stages(measurements: Sequence[Measurement], *wanted: Stage) -> list[Measurement]:
    """The measurements of some stages."""
    return [m for m in measurements if m.stage in wanted]


def fleet_table(views: Sequence[FleetView]) -> str:
    """Simulated fleets, a line a policy."""
    rows: list[tuple[str, ...]] = [("policy", "p50", "p95", "p99", "worst p99", "lost", "bad for", "replica hours")]
    for view in views:
        rows.append(
            (
                view.policy,
                *(seconds(view.latency[name]) for name in ("p50", "p95", "p99")),
                seconds(view.worst),
                format_percent(view.lost),
                seconds(view.bad),
                format_number(view.replica_hours),
            )
        )
    return text_table(rows)
