"""`bertbench capacity plan`: replicas and cost from stored sweeps."""

import argparse
from typing import TextIO

from bench.capacity.cli.options import plan_options, plan_request, slo_of
from bench.capacity.model.model_file import read_model
from bench.capacity.plan.compare_sweeps import compare_sweeps
from bench.capacity.report.markdown_report import sweeps_markdown
from bench.core.atomic_files import write_atomically
from bench.core.errors import ExitCode, InconclusiveError, UsageError


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Prints the plans of one or several sweeps.

    Raises:
        UsageError: there is no rate, or no model in a folder.
        InconclusiveError: no sweep allows a plan.
    """
    request = plan_request(args)
    if request is None:
        raise UsageError("a plan needs a rate; give --plan rate=500/s or --diurnal FILE.csv")
    stored = [read_model(folder) for folder in args.folders]
    options = [plan_options(args, number) for number in range(len(stored))]
    sweeps = compare_sweeps(stored, request.planned_rate, options, slo_of(args))
    text = sweeps_markdown(sweeps, request.planned_rate)
    print(text, file=out)
    if args.out is not None:
        write_atomically(args.out, text.encode())
    if all(sweep.row is None for sweep in sweeps):
        raise InconclusiveError(
            "no sweep allows a plan: each sustained rate may be 0; measure longer, or give another --slo"
        )
    return ExitCode.OK
