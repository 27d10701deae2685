"""Plans whose figures are known."""

from bench.capacity.plan.plan import PlanOptions, PlanRow, SimulatedPlan
from bench.capacity.plan.planned import Planned


def plan_row(replicas: int, price: float | None = None) -> PlanRow:
    """A plan of 100 requests/s, with one spare replica."""
    return PlanRow(100.0, replicas - 1, replicas - 1, replicas, 0.5, 0.6, 0.2, price)


def planned(row: PlanRow, table: tuple[PlanRow, ...] = ()) -> Planned:
    """The same with its simulations."""
    up, down = (SimulatedPlan(count, "random", {}, ("overloaded",)) for count in (row.replicas, row.needed))
    return Planned(PlanOptions(), row, table, up, down, None)
