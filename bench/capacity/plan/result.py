"""All that a capacity measurement found, for reports and for plans made later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.usl import UslFit
from bench.capacity.model.validation import ValidationPoint
from bench.capacity.plan.diurnal import DiurnalPlan
from bench.capacity.plan.objective import SloRate
from bench.capacity.plan.plan import PlanOptions, PlanRow, SimulatedPlan
from bench.capacity.plan.replica_validation import ReplicaValidation
from bench.capacity.plan.slo import Slo


@dataclass(frozen=True)
class Planned:
    """A plan, with what it is checked by.

    Args:
        options: what it holds.
        row: the planned rate.
        table: rates around it.
        all_up: the planned fleet, simulated.
        spare_down: the same without its spare replicas.
        diurnal: a day's plan; None without one.
    """

    options: PlanOptions
    row: PlanRow
    table: tuple[PlanRow, ...]
    all_up: SimulatedPlan
    spare_down: SimulatedPlan
    diurnal: DiurnalPlan | None


@dataclass(frozen=True)
class CapacityResult:
    """What one server carries, how sure that is, and what it means for a fleet.

    Args:
        label: names the measured set: protocol, signature, precision, target.
        about: what was measured, rows of name and text.
        slo: the objective.
        measurements: every step that was measured, in order.
        saturated: requests a second at the end of the ladder.
        usl: the scalability law of the ladder; None with too few steps.
        model: the fitted model.
        sustained: the rate within the objective.
        checks: the model held to runs that it never saw.
        replicas: several replicas held to the model; None if not run.
        planned: the plan; None if none was asked for or none is possible.
        warnings: what a reader must know, one line each.
        sentences: sentences in a request; the rates count requests.
    """

    label: str
    about: Mapping[str, str]
    slo: Slo
    measurements: Sequence[Measurement]
    saturated: float
    usl: UslFit | None
    model: CapacityModel
    sustained: SloRate
    checks: Sequence[ValidationPoint]
    replicas: ReplicaValidation | None
    planned: Planned | None
    warnings: tuple[str, ...] = ()
    sentences: int = 1
