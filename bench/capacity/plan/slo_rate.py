"""The largest rate within an objective: by the model, and the measured rates on either side of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.capacity_model import CONFIDENCE, CapacityModel
from bench.capacity.plan.slo import Slo
from bench.core.units import format_apart, format_percent, format_rate, format_seconds
from bench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """All open-loop runs at one rate.

    Args:
        rate: requests/s.
        broken: the limits that they violated, one line each.
        runs: number of runs.
    """

    rate: float
    broken: tuple[str, ...]
    runs: int


@dataclass(frozen=True, slots=True)
class SloRate:
    """The rate that one server sustains within the objective.

    Args:
        rate: the largest rate by the model, requests/s, with its interval; 0 if no rate meets the objective.
        measured: the measured open-loop rates, increasing, without those at the load generator's limit.
        reason: why no rate meets the objective; "" if one does.
    """

    rate: Estimate
    measured: tuple[MeasuredRate, ...]
    reason: str

    @property
    def attainable(self) -> bool:
        """Whether any rate meets the objective."""
        return not self.reason

    @property
    def highest_passed(self) -> float | None:
        """The highest measured rate that met the objective, as did all measured rates below it."""
        found = None
        for entry in self.measured:
            if entry.broken:
                break
            found = entry.rate
        return found

    @property
    def lowest_failed(self) -> float | None:
        """The lowest measured rate that violated the objective."""
        return _lowest_failed(self.measured)


def slo_rate(model: CapacityModel, measurements: Sequence[Measurement], slo: Slo) -> SloRate:
    """The largest rate within `slo`.

    The model decides on the latency limits. The measurements decide on the limits of errors and wrong answers, which
    the model does not predict.
    """
    measured = measured_rates(measurements, slo)
    failed = _lowest_failed(measured)
    found = _with_warnings(model.largest_rate(slo.latency, failed), _left_out(measurements))
    wrong = [m for m in measurements if m.wrong is not None and m.wrong > slo.wrong]
    if wrong:
        return SloRate(_none(found), measured, _wrong_reason(wrong, slo))
    if not found.center:
        return SloRate(_none(found), measured, _latency_reason(model, measurements, slo))
    allowed = [entry.rate for entry in measured if not any(text.startswith("errors") for text in entry.broken)]
    excessive = [entry.rate for entry in measured if entry.rate not in allowed]
    if excessive and (not allowed or min(excessive) < min(allowed)):
        errors = max(m.errors for m in measurements if _counts(m))
        return SloRate(
            _none(found), measured, f"up to {format_percent(errors)} of the requests fail, already at the lowest rate"
        )
    if excessive and min(excessive) <= found.center:
        most = max(rate for rate in allowed if rate < min(excessive))
        warning = (
            f"limited by errors: {format_rate(min(excessive))} exceeded the limit of the objective, "
            f"{format_rate(most)} did not"
        )
        lo = min(found.lo or 0.0, most)
        limited = replace(found, center=most, lo=lo, hi=min(excessive), warnings=(warning, *_left_out(measurements)))
        return SloRate(limited, measured, "")
    return SloRate(_within_the_measured(found, measured, failed), measured, "")


def _lowest_failed(measured: Sequence[MeasuredRate]) -> float | None:
    return next((entry.rate for entry in measured if entry.broken), None)


def _counts(measurement: Measurement) -> bool:
    """Whether an open-loop run shows what the server does at its rate."""
    return measurement.rate is not None and not measurement.of_the_generator


def _left_out(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """The rates of which every run was at the load generator's limit, one line; () without any."""
    counted = {m.rate for m in measurements if _counts(m)}
    rates = sorted({m.rate for m in measurements if m.rate is not None} - counted)
    if not rates:
        return ()
    return (
        f"the load generator was at its limit at {', '.join(map(format_rate, rates))}, so what was measured there is "
        "left out: give it a core of its own, or use a faster transport",
    )


def _with_warnings(found: Estimate, warnings: Sequence[str]) -> Estimate:
    return replace(found, warnings=(*found.warnings, *warnings))


