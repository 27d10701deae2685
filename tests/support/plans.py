"""Plans whose figures are known."""

from typing import Final

from bench.capacity.plan.compare_sweeps import ComparedSweep
from bench.capacity.plan.plan import PlanOptions, PlanRow, SimulatedPlan
from bench.capacity.plan.planned import Planned
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate
from bench.stats.estimate import Estimate

SUSTAINED: Final = Estimate("slo_rate", 80.0, 75.0, 84.0, 0.9, 100)


def plan_row(replicas: int, price: float | None = None) -> PlanRow:
    """A plan of 100 requests/s, with one spare replica."""
    return PlanRow(100.0, replicas - 1, replicas - 1, replicas, 0.5, 0.6, 0.2, price)


def planned(row: PlanRow, table: tuple[PlanRow, ...] = ()) -> Planned:
    """The same with its simulations."""
    up, down = (SimulatedPlan(count, "random", {}, ("overloaded",)) for count in (row.replicas, row.needed))
    return Planned(PlanOptions(), row, table, up, down, None)


def compared(label: str, plan: Planned | None, slo: str = "p99=1s", sentences: int = 1) -> ComparedSweep:
    """A sweep whose server sustains `SUSTAINED`."""
    return ComparedSweep(label, Slo.parse(slo), SloRate(SUSTAINED, (), ""), plan, sentences=sentences)
