"""The largest rate within an objective: what the model gives, and what was measured on either side of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.model import CONFIDENCE, CapacityModel
from bench.capacity.plan.slo import Slo
from bench.core.units import format_apart, format_percent, format_rate, format_seconds
from bench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class MeasuredRate:
    """All runs at one rate in open loop.

    Args:
        rate: requests a second.
        broken: which limits they broke, one line each; empty if none.
        runs: how many.
    """

    rate: float
    broken: tuple[str, ...]
    runs: int


@dataclass(frozen=True, slots=True)
class SloRate:
    """How much load one server carries within the objective.

    Args:
        rate: the largest rate by the model, requests a second, with its interval; 0 if no rate will do.
        measured: the open-loop rates that were measured, rising, and what they broke.
        reason: why no rate will do; "" if one does.
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
        """The highest rate that was measured and met the objective, with all below it."""
        found = None
        for entry in self.measured:
            if entry.broken:
                break
            found = entry.rate
        return found

    @property
    def lowest_failed(self) -> float | None:
        """The lowest rate that was measured and did not."""
        return next((entry.rate for entry in self.measured if entry.broken), None)


def slo_rate(model: CapacityModel, measurements: Sequence[Measurement], slo: Slo) -> SloRate:
    """The largest rate within `slo`.

    Latency limits come from the model, limits on errors and wrong answers from what was measured: how often a server
    fails or errs is no matter of queueing.
    """
    measured = measured_rates(measurements, slo)
    found = model.largest_rate(slo.latency)
    wrong = [
        measurement for measurement in measurements if measurement.wrong is not None and measurement.wrong > slo.wrong
    ]
    if wrong:
        return SloRate(_none(found), measured, _wrong_reason(wrong, slo))
    if not found.center:
        return SloRate(_none(found), measured, _latency_reason(model, measurements, slo))
    good = [entry.rate for entry in measured if not any(text.startswith("errors") for text in entry.broken)]
    bad = [entry.rate for entry in measured if entry.rate not in good]
    if bad and (not good or min(bad) < min(good)):
        share = max(m.errors for m in measurements if m.rate is not None)
        return SloRate(
            _none(found), measured, f"up to {format_percent(share)} of the requests fail, at the lowest rate already"
        )
    if bad and min(bad) <= found.center:
        most = max(rate for rate in good if rate < min(bad))
        warning = (
            f"limited by errors: {format_rate(min(bad))} had more than the objective allows, "
            f"{format_rate(most)} had not"
        )
        lo = min(found.lo or 0.0, most)
        return SloRate(replace(found, center=most, lo=lo, hi=min(bad), warnings=(warning,)), measured, "")
    return SloRate(_within_the_measured(found, measured), measured, "")


def _within_the_measured(found: Estimate, measured: Sequence[MeasuredRate]) -> Estimate:
    """The interval, its lower end taken from the runs where one below it broke the objective."""
    failed = next((entry.rate for entry in measured if entry.broken), None)
    if failed is None or failed >= (found.lo or 0.0):
        return found
    passed = max((entry.rate for entry in measured if entry.rate < failed), default=0.0)
    warning = (
        f"the model's interval began at {format_rate(found.lo or 0.0)}, but {format_rate(failed)} did not keep the "
        f"objective when run: it begins at {format_rate(passed)}"
    )
    return replace(found, lo=passed, warnings=(*found.warnings, warning))


def measured_rates(measurements: Sequence[Measurement], slo: Slo) -> tuple[MeasuredRate, ...]:
    """What the open-loop runs at each rate broke: the median of each latency over repeats, shares over all requests."""
    found = []
    for rate in sorted({m.rate for m in measurements if m.rate is not None}):
        runs = [m for m in measurements if m.rate == rate]
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
        f"up to {format_percent(most)} of the answers are wrong and the objective allows {allowed}; find out "
        f"why with verify"
    )


def _latency_reason(model: CapacityModel, measurements: Sequence[Measurement], slo: Slo) -> str:
    """Which limits the model breaks at the lowest rate, which was not run, and what was measured next to it."""
    lowest = model.predict(float(model.rates[0]), extrapolate=True).latency
    over = []
    for name, limit in slo.latency.items():
        center = lowest[name].center
        if center is not None and center > limit:
            modelled, allowed = format_apart(center, limit, format_seconds)
            over.append(
                f"by the model {name} is {modelled} with hardly any load, over the limit of {allowed}; "
                f"{_measured_lowest(measurements, name)}"
            )
    return "; ".join(over) or "no rate within the measured range meets every limit"


def _measured_lowest(measurements: Sequence[Measurement], name: str) -> str:
    """The latency `name` of the lightest load that was run."""
    known = [m for m in measurements if name in m.raw]
    if not known:
        return f"no run has a {name}"
    # A single user waits for each answer: no load is lighter.
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
