"""From a sweep's steps to its report, its stored model, its last lines and its exit code."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TextIO

from bench.capacity.experiment import experiment_design
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import MeasuredStep, Measurement, Stage
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.model_file import StoredModel, write_model
from bench.capacity.model.usl import fit_usl
from bench.capacity.model.validation import ValidatedModel, median_error
from bench.capacity.plan.diurnal import plan_diurnal, read_diurnal
from bench.capacity.plan.objective import SloRate, slo_rate
from bench.capacity.plan.plan import PlanOptions, Redundancy, parse_plan, plan, rates_around, simulate_plan
from bench.capacity.plan.replica_validation import ReplicaValidation
from bench.capacity.plan.result import CapacityResult, Planned
from bench.capacity.plan.slo import Slo
from bench.capacity.report.report import write_capacity_report
from bench.capacity.report.text_report import capacity_lines
from bench.core.errors import ExitCode, UsageError
from bench.core.units import format_number, format_percent, format_rate, parse_fraction, pluralize
from bench.results.run_reader import Run, open_run

_UNSURE = 0.3
_RETROGRADE = 0.1


def finish(
    folder: SweepFolder,
    steps: Sequence[MeasuredStep],
    validated: ValidatedModel,
    replicas: ReplicaValidation | None,
    args: argparse.Namespace,
    out: TextIO,
    err: TextIO,
) -> int:
    """Writes model and report, prints what was found.

    Args:
        folder: the sweep's.
        steps: every step.
        validated: the model fitted to them, and what it was held to.
        replicas: the check of several replicas, if it was made.
        args: `slo` and the plan's options.
        out: for what was found.
        err: for the line on an objective that cannot be met.

    Returns:
        0; 1 if no rate meets the objective.
    """
    result = assemble(folder, steps, validated, replicas, args)
    write_model(
        folder.path,
        StoredModel(result.label, result.about, str(result.slo), validated.model, tuple(result.measurements)),
    )
    path = write_capacity_report(result, folder.path)
    for line in capacity_lines(result):
        print(line, file=out)
    print(f"report: {path}", file=out)
    if result.sustained.attainable:
        return ExitCode.OK
    print(f"bertbench: {result.slo} cannot be met: {result.sustained.reason}", file=err)
    return ExitCode.REGRESSION


def assemble(
    folder: SweepFolder,
    steps: Sequence[MeasuredStep],
    validated: ValidatedModel,
    replicas: ReplicaValidation | None,
    args: argparse.Namespace,
) -> CapacityResult:
    """All that the sweep found."""
    model = validated.model
    slo = Slo.parse(args.slo or folder.job["slo"])
    single = [entry for entry in steps if entry.measurement.stage is not Stage.REPLICAS]
    measurements = [entry.measurement for entry in single]
    sustained = slo_rate(model, measurements, slo)
    ladder = [entry.measurement for entry in single if entry.measurement.stage is Stage.LADDER]
    warnings = [*model.warnings, *_ladder_warnings(ladder), *_test_warnings(validated), *sustained.rate.warnings]
    invalid = sum(bool(entry.measurement.reasons) for entry in steps)
    if invalid:
        total = pluralize(len(steps), "run")
        warnings.append(f"INVALID as steps: {invalid} of {total}; the report says why")
    run = open_run(folder.runs / steps[0].measurement.run, verify=False)
    return CapacityResult(
        label=folder.job["label"] or _label(run),
        about=_about(run),
        slo=slo,
        measurements=[entry.measurement for entry in steps],
        saturated=experiment_design.saturated_rate(ladder),
        usl=fit_usl(
            [m.users or 0 for m in ladder],
            [m.throughput.center or 0.0 for m in ladder],
            [_error(entry) for entry in single if entry.measurement.stage is Stage.LADDER],
        ),
        model=model,
        sustained=sustained,
        checks=validated.checks,
        replicas=replicas,
        planned=_planned(model, sustained, slo, args),
        warnings=tuple(dict.fromkeys(warnings)),
        sentences=run.manifest.workload.sentences,
    )


def _ladder_warnings(ladder: Sequence[Measurement]) -> list[str]:
    """That a queue makes the server slower, if it does."""
    lost, most_users = (
        experiment_design.lost_at_saturation(ladder),
        max(ladder, key=lambda m: m.users or 0),
    )
    if lost < _RETROGRADE:
        return []
    return [
        f"with {most_users.load} it does {format_percent(lost, 2)} less than at its best: a backlog makes it "
        f"slower, and above "
        f"{format_rate(most_users.throughput.center or 0.0)} one that was there once may stay"
    ]


def _test_warnings(validated: ValidatedModel) -> list[str]:
    """What the runs that the model never saw showed of it."""
    found, checks = [], validated.checks
    middle = median_error(checks)
    if middle is not None and middle > _UNSURE:
        found.append(
            f"the model misses runs that it never saw by {format_percent(middle)}: take the measured table instead"
        )
    if validated.model.widening > 1:
        inside = sum(check.inside for check in checks)
        found.append(
            f"{inside} of {len(checks)} figures of those runs lay inside their 90 % interval: all intervals are made "
            f"{format_number(validated.model.widening, 2)} times as wide, as wide as would have held 90 %"
        )
    if validated.sustained:
        rates = ", ".join(format_rate(rate) for rate in validated.sustained)
        found.append(
            f"kept up with {rates} when run, where the model has not the capacity "
            f"({format_rate(validated.model.parameter_set.capacity)}): it is too pessimistic there, or the machine was "
            f"faster then"
        )
    return found


def _error(entry: MeasuredStep) -> float:
    """Relative standard error of a step's throughput."""
    rates = entry.latencies.block_rates()
    return float(rates.std(ddof=1) / len(rates) ** 0.5 / max(rates.mean(), 1e-9))


