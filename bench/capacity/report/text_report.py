"""The result of a capacity measurement in sentences: what the command prints, and the sentences of `capacity.md`."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from bench.capacity.model.validation import LeftOut, ValidationPoint, median_error
from bench.capacity.plan.plan import PlanRow, SimulatedPlan
from bench.capacity.plan.planned import Planned
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate
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
from bench.report.text import table
from bench.stats.estimate import Estimate

_WHOLE_FROM: Final = 10
_CENTS_FROM: Final = 0.1


def capacity_lines(result: CapacityResult) -> Iterator[str]:
    """The lines that the command prints at its end."""
    yield f"one server ({result.label}) {sustained_text(result.sustained, result.slo)}"
    if result.sentences > 1:
        yield f"  {sentences_text(result)}"
    yield f"  saturated at {rate(result.saturated)}, measured; at {rate_interval(result.model.capacity)} by the model"
    yield f"  validation of the model: {validation_text(result.validation, result.left_out)}"
    if result.replicas is not None:
        yield f"  {replica_text(result)}"
    if result.planned is not None:
        yield f"  plan, by the model: {plan_text(result.planned)}"
    yield from (f"  note: {warning}" for warning in result.warnings)


def sustained_text(sustained: SloRate, slo: Slo) -> str:
    """The rate that one server sustains by the model, with the measured rates around it; or why there is none."""
    if not sustained.attainable:
        return f"meets {slo} at no rate: {sustained.reason}"
    found = f"{sustains(sustained.rate)} {rate_interval(sustained.rate)} within {slo} by the model"
    parts = []
    if sustained.highest_passed is not None:
        parts.append(f"{rate(sustained.highest_passed)} met it")
    if sustained.lowest_failed is not None:
        parts.append(f"{rate(sustained.lowest_failed)} violated it")
    return f"{found} (measured: {', '.join(parts)})" if parts else found


def sustains(sustained: Estimate) -> str:
    """`sustains`; `sustains at least` for a rate that no measured one exceeded."""
    return "sustains at least" if _is_least(sustained) else "sustains"


def sustained_rate(sustained: Estimate) -> str:
    """`182/s [171 … 190/s]`; `at least 232/s [232/s … —]` for a rate that no measured one exceeded."""
    return f"{'at least ' if _is_least(sustained) else ''}{rate_interval(sustained)}"


def _is_least(sustained: Estimate) -> bool:
    return sustained.hi is None and sustained.lo == sustained.center


def sentences_text(result: CapacityResult) -> str:
    """The rates in sentences/s, for requests of several sentences."""
    per_second = [
        f"{format_number(found * result.sentences)} sentences/s {what}"
        for found, what in ((result.sustained.rate.center, "sustained"), (result.saturated, "saturated"))
        if found
    ]
    return f"{request_text(result.sentences)}: {', '.join(per_second)}"


def request_text(sentences: int) -> str:
    """What rates count, for requests of several sentences."""
    return f"a request has {pluralize(sentences, 'sentence')}, and rates count requests"


def validation_text(validation: Sequence[ValidationPoint], left_out: Sequence[LeftOut] = ()) -> str:
    """Median error, and how many values are inside their interval; without any, why the model was not tested."""
    error = median_error(validation)
    if error is None:
        runs = "; ".join(map(str, left_out))
        return f"not tested, as {f'no run for it counts: {runs}' if runs else 'the sweep has no run for it'}"
    inside = sum(value.inside for value in validation)
    count = pluralize(len(validation), "value")
    text = f"median error {format_percent(error)}, {inside} of {count} inside the 90 % interval"
    if not left_out:
        return text
    return f"{text}; left out: {', '.join(f'{entry.stage} {entry.load} ({entry.run})' for entry in left_out)}"


def replica_text(result: CapacityResult) -> str:
    """Predicted and measured rate of several replicas."""
    found = result.replicas
    assert found is not None
    text = f"{pluralize(found.replicas, 'replica')}: predicted {rate_interval(found.predicted)} ({found.policy})"
    if found.measured is None:
        return f"{text}; not measured: {found.note}"
    return f"{text}, measured {rate(found.measured)}: {signed(found.error)}"


def plan_text(planned: Planned) -> str:
    """A plan in one line."""
    row = planned.row
    cost = "" if row.price is None else f", {price(row.price)} an hour"
    return (
        f"{rate(row.rate)} needs {pluralize(row.replicas, 'replica')} ({row.needed:,} and "
        f"{row.replicas - row.needed:,} spare, {planned.options.redundancy}), "
        f"utilization {format_percent(row.utilisation, 2)}, "
        f"{format_percent(row.utilisation_degraded, 2)} without the spare{cost}"
    )


def simulated_plan_text(name: str, simulated: SimulatedPlan) -> str:
    """The simulation of a plan in one line."""
    who = f"{name}, {pluralize(simulated.replicas, 'replica')}, {simulated.policy}"
    if not simulated.latency:
        return f"{who}: {'; '.join(simulated.broken)}"
    latency = ", ".join(f"{column} {seconds(simulated.latency[column])}" for column in ("p50", "p95", "p99"))
    broken = "; ".join(simulated.broken)
    return f"{who}, simulated: {latency}; {f'violates {broken}' if broken else 'within the objective'}"


def fleet_table(views: Sequence[FleetView]) -> str:
    """Simulated fleets, one line for each balancing policy."""
    rows: list[tuple[str, ...]] = [
        ("policy", "p50", "p95", "p99", "worst p99", "lost", "SLO violated for", "replica hours")
    ]
    for view in views:
        rows.append(
            (
                view.policy,
                *(seconds(view.latency[name]) for name in ("p50", "p95", "p99")),
                seconds(view.worst),
                format_percent(view.lost),
                seconds(view.violated),
                format_number(view.replica_hours),
            )
        )
    return table(rows)


def plan_header(rows: Sequence[PlanRow]) -> list[str]:
    """Header of a table of plans."""
    header = ["rate", "needed", "replicas", "utilization", "without the spare", "headroom"]
    return header + (["an hour", "a month"] if any(row.price is not None for row in rows) else [])


def plan_cells(row: PlanRow) -> list[str]:
    """A row of a table of plans."""
    cells = [rate(row.rate), f"{row.needed:,}", f"{row.replicas:,}", format_percent(row.utilisation, 2)]
    cells += [format_percent(row.utilisation_degraded, 2), format_percent(row.headroom, 2)]
    if row.price is not None and row.price_month is not None:
        cells += [price(row.price), price(row.price_month, whole=True)]
    return cells


def price(value: float, *, whole: bool = False) -> str:
    """`4.00`, `1,460.50`; a small price as a number, so that it is not 0.00.

    Args:
        value: in any currency.
        whole: without cents from 10 on.
    """
    if whole and value >= _WHOLE_FROM:
        return f"{value:,.0f}"
    return format_number(value) if 0 < value < _CENTS_FROM else f"{value:,.2f}"


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


def number_interval(summary: Estimate) -> str:
    """`0.12 [0.09 … 0.15]`."""
    return format_estimate(summary.center, summary.lo, summary.hi, format_number)


def signed(fraction: float | None) -> str:
    """A relative error: `+3.1 %`."""
    return ABSENT if fraction is None else f"{format_change(100 * fraction, math.inf)} %"
