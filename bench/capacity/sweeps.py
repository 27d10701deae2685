"""Measures the capacity of a server and stores everything; what `bertbench capacity` and `bench.api.sweep` do."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.bert.contract.golden import read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.capacity.experiment.assemble import assemble, sweep_warnings, validate_fleet
from bench.capacity.experiment.batching import read_batching
from bench.capacity.experiment.experiment_design import FULL, Scale, expected_seconds
from bench.capacity.experiment.runner_driver import ReplicaServers, RunnerDriver, template_of
from bench.capacity.experiment.sweep import Sweep, SweepResult, fit_sweep, measurements_of
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.experiment.sweep_spec import SweepSpec
from bench.capacity.measurements.measured_step import MeasuredStep, Stage, measure
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.fit import FitOptions
from bench.capacity.model.model_file import StoredModel, read_model, write_model
from bench.capacity.model.validation import ValidatedModel, validate
from bench.capacity.plan.replica_validation import ReplicaValidation
from bench.capacity.plan.report_options import GivenOptions, ReportOptions, changed_report
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo import Slo
from bench.core import interrupts
from bench.core.atomic_files import sole_use
from bench.core.errors import BenchError, UsageError
from bench.core.units import pluralize
from bench.load.runner.client import open_runner
from bench.server.lifecycle import check_model

_UNKNOWN_OPTIONS: Final = (
    "this report replaces one whose options an earlier version did not store: without --slo the objective is that of "
    "the sweep, and without --plan or --diurnal there is no plan"
)


def sweep(spec: SweepSpec, listener: SweepListener | None = None) -> CapacityResult:
    """Measures the capacity of a server, fits and validates the model, plans, and writes the report.

    A managed target (`embedded`, `docker:cpu`, ...) is started before and stopped after. Runs, model and report are in
    `spec.out`; each run is there as soon as it is complete, so an interrupted sweep can continue (`spec.resume`).

    Args:
        spec: what is measured, how long, and what is planned.
        listener: receives the progress.

    Raises:
        UsageError: values that contradict each other, a folder with another sweep or in which one runs, or no golden
            answers.
        TargetError: the server does not come up, does not serve the model, or stops answering.
        WrongAnswerError: a remote server holds another model, or every answer is wrong.
        InconclusiveError: the load generator was the limit, or too little was measured.
    """
    listener = listener or SweepListener()
    if spec.load.model_dir is None:
        spec = replace(spec, load=replace(spec.load, model_dir=demo_model_dir()))
    load = spec.load
    assert load.model_dir is not None
    job = spec.job(read_golden(load.model_dir).golden)
    _refuse_servers(job["batching"], spec.servers)
    check_model(load.target, load.model_dir, load.server_flags)
    folder = SweepFolder.create(spec.out, job, resume=spec.resume)
    options = ReportOptions(str(spec.slo), spec.plan, load.seed, spec.servers)
    measured: list[MeasuredStep] = []
    with sole_use(folder.path), _reporting_interrupts(folder, measured):
        if not folder.steps:
            # A report of an interrupted sweep has them too.
            folder.store_report(options)
        try:
            result = _measure(spec, folder, measured, listener)
        except BenchError:
            folder.discard_unbegun()
            raise
        return _finish(folder, measured, result.validated, result.replicas, options)


def _measure(
    spec: SweepSpec, folder: SweepFolder, measured: list[MeasuredStep], listener: SweepListener
) -> SweepResult:
    """Makes all steps; `measured` receives them."""
    listener.expect(expected_seconds(spec.scale, spec.replicas))
    with contextlib.ExitStack() as stack, open_runner() as runner:
        servers, template = ReplicaServers(spec, stack), template_of(spec)
        driver = RunnerDriver(runner, listener, servers, 1, template)
        fleet = replace(driver, replicas=spec.replicas)
        fit = fit_options(folder, spec.load.seed, spec.servers, spec.scale)
        sweep = Sweep(folder, driver, spec.scale, spec.slo, spec.load.seed, listener, fit, measured)
        return sweep.run(spec.replicas, spec.load.policy, fleet)


@contextlib.contextmanager
def _reporting_interrupts(folder: SweepFolder, measured: Sequence[MeasuredStep]) -> Iterator[None]:
    """Writes a report of the completed steps where a signal ends the sweep."""
    try:
        yield
    except KeyboardInterrupt as error:
        # Here and not above, so that only a report loads matplotlib.
        from bench.capacity.report.report import write_interrupted

        signal = interrupts.received()
        why = "interrupted" if signal is None else f"interrupted by {interrupts.name_of(signal)}"
        path = write_interrupted(measurements_of(measured), why, folder.path)
        error.add_note(f"{pluralize(len(measured), 'step')} done, see {path}; --resume continues")
        raise


def fit_again(path: Path, given: GivenOptions, seed: int | None, servers: int | None) -> CapacityResult:
    """Fits the model to the runs of a sweep again, and writes model and report.

    Args:
        path: folder of the sweep.
        given: options of the report that replace the stored ones.
        seed: random seed of the fit; None for that of the fit before.
        servers: requests that the server works on at once; None if it is unknown.

    Raises:
        UsageError: there is no sweep, or it has no completed step.
        InconclusiveError: too little was measured.
    """
    folder = SweepFolder.open(path)
    steps = read_steps(folder)
    stored = _stored_options(folder)
    options = replace(given.over(stored), seed=stored.seed if seed is None else seed, servers=servers)
    model = fit_sweep(steps, fit_options(folder, options.seed, servers, FULL))
    return _validate_and_finish(folder, steps, model, options)


def report_again(path: Path, given: GivenOptions) -> CapacityResult:
    """Writes the report of a sweep again, with its stored model; arguments and errors as for `fit_again`."""
    folder = SweepFolder.open(path)
    steps = read_steps(folder)
    return _validate_and_finish(folder, steps, read_model(path).model, given.over(_stored_options(folder)))


def _stored_options(folder: SweepFolder) -> ReportOptions:
    """The options of the stored report; those of the sweep where an earlier version did not store them."""
    return folder.report or ReportOptions(folder.setting("slo"), seed=folder.job.get("seed", 0))


def _validate_and_finish(
    folder: SweepFolder, steps: Sequence[MeasuredStep], model: CapacityModel, options: ReportOptions
) -> CapacityResult:
    validated = validate(model, steps)
    replicas = validate_fleet(folder, steps, validated.model, Slo.parse(options.slo))
    return _finish(folder, steps, validated, replicas, options)


def fit_options(folder: SweepFolder, seed: int, servers: int | None, scale: Scale) -> FitOptions:
    """Options of the fit of a sweep.

    Raises:
        UsageError: `servers` for a server that makes batches.
    """
    batching, threads = read_batching(folder.setting("batching"))
    _refuse_servers(folder.setting("batching"), servers)
    return FitOptions(
        replicates=scale.replicates,
        effort=scale.effort,
        reference=scale.reference,
        seed=seed,
        servers=servers,
        batching=batching,
        threads=threads,
    )


def _refuse_servers(batching: str, servers: int | None) -> None:
    if servers is not None and batching != "off":
        raise UsageError(
            f"--servers {servers} has no effect on a server that makes batches ({batching}): it works on as many "
            "batches as it has threads; leave --servers out"
        )


def read_steps(folder: SweepFolder) -> list[MeasuredStep]:
    """The completed steps of a sweep, in order.

    Raises:
        UsageError: there is none.
    """
    paths = ((step, folder.run_of(step)) for step in folder.steps)
    found = [measure(path, _stage_of(step)) for step, path in paths if path is not None]
    if not found:
        named = shlex.quote(str(folder.path))
        raise UsageError(
            f"{folder.path} has no completed step; continue it with bertbench capacity --resume --out {named}"
        )
    return found


def _stage_of(step: str) -> Stage:
    word = step.split(" ", 1)[0]
    if word not in set(Stage):
        raise UsageError(f"the sweep has a step {step!r}, which is none; restore its file, or give another --out")
    return Stage(word)


def _finish(
    folder: SweepFolder,
    steps: Sequence[MeasuredStep],
    validated: ValidatedModel,
    replicas: ReplicaValidation | None,
    options: ReportOptions,
) -> CapacityResult:
    """Assembles the result, and writes model and report."""
    from bench.capacity.report.report import JSON, write_capacity_report

    result = assemble(folder, steps, validated, replicas, Slo.parse(options.slo), options.plan)
    if folder.report is not None:
        result = replace(result, warnings=(*result.warnings, *changed_report(folder.report, options)))
    elif (folder.path / JSON).exists():
        result = replace(result, warnings=(*result.warnings, _UNKNOWN_OPTIONS))
    stored = StoredModel(
        label=result.label,
        about=result.about,
        # Not that of this report: later plans begin from the objective of the sweep.
        slo=folder.setting("slo"),
        model=result.model,
        measurements=tuple(result.measurements),
        warnings=sweep_warnings(steps, validated),
        sentences=result.sentences,
    )
    write_model(folder.path, stored)
    write_capacity_report(result, folder.path)
    folder.store_report(options)
    return result