def plan_options(args: argparse.Namespace, number: int = 0) -> PlanOptions:
    """The plan's options, for the sweep `number` of several.

    Raises:
        UsageError: an option that makes no sense.
    """
    if args.plan:
        parse_plan(args.plan)
    if args.diurnal is not None:
        read_diurnal(args.diurnal)
    prices = args.price or [None]
    if len(prices) > 1 and number >= len(prices):
        raise UsageError(f"{len(prices)} prices for more sweeps; give one --price for each, or one for all")
    price = prices[number] if len(prices) > 1 else prices[0]
    return PlanOptions(Redundancy.parse(args.redundancy), parse_fraction(args.headroom), price, args.policy)


def _planned(model: CapacityModel, sustained: SloRate, slo: Slo, args: argparse.Namespace) -> Planned | None:
    """The plan that was asked for; None if none was, or no rate can be sustained."""
    if (not args.plan and args.diurnal is None) or not sustained.attainable:
        return None
    options = plan_options(args)
    spans = read_diurnal(args.diurnal) if args.diurnal else ()
    diurnal = plan_diurnal(model, sustained.rate, spans, options) if spans else None
    rate = parse_plan(args.plan) if args.plan else max(span.rate for span in spans)
    row = plan(model, sustained.rate, rate, options)
    return Planned(
        options=options,
        row=row,
        table=tuple(plan(model, sustained.rate, other, options) for other in rates_around(rate)),
        all_up=simulate_plan(model, slo, rate, row.replicas, options.policy),
        spare_down=simulate_plan(model, slo, rate, row.needed, options.policy),
        diurnal=diurnal,
    )


def _label(run: Run) -> str:
    workload = run.manifest.workload
    flags = run.manifest.server.get("flags", [])
    batching = ["batching"] if any("enable_batching" in flag and "=false" not in flag for flag in flags) else []
    return ", ".join([workload.protocol, workload.signature, workload.precision, run.manifest.target, *batching])


def _about(run: Run) -> Mapping[str, str]:
    manifest = run.manifest
    workload, machine = manifest.workload, manifest.environment
    count = workload.sentences
    found = {
        "target": f"{manifest.target} ({manifest.server.get('backend', 'unknown')})",
        "server flags": " ".join(manifest.server.get("flags", [])),
        "protocol": f"{workload.protocol}, transport {workload.transport}, signature {workload.signature}",
        "request": f"{pluralize(count, 'sentence')}, {format_percent(workload.check_share)} of the answers checked",
        "model": f"{workload.model_digest[:19]}…, {workload.precision}",
        "machine": f"{machine.cpu_model}, {machine.cores} cores"
        + (f", {', '.join(machine.gpus)}" if machine.gpus else ""),
        "begun": manifest.started,
    }
    return {name: text for name, text in found.items() if text}
