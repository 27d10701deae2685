"""`capacity.md` and the other Markdown of a capacity measurement: the values of the templates."""

from collections.abc import Sequence
from typing import Any, Final

from bench.capacity.measurements.measured_step import Measurement, rates_of
from bench.capacity.model.queue_fit import MODEL_ERROR
from bench.capacity.model.usl import UslFit
from bench.capacity.model.validation import ValidationPoint
from bench.capacity.plan.compare_sweeps import ComparedSweep, cheapest, differences
from bench.capacity.plan.planned import Planned
from bench.capacity.plan.result import CapacityResult
from bench.capacity.queue.latency_table import ParameterSet
from bench.capacity.queue.queue_model import Batching, QueueModel
from bench.capacity.report.text_report import (
    number_interval,
    plan_cells,
    plan_header,
    plan_text,
    price,
    rate,
    rate_interval,
    replica_text,
    request_text,
    seconds,
    seconds_interval,
    sentences_text,
    signed,
    simulated_plan_text,
    sustained_rate,
    sustained_text,
    validation_text,
)
from bench.core.units import ABSENT, format_number, format_percent, pluralize
from bench.report.pages import code_span, render

_PACKAGE: Final = "bench.capacity.report"
_MAX_SPEEDS: Final = 12
_BEST: Final = {True: "lowest price", False: "fewest replicas"}