def _within_the_measured(found: Estimate, measured: Sequence[MeasuredRate], failed: float | None) -> Estimate:
    """The estimate; where a run below its interval violated the objective, the lower end comes from the runs.

    A rate below all runs has a warning. `failed` is the lowest measured rate that violated the objective, requests/s.
    """
    if measured and (found.center or 0.0) < measured[0].rate:
        below = (
            f"{format_rate(found.center or 0.0)} is below {format_rate(measured[0].rate)}, the lowest rate measured in "
            "open loop; a sweep with this objective measures there"
        )
        found = _with_warnings(found, (below,))
    if failed is None or failed >= (found.lo or 0.0):
        return found
    passed = max((entry.rate for entry in measured if entry.rate < failed), default=0.0)
    warning = (
        f"the interval of the model began at {format_rate(found.lo or 0.0)}, but a run at {format_rate(failed)} "
        f"violated the objective: it now begins at {format_rate(passed)}"
    )
    return replace(_with_warnings(found, (warning,)), lo=passed)


def measured_rates(measurements: Sequence[Measurement], slo: Slo) -> tuple[MeasuredRate, ...]:
    """The open-loop rates with the limits that they violated, without runs at the load generator's limit.

    Latencies are medians over the repeats of a rate, fractions are over all its requests.
    """
    found = []
    for rate in sorted({m.rate for m in measurements if m.rate is not None and _counts(m)}):
        runs = [m for m in measurements if m.rate == rate and _counts(m)]
        due = sum(m.due for m in runs)
        errors = sum(m.errors * m.due for m in runs) / due if due else 1.0
        wrong = max((m.wrong for m in runs if m.wrong is not None), default=None)
        latency = {
            name: float(np.median([m.raw[name] for m in runs if name in m.raw]))
            for name in slo.latency
            if any(name in m.raw for m in runs)
        }
        broken = slo.broken(latency, errors, wrong)
        if any(not m.stable for m in runs):
            broken = (*broken, "the server fell behind")
        found.append(MeasuredRate(rate, broken, len(runs)))
    return tuple(found)


def _none(found: Estimate) -> Estimate:
    return Estimate("slo_rate", 0.0, 0.0, 0.0, CONFIDENCE, found.n)


def _wrong_reason(wrong: Sequence[Measurement], slo: Slo) -> str:
    most = max(m.wrong or 0.0 for m in wrong)
    allowed = format_percent(slo.wrong) if slo.wrong else "none"
    return (
        f"up to {format_percent(most)} of the answers are wrong and the objective allows {allowed}; find the cause "
        f"with bertbench verify"
    )


def _latency_reason(model: CapacityModel, measurements: Sequence[Measurement], slo: Slo) -> str:
    """The limits that the model violates at its lowest rate, with the measurement at the lightest load."""
    lowest = model.predict(float(model.rates[0]), extrapolate=True).latency
    over = []
    for name, limit in slo.latency.items():
        center = lowest[name].center
        if center is not None and center > limit:
            modelled, allowed = format_apart(center, limit, format_seconds)
            over.append(
                f"by the model {name} is {modelled} at the lowest rate, over the limit of {allowed}; "
                f"{_measured_lowest(measurements, name)}"
            )
    return "; ".join(over) or "no rate of the model meets every limit"


def _measured_lowest(measurements: Sequence[Measurement], name: str) -> str:
    """The latency `name` of the lightest measured load."""
    known = [m for m in measurements if name in m.raw]
    if not known:
        return f"no run has a {name}"
    # A single user, who waits for each answer, is the lightest load.
    lowest = min(
        known,
        key=lambda measurement: (
            measurement.users != 1,
            measurement.rate if measurement.rate is not None else float("inf"),
        ),
    )
    same = [
        measurement.raw[name]
        for measurement in known
        if (measurement.users, measurement.rate) == (lowest.users, lowest.rate)
    ]
    return f"measured with {lowest.load}: {format_seconds(float(np.median(same)))}"
