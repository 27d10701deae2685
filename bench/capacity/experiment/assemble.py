"""From the steps of a sweep and the model to the result of the measurement."""

from collections.abc import Mapping, Sequence
from typing import Final

from bench.capacity.experiment import experiment_design
from bench.capacity.experiment.sweep import measurements_of
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import MeasuredStep, Measurement, Stage
from bench.capacity.measurements.run_latencies import Repeats
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.usl import UslFit, fit_usl
from bench.capacity.model.validation import ValidatedModel, median_error
from bench.capacity.plan.planned import PlanRequest, plan_or_reason
from bench.capacity.plan.replica_validation import ReplicaValidation, predict_replicas, validate_replicas
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import slo_rate
from bench.core.units import format_number, format_percent, format_rate, pluralize
from bench.results.run_reader import Run, open_run

LARGE_ERROR: Final = 0.3
"""Smallest median error of the validation that the report warns of."""

LARGE_LOSS: Final = 0.1
"""Smallest loss of throughput with most users that the report warns of."""


def assemble(
    folder: SweepFolder,
    steps: Sequence[MeasuredStep],
    validated: ValidatedModel,
    replicas: ReplicaValidation | None,
    slo: Slo,
    request: PlanRequest | None,
) -> CapacityResult:
    """The result of a sweep.

    Args:
        folder: the sweep.
        steps: its steps, in order.
        validated: the model with its validation.
        replicas: the rate of several replicas, predicted and measured; None if not measured.
        slo: the objective.
        request: what to plan; None for no plan.
    """
    model = validated.model
    single = [step for step in steps if step.measurement.stage is not Stage.REPLICAS]
    ladder = [step for step in single if step.measurement.stage is Stage.LADDER]
    sustained = slo_rate(model, measurements_of(single), slo)
    planned, unplanned = None, ""
    if request is not None and sustained.attainable:
        # Without a plan, what was measured is reported all the same.
        planned, unplanned = plan_or_reason(model, sustained, slo, request)
    run = open_run(folder.runs / steps[0].measurement.run, verify=False)
    warnings = [
        *sweep_warnings(steps, validated),
        *sustained.rate.warnings,
        *(replicas.predicted.warnings if replicas is not None else ()),
        *([f"no plan: {unplanned}"] if unplanned else []),
    ]
    return CapacityResult(
        label=folder.setting("label") or _label(run),
        about=_about(run),
        slo=slo,
        measurements=measurements_of(steps),
        saturated=experiment_design.saturated_rate(measurements_of(ladder)),
        usl=_usl(ladder),
        model=model,
        sustained=sustained,
        validation=validated.validation,
        left_out=validated.left_out,
        replicas=replicas,
        planned=planned,
        unplanned=unplanned,
        warnings=tuple(dict.fromkeys(warnings)),
        sentences=run.manifest.workload.sentences,
    )


def sweep_warnings(steps: Sequence[MeasuredStep], validated: ValidatedModel) -> tuple[str, ...]:
    """The warnings of a sweep, whatever the objective, one line each."""
    ladder = [step for step in steps if step.measurement.stage is Stage.LADDER]
    return (
        *validated.model.warnings,
        *_ladder_warnings(measurements_of(ladder)),
        *_validation_warnings(validated),
        *_invalid_warnings(steps),
    )


def _usl(ladder: Sequence[MeasuredStep]) -> UslFit | None:
    measurements = measurements_of(ladder)
    return fit_usl(
        [m.users or 0 for m in measurements],
        [m.throughput.center or 0.0 for m in measurements],
        [Repeats((step.latencies,)).throughput_error() for step in ladder],
    )


def validate_fleet(
    folder: SweepFolder, steps: Sequence[MeasuredStep], model: CapacityModel, slo: Slo
) -> ReplicaValidation | None:
    """The rate of several replicas, predicted and measured; None if they were not measured."""
    measurements = [m for m in measurements_of(steps) if m.stage is Stage.REPLICAS]
    sustained = slo_rate(model, [m for m in measurements_of(steps) if m.stage is not Stage.REPLICAS], slo)
    if not measurements or not sustained.attainable:
        return None
    count, policy = folder.setting("replicas"), folder.setting("policy")
    predicted = predict_replicas(model, slo, sustained.rate, count, policy, folder.setting("seed"))
    return validate_replicas(predicted, measurements, slo, count, policy)


def _ladder_warnings(ladder: Sequence[Measurement]) -> list[str]:
    """Whether a long queue reduces the throughput."""
    lost, most_users = experiment_design.lost_at_saturation(ladder), experiment_design.with_most_users(ladder)
    if lost < LARGE_LOSS:
        return []
    return [
        f"throughput with {most_users.load} is {format_percent(lost, 2)} below its best: a backlog slows the server "
        f"down, and above {format_rate(most_users.throughput.center or 0.0)} a backlog may never clear"
    ]


def _validation_warnings(validated: ValidatedModel) -> list[str]:
    """What the validation shows of the model."""
    found, validation = [], validated.validation
    error = median_error(validation)
    if validated.left_out:
        runs = "; ".join(map(str, validated.left_out))
        found.append(f"{'the model is not tested' if error is None else 'left out of the validation'}: {runs}")
    if error is not None and error > LARGE_ERROR:
        found.append(f"the median error of the validation is {format_percent(error)}: use the measured latencies")
    if validated.model.widening > 1:
        inside = sum(value.inside for value in validation)
        found.append(
            f"{inside} of {pluralize(len(validation), 'value')} of the validation are inside their 90 % interval: all "
            f"intervals are widened by the factor {format_number(validated.model.widening, 2)}, which contains 90 %"
        )
    if validated.sustained:
        rates = ", ".join(format_rate(rate) for rate in validated.sustained)
        found.append(
            f"the server sustained {rates}, above the capacity of the model "
            f"({format_rate(validated.model.parameter_set.capacity)}): the model is too pessimistic there, or the "
            f"machine was faster then"
        )
    return found


def _invalid_warnings(steps: Sequence[MeasuredStep]) -> list[str]:
    invalid = sum(bool(m.reasons) for m in measurements_of(steps))
    total = pluralize(len(steps), "run")
    return [f"{invalid} of {total} INVALID as measurements; the report gives the reasons"] if invalid else []


def _label(run: Run) -> str:
    workload = run.manifest.workload
    flags = run.manifest.server.get("flags", [])
    batching = ["batching"] if any("enable_batching" in flag and "=false" not in flag for flag in flags) else []
    return ", ".join([workload.protocol, workload.signature, workload.precision, run.manifest.target, *batching])


def _about(run: Run) -> Mapping[str, str]:
    """What was measured, text by name."""
    manifest = run.manifest
    workload, machine, server = manifest.workload, manifest.environment, manifest.server
    sentences, checked = pluralize(workload.sentences, "sentence"), format_percent(workload.check_share)
    found = {
        "target": f"{manifest.target} ({server.get('backend', 'unknown')})",
        "server flags": " ".join(server.get("flags", [])),
        "protocol": f"{workload.protocol}, transport {workload.transport}, signature {workload.signature}",
        "request": f"{sentences}, {checked} of the answers checked",
        "headers": ", ".join(manifest.headers),
        "model": f"{workload.model_digest[:19]}…, {workload.precision}",
        "machine": ", ".join((machine.cpu_model or "unknown CPU", pluralize(machine.cores, "core"), *machine.gpus)),
        "begun": manifest.started,
    }
    return {name: text for name, text in found.items() if text}
