"""Plans of one rate from several sweeps, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.capacity.measurements.measured_step import Stage
from bench.capacity.model.model_file import StoredModel
from bench.capacity.plan.objective import slo_rate
from bench.capacity.plan.plan import PlanOptions
from bench.capacity.plan.planned import Planned, PlanRequest, make_plan
from bench.capacity.plan.slo import Slo
from bench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
class ComparedSweep:
    """One sweep in a comparison of sweeps.

    Args:
        label: name of the measured server.
        sustained: rate that one replica sustains within the objective, requests/s.
        planned: the plan of the compared rate, and of the day; None if none is possible.
    """

    label: str
    sustained: Estimate
    planned: Planned | None


def cheapest(sweeps: Sequence[ComparedSweep]) -> ComparedSweep | None:
    """The sweep with the lowest price, or the fewest replicas without prices; None if no plan is possible."""
    known = [(sweep, sweep.planned.row) for sweep in sweeps if sweep.planned is not None]
    if not known:
        return None
    prices = [row.price for _, row in known if row.price is not None]
    if len(prices) == len(known):
        return known[prices.index(min(prices))][0]
    return min(known, key=lambda entry: entry[1].replicas)[0]


def compare_sweeps(
    stored: Sequence[StoredModel], request: PlanRequest, options: Sequence[PlanOptions], slo: Slo | None
) -> list[ComparedSweep]:
    """Plans a rate, and a day where one is given, with each of several sweeps.

    Args:
        stored: the models of the sweeps.
        request: the planned rate and the rates of a day.
        options: the options of each plan, in place of those of `request`.
        slo: the objective; None for that of each sweep.
    """
    return [
        _compared(model, replace(request, options=own), slo or Slo.parse(model.slo))
        for model, own in zip(stored, options, strict=True)
    ]


def _compared(stored: StoredModel, request: PlanRequest, slo: Slo) -> ComparedSweep:
    single = [m for m in stored.measurements if m.stage is not Stage.REPLICAS]
    sustained = slo_rate(stored.model, single, slo)
    if not sustained.attainable or not sustained.rate.lo:
        return ComparedSweep(stored.label, sustained.rate, None)
    return ComparedSweep(stored.label, sustained.rate, make_plan(stored.model, sustained.rate, slo, request))
