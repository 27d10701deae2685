"""The result of a capacity measurement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.usl import UslFit
from bench.capacity.model.validation import LeftOut, ValidationPoint
from bench.capacity.plan.planned import Planned
from bench.capacity.plan.replica_validation import ReplicaValidation
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate


@dataclass(frozen=True)
class CapacityResult:
    """What one server sustains, with intervals and validation, and the plan of a fleet.

    Args:
        label: name of the measured server: protocol, signature, precision, target.
        about: what was measured, text by name.
        slo: the objective.
        measurements: every measured step, in order.
        saturated: sustained throughput at the end of the ladder, requests/s.
        usl: the Universal Scalability Law of the ladder; None with too few steps.
        model: the fitted model.
        sustained: the rate that one server sustains within the objective.
        validation: the validation of the model.
        replicas: the rate of several replicas, predicted and measured; None if not measured.
        planned: the plan; None if none was requested or none is possible.
        unplanned: why the requested plan could not be made; "" if it was, or none was requested.
        warnings: one line each.
        sentences: sentences in a request; rates count requests.
        left_out: runs that do not count in the validation.
    """

    label: str
    about: Mapping[str, str]
    slo: Slo
    measurements: Sequence[Measurement]
    saturated: float
    usl: UslFit | None
    model: CapacityModel
    sustained: SloRate
    validation: Sequence[ValidationPoint]
    replicas: ReplicaValidation | None
    planned: Planned | None
    unplanned: str = ""
    warnings: tuple[str, ...] = ()
    sentences: int = 1
    left_out: tuple[LeftOut, ...] = ()
