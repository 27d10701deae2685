"""`bertbench capacity fit` and `report`: a sweep's runs looked at again."""

import argparse
from pathlib import Path
from typing import TextIO

from bench.capacity.cli.finish import finish
from bench.capacity.cli.sweep import fit_options
from bench.capacity.experiment.sweep import fit_sweep
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import Measurement, Stage, measure
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.model_file import read_model
from bench.capacity.model.validation import hold_to_runs
from bench.capacity.plan.objective import slo_rate
from bench.capacity.plan.replica_check import ReplicaCheck, check_replicas, predict_replicas
from bench.capacity.plan.slo import Slo
from bench.core.errors import UsageError


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Fits again, or takes the stored model, and writes the report anew."""
    folder = SweepFolder.open(args.folder)
    measurements = read_measurements(folder)
    if args.action == "fit":
        options = fit_options(folder, args.seed, args.servers)
        model = fit_sweep(measurements, options, lambda line: print(line, file=out))
    else:
        model = read_model(args.folder).model
    tested = hold_to_runs(model, measurements)
    slo = Slo.parse(args.slo or folder.job["slo"])
    return finish(folder, measurements, tested, _replicas(folder, measurements, tested.model, slo), args, out, err)


def read_measurements(folder: SweepFolder) -> list[Measurement]:
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
    folder: SweepFolder, measurements: list[Measurement], model: CapacityModel, slo: Slo
) -> ReplicaCheck | None:
    """The check of several replicas, if the sweep ran them."""
    points = [entry.point for entry in measurements if entry.point.stage is Stage.REPLICAS]
    single = [entry.point for entry in measurements if entry.point.stage is not Stage.REPLICAS]
    carried = slo_rate(model, single, slo)
    if not points or not carried.attainable:
        return None
    count, policy = folder.job["replicas"], folder.job["policy"]
    predicted = predict_replicas(model, slo, carried.rate, count, policy, folder.job["seed"])
    return check_replicas(predicted, points, slo, count, policy)
