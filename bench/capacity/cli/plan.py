"""`bertbench capacity plan`: replicas and cost from sweeps that were made."""

import argparse
from typing import TextIO

from bench.capacity.cli.finish import plan_options
from bench.capacity.measurements.measured_step import Stage
from bench.capacity.model.model_file import StoredModel, read_model
from bench.capacity.plan.diurnal import read_diurnal
from bench.capacity.plan.objective import slo_rate
from bench.capacity.plan.plan import ComparedSweep, parse_plan, plan, rates_around
from bench.capacity.plan.slo import Slo
from bench.capacity.report.text_report import plan_table, rate_interval, sweeps_markdown
from bench.core.atomic_files import write_atomically
from bench.core.errors import ExitCode, InconclusiveError, UsageError


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Prints the plan of one sweep over several rates, or several sweeps side by side.

    Raises:
        UsageError: no rate, or no model in a folder.
        InconclusiveError: one sweep alone, and it cannot be planned with.
    """
    if not args.plan and args.diurnal is None:
        raise UsageError("a plan needs a rate; give --plan rate=500/s or --diurnal FILE.csv")
    rate = parse_plan(args.plan) if args.plan else max(span.rate for span in read_diurnal(args.diurnal))
    stored = [read_model(folder) for folder in args.folders]
    rows = [_set(entry, rate, args, number) for number, entry in enumerate(stored)]
    blocks = [sweeps_markdown(rows, rate)]
    for number, (entry, row) in enumerate(zip(stored, rows, strict=True)):
        if row.row is None:
            continue
        options = plan_options(args, number)
        table = plan_table([plan(entry.model, row.sustained, other, options) for other in rates_around(rate)])
        blocks.append(
            f"## {entry.label}\n\nOne server carries {rate_interval(row.sustained)} by the model.\n\n{table}\n"
        )
    text = "\n".join(blocks)
    print(text, file=out)
    if args.out is not None:
        write_atomically(args.out, text.encode())
    if all(row.row is None for row in rows):
        raise InconclusiveError("no set can be planned with: none carries a rate within the objective surely enough")
    return ExitCode.OK


def _set(stored: StoredModel, rate: float, args: argparse.Namespace, number: int) -> ComparedSweep:
    slo = Slo.parse(args.slo or stored.slo)
    measurements = [m for m in stored.measurements if m.stage is not Stage.REPLICAS]
    sustained = slo_rate(stored.model, measurements, slo)
    if not sustained.attainable or not sustained.rate.lo:
        return ComparedSweep(stored.label, sustained.rate, None)
    return ComparedSweep(
        stored.label, sustained.rate, plan(stored.model, sustained.rate, rate, plan_options(args, number))
    )
