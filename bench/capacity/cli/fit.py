"""`bertbench capacity fit` and `report`: a sweep's runs looked at again."""

import argparse
from pathlib import Path
from typing import TextIO

from bench.capacity.cli.finish import finish
from bench.capacity.cli.sweep import fit_options
from bench.capacity.experiment.sweep import fit_sweep
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import MeasuredStep, Stage, measure
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.model_file import read_model
from bench.capacity.model.validation import validate
from bench.capacity.plan.objective import slo_rate
from bench.capacity.plan.replica_validation import ReplicaValidation, predict_replicas, validate_replicas
from bench.capacity.plan.slo import Slo
from bench.core.errors import UsageError


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Fits again, or takes the stored model, and writes the report anew."""
    folder = SweepFolder.open(args.folder)
    steps = read_steps(folder)
    if args.action == "fit":
        options = fit_options(folder, args.seed, args.servers)
        model = fit_sweep(steps, options, lambda line: print(line, file=out))
    else:
        model = read_model(args.folder).model
    validated = validate(model, steps)
    slo = Slo.parse(args.slo or folder.job["slo"])
    return finish(folder, steps, validated, _replicas(folder, steps, validated.model, slo), args, out, err)


def read_steps(folder: SweepFolder) -> list[MeasuredStep]:
    """The steps of a sweep that are done, in order.

    Raises:
        UsageError: none is.
    """
    found = [measure(path, stage) for stage, path in _runs(folder)]
    if not found:
        raise UsageError(f"{folder.path} has no step that is done; go on with bertbench capacity --resume")
    return found


def _runs(folder: SweepFolder) -> list[tuple[Stage, Path]]:
    return [(Stage(step.split(" ", 1)[0]), path) for step in folder.steps if (path := folder.run_of(step)) is not None]


def _replicas(
    folder: SweepFolder, steps: list[MeasuredStep], model: CapacityModel, slo: Slo
) -> ReplicaValidation | None:
    """The check of several replicas, if the sweep ran them."""
    measurements = [entry.measurement for entry in steps if entry.measurement.stage is Stage.REPLICAS]
    single = [entry.measurement for entry in steps if entry.measurement.stage is not Stage.REPLICAS]
    sustained = slo_rate(model, single, slo)
    if not measurements or not sustained.attainable:
        return None
    count, policy = folder.job["replicas"], folder.job["policy"]
    predicted = predict_replicas(model, slo, sustained.rate, count, policy, folder.job["seed"])
    return validate_replicas(predicted, measurements, slo, count, policy)
