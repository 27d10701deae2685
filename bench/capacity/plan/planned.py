"""A requested plan, and the plan with its simulations."""

from dataclasses import dataclass, field

from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.plan.diurnal import DiurnalPlan, Span, plan_diurnal
from bench.capacity.plan.plan import PlanOptions, PlanRow, SimulatedPlan, plan, rates_around, simulate_plan
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate
from bench.core.errors import InconclusiveError, UsageError
from bench.core.types import checked_fields
from bench.core.units import HIGHEST
from bench.stats.estimate import Estimate


@dataclass(frozen=True, slots=True)
@checked_fields
class PlanRequest:
    """What to plan.

    Args:
        rate: requests/s; None for the highest rate of `spans`.
        spans: the rates of a day; empty without one.
        options: redundancy, headroom, price and policy.

    Raises:
        UsageError: there is neither a rate nor a day, or a rate that is out of range.
    """

    rate: float | None = None
    spans: tuple[Span, ...] = ()
    options: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        if self.rate is None and not self.spans:
            raise UsageError("a plan needs a rate; give --plan rate=500/s or --diurnal FILE.csv")
        for rate in (*(() if self.rate is None else (self.rate,)), *(span.rate for span in self.spans)):
            if not 0 < rate <= HIGHEST:
                raise UsageError(f"rate is {rate}/s; it must be above 0 and at most {HIGHEST:,.0f}/s")

    @property
    def planned_rate(self) -> float:
        """The rate of the plan, requests/s."""
        return max(span.rate for span in self.spans) if self.rate is None else self.rate


@dataclass(frozen=True)
class Planned:
    """A plan and its simulations.

    Args:
        options: redundancy, headroom, price and policy.
        row: the planned rate.
        table: rates around it.
        all_up: simulation of the planned fleet.
        spare_down: simulation without the spare replicas.
        diurnal: the plan of a day; None without one.
    """

    options: PlanOptions
    row: PlanRow
    table: tuple[PlanRow, ...]
    all_up: SimulatedPlan
    spare_down: SimulatedPlan
    diurnal: DiurnalPlan | None


def plan_or_reason(
    model: CapacityModel, sustained: SloRate, slo: Slo, request: PlanRequest
) -> tuple[Planned | None, str]:
    """The plan of a request and "", or None and why none is possible; see `make_plan`."""
    if not sustained.attainable:
        return None, sustained.reason
    try:
        return make_plan(model, sustained.rate, slo, request), ""
    except InconclusiveError as error:
        return None, str(error)


def make_plan(model: CapacityModel, sustained: Estimate, slo: Slo, request: PlanRequest) -> Planned:
    """Plans the replicas of a request, and simulates the planned fleet.

    Args:
        model: model of one replica.
        sustained: rate that one replica sustains within `slo`, requests/s.
        slo: the objective.
        request: what to plan.

    Raises:
        InconclusiveError: the interval of `sustained` begins at 0.
    """
    rate, options = request.planned_rate, request.options
    row = plan(model, sustained, rate, options)
    return Planned(
        options=options,
        row=row,
        table=tuple(plan(model, sustained, other, options) for other in rates_around(rate)),
        all_up=simulate_plan(model, slo, rate, row.replicas, options.policy),
        spare_down=simulate_plan(model, slo, rate, row.needed, options.policy),
        diurnal=plan_diurnal(model, sustained, request.spans, options) if request.spans else None,
    )
