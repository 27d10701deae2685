"""The result of a capacity measurement for programs: `capacity.json`, and what the commands print as JSON.

Rates are requests/s, times seconds.

Format history:
    1: first. Later: `command`, `exit_code` and `message`, as in the documents of all commands, and `report`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

from msgspec import Meta, Struct, to_builtins

from bench.capacity.measurements.measured_step import Measurement
from bench.capacity.model.capacity_model import CapacityModel, Prediction
from bench.capacity.model.usl import UslFit
from bench.capacity.model.validation import LeftOut, ValidationPoint, median_error
from bench.capacity.plan.diurnal import DiurnalPlan
from bench.capacity.plan.plan import PlanRow, SimulatedPlan
from bench.capacity.plan.planned import Planned
from bench.capacity.plan.replica_validation import ReplicaValidation
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo_rate import MeasuredRate
from bench.capacity.queue.latency_table import COLUMNS
from bench.capacity.queue.queue_model import Batching, QueueModel
from bench.cli.common.json_document import Document
from bench.core.errors import ExitCode
from bench.core.output import to_json
from bench.core.versioned_json import INDENTED
from bench.stats.estimate import Estimate


class StationValue(Struct, frozen=True, kw_only=True):
    """The server as a queue, by the names that the file has had since format 1."""

    servers: Annotated[int, Meta(description="largest number of requests (with batching: of batches) in service")]
    speeds: Annotated[Sequence[float], Meta(description="seconds of work a second with 1, 2, ... in service")]
    overhead: Annotated[float, Meta(description="latency of a request outside the server, seconds")]
    calibration: Annotated[float, Meta(description="factor on latencies in open loop")]
    batching: Batching | None


class PredictionValue(Struct, frozen=True, kw_only=True, rename={"p99_9": "p99.9"}):
    """The predicted latency at one rate, seconds."""

    rate: float
    utilisation: Annotated[float, Meta(description="rate over capacity")]
    extrapolated: Annotated[bool, Meta(description="whether the rate is outside `valid`")]
    mean: Estimate
    p50: Estimate
    p90: Estimate
    p95: Estimate
    p99: Estimate
    p99_9: Estimate


class ModelValue(Struct, frozen=True, kw_only=True):
    """The fitted model."""

    capacity: Annotated[Estimate, Meta(description="saturation rate, requests/s")]
    knee: Annotated[float, Meta(description="rate with the largest ratio of rate to mean latency, requests/s")]
    station: StationValue
    mean_work: Annotated[float, Meta(description="of a request, seconds")]
    valid: Annotated[
        tuple[float, float],
        Meta(description="rates that it covers: lowest of its table, highest measured one, requests/s"),
    ]
    discrepancy: Annotated[float, Meta(description="estimated relative error of the model itself")]
    widening: Annotated[float, Meta(description="factor on the width of all intervals, from the validation")]
    warnings: Sequence[str]
    table: Sequence[PredictionValue]


class HoldOutValue(Struct, frozen=True, kw_only=True):
    """The validation of the model on runs that were not part of its fit."""

    median_error: Annotated[float | None, Meta(description="relative; null without such a run")]
    inside: Annotated[int, Meta(description="values inside their interval")]
    checks: Sequence[ValidationPoint]
    left_out: Annotated[Sequence[LeftOut], Meta(description="runs that do not count, like INVALID ones")]


class PlanRowValue(Struct, frozen=True, kw_only=True):
    """The plan of one rate."""

    rate: Annotated[float, Meta(description="requests/s")]
    needed: Annotated[int, Meta(description="replicas by the lower end of the interval of the rate")]
    needed_likely: Annotated[int, Meta(description="replicas by the estimate")]
    replicas: Annotated[int, Meta(description="needed, with the redundancy")]
    utilisation: float
    utilisation_degraded: Annotated[float, Meta(description="without the spare replicas")]
    headroom: Annotated[float, Meta(description="fraction of the sustained rate left free, without the spare replicas")]
    price: Annotated[float | None, Meta(description="of all replicas for an hour")]
    price_month: Annotated[float | None, Meta(description="of all replicas for 730 hours")]


class SpanValue(Struct, frozen=True, kw_only=True):
    """A time of constant rate in a day."""

    label: str
    start: Annotated[float, Meta(description="seconds since the first time")]
    seconds: float
    rate: Annotated[float, Meta(description="requests/s")]
    plan: PlanRowValue


class DiurnalValue(Struct, frozen=True, kw_only=True):
    """The replicas of a day."""

    spans: Sequence[SpanValue]
    peak: PlanRowValue
    hours_followed: Annotated[float, Meta(description="replica hours, with replicas that follow the rate")]
    hours_fixed: Annotated[float, Meta(description="replica hours, with the replicas of the peak all day")]
    price_followed: float | None
    price_fixed: float | None


class PlanValue(Struct, frozen=True, kw_only=True):
    """The plan of a fleet."""

    redundancy: str
    headroom: float
    price: Annotated[float | None, Meta(description="of one replica for an hour")]
    policy: str
    row: PlanRowValue
    table: Annotated[Sequence[PlanRowValue], Meta(description="rates around the planned one")]
    all_up: SimulatedPlan
    spare_down: SimulatedPlan
    diurnal: DiurnalValue | None


class CapacityDocument(Document, frozen=True, kw_only=True):
    """What one server sustains, with intervals and validation, and the plan of a fleet."""

    command: str = "capacity sweep"
    report: Annotated[str, Meta(description="file of the report")]
    label: Annotated[str, Meta(description="name of the measured server")]
    about: Mapping[str, str]
    slo: Annotated[str, Meta(description="the objective")]
    sentences_per_request: int
    attainable: Annotated[bool, Meta(description="whether any rate meets the objective")]
    reason: Annotated[str, Meta(description="why none does; empty if one does")]
    slo_rate: Annotated[Estimate, Meta(description="largest rate within the objective by the model, requests/s")]
    measured_rates: Sequence[MeasuredRate]
    highest_rate_passed: Annotated[float | None, Meta(description="measured, requests/s")]
    lowest_rate_failed: Annotated[float | None, Meta(description="measured, requests/s")]
    saturated: Annotated[float, Meta(description="throughput at the end of the ladder, requests/s")]
    usl: UslFit | None
    model: ModelValue
    hold_out: HoldOutValue
    replicas: ReplicaValidation | None
    plan: PlanValue | None
    points: Annotated[Sequence[Measurement], Meta(description="every measured step")]
    warnings: Sequence[str]


class FitDocument(CapacityDocument, frozen=True, kw_only=True):
    """The result of a model that was fitted again."""

    command: str = "capacity fit"


class ReportDocument(CapacityDocument, frozen=True, kw_only=True):
    """The result of a stored model."""

    command: str = "capacity report"


def capacity_document(
    result: CapacityResult, report: object, kind: type[CapacityDocument] = CapacityDocument
) -> CapacityDocument:
    """The result for JSON.

    Args:
        result: the result.
        report: file of the report.
        kind: that of the command.
    """
    sustained = result.sustained
    code, message = _verdict(result)
    return kind(
        exit_code=code,
        message=message,
        report=str(report),
        label=result.label,
        about=dict(result.about),
        slo=str(result.slo),
        sentences_per_request=result.sentences,
        attainable=sustained.attainable,
        reason=sustained.reason,
        slo_rate=sustained.rate,
        measured_rates=sustained.measured,
        highest_rate_passed=sustained.highest_passed,
        lowest_rate_failed=sustained.lowest_failed,
        saturated=result.saturated,
        usl=result.usl,
        model=_model(result.model),
        hold_out=HoldOutValue(
            median_error=median_error(result.validation),
            inside=sum(value.inside for value in result.validation),
            checks=result.validation,
            left_out=result.left_out,
        ),
        replicas=result.replicas,
        plan=_plan(result.planned) if result.planned else None,
        points=result.measurements,
        warnings=result.warnings,
    )


def _verdict(result: CapacityResult) -> tuple[ExitCode, str | None]:
    """The exit code, and the line about it."""
    if not result.sustained.attainable:
        return ExitCode.REGRESSION, f"bertbench: {result.slo} cannot be met: {result.sustained.reason}"
    if result.unplanned:
        return ExitCode.INCONCLUSIVE, f"bertbench: no plan: {result.unplanned}"
    return ExitCode.OK, None


def capacity_json(document: CapacityDocument) -> bytes:
    """The bytes of `capacity.json`."""
    return to_json(to_builtins(document), option=INDENTED)


def plan_row(row: PlanRow) -> PlanRowValue:
    """The plan of one rate for JSON."""
    return PlanRowValue(**asdict(row), price_month=row.price_month)


def _model(model: CapacityModel) -> ModelValue:
    return ModelValue(
        capacity=model.capacity,
        knee=model.knee,
        station=_station(model.parameter_set.queue_model),
        mean_work=float(model.parameter_set.work.mean()),
        valid=model.valid,
        discrepancy=model.discrepancy,
        widening=model.widening,
        warnings=model.warnings,
        table=[_prediction(model.predict(float(rate), extrapolate=True)) for rate in model.rates],
    )


def _prediction(found: Prediction) -> PredictionValue:
    latency = {name.replace(".", "_"): found.latency[name] for name in COLUMNS}
    return PredictionValue(rate=found.rate, utilisation=found.utilisation, extrapolated=found.extrapolated, **latency)


def _station(model: QueueModel) -> StationValue:
    return StationValue(
        servers=model.servers,
        speeds=model.speeds,
        overhead=model.overhead,
        calibration=1 / model.speed_factor,
        batching=model.batching,
    )


def _plan(planned: Planned) -> PlanValue:
    options = planned.options
    return PlanValue(
        redundancy=str(options.redundancy),
        headroom=options.headroom,
        price=options.price,
        policy=options.policy,
        row=plan_row(planned.row),
        table=list(map(plan_row, planned.table)),
        all_up=planned.all_up,
        spare_down=planned.spare_down,
        diurnal=diurnal_value(planned.diurnal) if planned.diurnal else None,
    )


def diurnal_value(day: DiurnalPlan) -> DiurnalValue:
    """The replicas of a day for JSON."""
    return DiurnalValue(
        spans=[SpanValue(**asdict(span), plan=plan_row(row)) for span, row in zip(day.spans, day.rows, strict=True)],
        peak=plan_row(day.peak),
        hours_followed=day.hours_followed,
        hours_fixed=day.hours_fixed,
        price_followed=day.price_followed,
        price_fixed=day.price_fixed,
    )