def capacity_view(result: CapacityResult, pictures: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The values of the templates of `capacity.md` and `capacity.html`; `pictures` are (title, file name)."""
    batching = result.model.parameter_set.queue_model.batching
    return {
        "label": result.label,
        "sustained": sustained_text(result.sustained, result.slo),
        "sentences": _capitalized(sentences_text(result)) if result.sentences > 1 else "",
        "warnings": result.warnings,
        "about": list(result.about.items()),
        "pictures": pictures,
        "model": _model_rows(result),
        "batching": _batching_text(batching) if batching else "",
        "usl": _usl_rows(result.usl) if result.usl else [],
        "validation": _capitalized(validation_text(result.validation, result.left_out)),
        "validation_rows": [_validation_row(value) for value in result.validation],
        "replicas": _replica_sentence(result),
        "steps": [_step_row(m) for m in result.measurements],
        "invalid": _invalid(result.measurements),
        "plan": _plan(result.planned) if result.planned else None,
    }


def capacity_markdown(view: dict[str, Any]) -> str:
    """`capacity.md`, of the values of `capacity_view`."""
    return render(_PACKAGE, "capacity.md.j2", view=view | {"steps": _with_code(view["steps"])})


def interrupted_markdown(measurements: Sequence[Measurement], why: str) -> str:
    """The completed steps of an interrupted sweep."""
    rows, invalid = [_step_row(m) for m in measurements], _invalid(measurements)
    count = pluralize(len(measurements), "step")
    return render(_PACKAGE, "interrupted.md.j2", why=why, count=count, rows=_with_code(rows), invalid=invalid)


def _with_code(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of steps, with the name of the run as code."""
    return [(*cells, code_span(run)) for *cells, run in rows]


def sweeps_markdown(sweeps: Sequence[ComparedSweep], planned_rate: float) -> str:
    """The plans of several sweeps side by side, for `planned_rate` requests/s."""
    priced = any(sweep.planned is not None and sweep.planned.row.price is not None for sweep in sweeps)
    best = cheapest(sweeps)
    header = ["sweep", "objective", "one server, by the model", "replicas", "utilization"]
    header += [*(["an hour"] if priced else []), ""]
    plans = [
        {
            "label": sweep.label,
            "sustained": sustained_text(sweep.sustained, sweep.slo),
            "sentences": _capitalized(request_text(sweep.sentences)) if sweep.sentences > 1 else "",
            "warnings": sweep.warnings,
            "unplanned": sweep.unplanned if sweep.sustained.attainable else "",
            "plan": _plan(sweep.planned) if sweep.planned else None,
        }
        for sweep in sweeps
    ]
    rows = [_sweep_row(sweep, priced, sweep is best) for sweep in sweeps]
    notes, shown = differences(sweeps), rate(planned_rate)
    return render(_PACKAGE, "sweeps.md.j2", rate=shown, notes=notes, header=header, rows=rows, sweeps=plans)


def _sweep_row(sweep: ComparedSweep, priced: bool, best: bool) -> list[str]:
    cells = [sweep.label, str(sweep.slo), sustained_rate(sweep.sustained.rate)]
    if sweep.planned is None:
        return [*cells, ABSENT, ABSENT, *([ABSENT] if priced else []), "no plan possible"]
    row = sweep.planned.row
    shown = [ABSENT if row.price is None else price(row.price)] if priced else []
    return [*cells, f"{row.replicas:,}", format_percent(row.utilisation, 2), *shown, _BEST[priced] if best else ""]


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def _model_rows(result: CapacityResult) -> list[tuple[str, str]]:
    model, queue_model = result.model, result.model.parameter_set.queue_model
    speeds = queue_model.speeds
    shown = speeds if len(speeds) <= _MAX_SPEEDS else [*speeds[:8], speeds[-1]]
    return [
        ("capacity", rate_interval(model.capacity)),
        ("knee: above it, latency grows faster than the rate", rate(model.knee)),
        ("served at once", _served_at_once(queue_model)),
        ("speed with 1, 2, … in service", ", ".join(map(format_number, shown))),
        ("mean work of a request", seconds(float(model.parameter_set.work.mean()))),
        ("overhead outside the server", overhead_text(model.parameter_set)),
        ("speed in open loop, relative to closed loop", format_number(queue_model.speed_factor)),
        ("rates that it covers", _covered_text(result)),
        ("error of the model itself", format_percent(model.discrepancy)),
    ]


def overhead_text(parameter_set: ParameterSet) -> str:
    """The overhead; one that is smaller than the error of the fit is not told from none."""
    overhead = parameter_set.queue_model.overhead
    least = MODEL_ERROR * (float(parameter_set.work.mean()) + overhead)
    return seconds(overhead) if overhead >= least else f"below {seconds(least)}, which the fit cannot tell from none"


def _covered_text(result: CapacityResult) -> str:
    lowest, highest = map(rate, result.model.valid)
    measured = rates_of(result.measurements)
    ends = f" (measured in open loop: {rate(min(measured))} to {rate(max(measured))})" if measured else ""
    return f"{lowest} to {highest}{ends}"


def _served_at_once(queue_model: QueueModel) -> str:
    servers = queue_model.servers
    if queue_model.batching is not None:
        return pluralize(servers, "batch", "batches")
    if queue_model.speeds == tuple(range(1, servers + 1)):
        return pluralize(servers, "independent server")
    return f"{pluralize(servers, 'request')} in service"


def _batching_text(batching: Batching) -> str:
    return (
        f"A batch has up to {pluralize(batching.largest, 'request')} and waits up to {seconds(batching.timeout)} for "
        f"them. One more request adds {format_percent(batching.marginal, 2)} of its own work."
    )


def _usl_rows(usl: UslFit) -> list[tuple[str, str]]:
    peak = usl.peak_users
    return [
        ("λ, throughput of one user per second", number_interval(usl.single)),
        ("σ, contention", number_interval(usl.contention)),
        ("κ, coherency", number_interval(usl.coherency)),
        ("users with the highest throughput", number_interval(peak) if peak.center is not None else peak.warnings[0]),
        ("fitted between", f"{usl.users[0]} and {pluralize(usl.users[1], 'user')}"),
        ("largest deviation from a measured step", format_percent(usl.misfit)),
    ]


def _validation_row(value: ValidationPoint) -> tuple[str, ...]:
    return (
        str(value.stage),
        rate(value.rate),
        format_percent(value.load),
        value.column,
        seconds_interval(value.predicted),
        seconds(value.measured),
        signed(value.error),
        "yes" if value.inside else "NO",
    )


def _replica_sentence(result: CapacityResult) -> str:
    if result.replicas is None:
        return ""
    note = "" if result.replicas.measured is None else f"; {result.replicas.note}"
    return f"Within the objective, {replica_text(result)}{note}"


def _step_row(measurement: Measurement) -> tuple[str, ...]:
    return (
        f"{measurement.stage} (INVALID)" if measurement.reasons else str(measurement.stage),
        measurement.load,
        rate(measurement.throughput.center),
        format_number(measurement.in_flight),
        *(seconds(measurement.raw.get(name)) for name in ("p50", "p95", "p99")),
        format_percent(measurement.errors),
        signed(measurement.little),
        measurement.run,
    )


def _invalid(measurements: Sequence[Measurement]) -> list[tuple[str, str]]:
    return [(m.run, "; ".join(m.reasons)) for m in measurements if m.reasons]


def _plan(planned: Planned) -> dict[str, Any]:
    row, day = planned.row, planned.diurnal
    simulated = ("all up", planned.all_up), ("spare replicas down", planned.spare_down)
    return {
        "text": plan_text(planned),
        "basis": (
            f"The lower end of the interval of the rate decides, with {format_percent(planned.options.headroom)} of "
            f"it left free; by the estimate, {row.needed_likely:,} would suffice."
        ),
        "header": plan_header(planned.table),
        "rows": [plan_cells(other) for other in planned.table],
        "simulated": [simulated_plan_text(name, found) for name, found in simulated],
        "day": _day_rows(planned) if day else [],
        "saved": _saved_text(planned) if day else "",
    }


def _day_rows(planned: Planned) -> list[tuple[str, ...]]:
    assert planned.diurnal is not None
    pairs = zip(planned.diurnal.spans, planned.diurnal.rows, strict=True)
    return [
        (span.label, rate(span.rate), f"{row.replicas:,}", format_percent(row.utilisation, 2)) for span, row in pairs
    ]


def _saved_text(planned: Planned) -> str:
    day = planned.diurnal
    assert day is not None
    saved = format_percent(1 - day.hours_followed / day.hours_fixed, 2)
    prices = ""
    if day.price_fixed is not None and day.price_followed is not None:
        prices = f", {price(day.price_followed)} instead of {price(day.price_fixed)}"
    return (
        f"{format_number(day.hours_followed)} replica hours if the replicas follow the rate, "
        f"{format_number(day.hours_fixed)} with the {day.peak.replicas:,} of the peak all day: {saved} less{prices}."
    )
