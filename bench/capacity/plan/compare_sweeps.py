"""Plans of one rate from several sweeps, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.capacity.measurements.measured_step import Stage
from bench.capacity.model.model_file import StoredModel
from bench.capacity.plan.plan import PlanOptions
from bench.capacity.plan.planned import Planned, PlanRequest, plan_or_reason
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate, slo_rate


@dataclass(frozen=True, slots=True)
class ComparedSweep:
    """One sweep in a comparison of sweeps.

    Args:
        label: name of the measured server.
        slo: the objective of the plan.
        sustained: rate that one replica sustains within the objective.
        planned: the plan of the compared rate, and of the day; None if none is possible.
        unplanned: why no plan is possible; "" if one is.
        sentences: sentences in a request; rates count requests.
        warnings: of the sweep and of the sustained rate, one line each.
    """

    label: str
    slo: Slo
    sustained: SloRate
    planned: Planned | None
    unplanned: str = ""
    sentences: int = 1
    warnings: tuple[str, ...] = ()


def cheapest(sweeps: Sequence[ComparedSweep]) -> ComparedSweep | None:
    """The sweep with the lowest price, or the fewest replicas without prices; None if no plan is possible."""
    known = [(sweep, sweep.planned.row) for sweep in sweeps if sweep.planned is not None]
    if not known:
        return None
    prices = [row.price for _, row in known if row.price is not None]
    if len(prices) == len(known):
        return known[prices.index(min(prices))][0]
    return min(known, key=lambda entry: entry[1].replicas)[0]


def differences(sweeps: Sequence[ComparedSweep]) -> tuple[str, ...]:
    """What makes the plans of sweeps answers to different questions, one line each."""
    found = []
    if len({str(sweep.slo) for sweep in sweeps}) > 1:
        found.append("the plans are of different objectives; give --slo to plan all of them within one")
    if len({sweep.sentences for sweep in sweeps}) > 1:
        each = ", ".join(f"{sweep.label}: {sweep.sentences:,}" for sweep in sweeps)
        found.append(
            f"rates count requests, whose numbers of sentences differ ({each}): the plans are not of the same work"
        )
    return tuple(found)


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
    planned, unplanned = plan_or_reason(stored.model, sustained, slo, request)
    warnings = tuple(dict.fromkeys((*stored.warnings, *sustained.rate.warnings)))
    return ComparedSweep(stored.label, slo, sustained, planned, unplanned, stored.sentences, warnings)
