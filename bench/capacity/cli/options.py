"""Options that several actions of `bertbench capacity` share, and the values that they give."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from bench.capacity.cli.arguments.capacity import NO_PLAN, PLAN_DEFAULTS
from bench.capacity.experiment.sweep_folder import FILE_NAME as SWEEP
from bench.capacity.model.model_file import FILE_NAME as MODEL
from bench.capacity.plan.diurnal import read_diurnal
from bench.capacity.plan.plan import PlanOptions, Redundancy, parse_plan
from bench.capacity.plan.planned import PlanRequest
from bench.capacity.plan.report_options import GivenOptions
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo import Slo
from bench.capacity.report.json_report import CapacityDocument, capacity_document
from bench.capacity.report.text_report import capacity_lines
from bench.cli.common.command_output import CommandOutput
from bench.core.errors import UsageError
from bench.core.units import parse_fraction, pluralize


def files_read(args: argparse.Namespace, folders: Sequence[Path]) -> list[Path]:
    """What an action on finished sweeps reads, and must not overwrite."""
    return [
        *(folder / name for folder in folders for name in (SWEEP, MODEL)),
        *([args.diurnal] if args.diurnal else []),
    ]


def slo_of(args: argparse.Namespace) -> Slo | None:
    """The objective of `--slo`; None without one."""
    return Slo.parse(args.slo) if args.slo else None


def plan_options(args: argparse.Namespace, sweeps: int = 1) -> list[PlanOptions]:
    """The options of the plan of each of `sweeps`.

    Raises:
        UsageError: a malformed option, or neither one price nor as many as there are sweeps.
    """
    prices = args.price or [None]
    if len(prices) not in (1, sweeps):
        cure = "give one --price for each, or one for all" if sweeps > 1 else "give --price once"
        raise UsageError(f"{len(prices)} prices for {pluralize(sweeps, 'sweep')}; {cure}")
    redundancy, headroom = Redundancy.parse(args.redundancy), parse_fraction(args.headroom)
    return [
        PlanOptions(redundancy, headroom, price, args.policy)
        for price in (prices if len(prices) > 1 else prices * sweeps)
    ]


def plan_request(args: argparse.Namespace, sweeps: int = 1) -> PlanRequest | None:
    """The rates to plan for, with the options of the first of `sweeps`; None where none was given.

    Raises:
        UsageError: a malformed option, a file that cannot be read, or options of a plan without a rate.
    """
    options = plan_options(args, sweeps)[0]
    rate = parse_plan(args.plan) if args.plan and args.plan != NO_PLAN else None
    if rate is None and args.diurnal is None:
        _refuse_idle(args)
        return None
    return PlanRequest(rate, read_diurnal(args.diurnal) if args.diurnal else (), options)


def given_report(args: argparse.Namespace) -> GivenOptions:
    """What a report made again has instead of the stored options; see `plan_request` for the errors."""
    return GivenOptions(slo_of(args), plan_request(args), args.plan == NO_PLAN)


def _refuse_idle(args: argparse.Namespace) -> None:
    """Refuses options of a plan, which have no effect without one.

    Only those on the command line: settings of a variable or the file are defaults for all reports.
    """
    idle = [name for name in PLAN_DEFAULTS if name in args.given]
    # The sweep measures its replicas with the policy too.
    if getattr(args, "replicas", 1) > 1 and "policy" in idle:
        idle.remove("policy")
    if idle:
        names = ", ".join(f"--{name}" for name in idle)
        raise UsageError(f"{names} without a rate to plan for; give --plan rate=500/s or --diurnal FILE.csv")


def print_result(
    result: CapacityResult,
    report: Path,
    out: CommandOutput,
    err: TextIO,
    kind: type[CapacityDocument] = CapacityDocument,
) -> int:
    """Prints the result and the path of the report.

    Returns:
        The exit code: 1 if no rate meets the objective, 3 without a plan that was asked for.
    """
    document = capacity_document(result, report, kind)
    lines = list(capacity_lines(result))
    out.result(document, "\n".join((*lines, f"report: {report}")), lines[0])
    if document.message is not None:
        print(document.message, file=err)
    return document.exit_code
