"""`bertbench capacity plan`: replicas and cost from stored sweeps."""

import argparse
from collections.abc import Sequence
from typing import Annotated, TextIO

from msgspec import Meta, Struct

from bench.capacity.cli.options import files_read, plan_options, plan_request, slo_of
from bench.capacity.model.model_file import read_model
from bench.capacity.plan.compare_sweeps import ComparedSweep, cheapest, compare_sweeps, differences
from bench.capacity.plan.plan import SimulatedPlan
from bench.capacity.report.json_report import DiurnalValue, PlanRowValue, diurnal_value, plan_row
from bench.capacity.report.markdown_report import sweeps_markdown
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.output_files import refuse_overlaps
from bench.core.atomic_files import write_named
from bench.core.errors import ExitCode, UsageError
from bench.core.output import to_utf8
from bench.stats.estimate import Estimate


class SweepPlan(Struct, frozen=True, kw_only=True):
    """The plan from one sweep."""

    label: Annotated[str, Meta(description="name of the measured server")]
    slo: Annotated[str, Meta(description="the objective of the plan")]
    sentences_per_request: int
    attainable: Annotated[bool, Meta(description="whether any rate meets the objective")]
    reason: Annotated[str, Meta(description="why no plan is possible; empty if one is")]
    sustained: Annotated[Estimate, Meta(description="rate of one replica within the objective, requests/s")]
    plan: Annotated[PlanRowValue | None, Meta(description="null if none is possible")]
    table: Annotated[Sequence[PlanRowValue], Meta(description="rates around the planned one")]
    all_up: Annotated[SimulatedPlan | None, Meta(description="simulation of the fleet; null if no plan is possible")]
    spare_down: Annotated[SimulatedPlan | None, Meta(description="the same without the spare replicas")]
    diurnal: Annotated[DiurnalValue | None, Meta(description="the plan of the day; null without one")]
    warnings: Annotated[Sequence[str], Meta(description="of the sweep and of the sustained rate")]


class PlanDocument(Document, frozen=True, kw_only=True):
    """Replicas and cost for a rate."""

    command: str = "capacity plan"
    rate: Annotated[float, Meta(description="requests/s")]
    sweeps: Sequence[SweepPlan]
    cheapest: Annotated[str | None, Meta(description="label of the sweep with the lowest price, or fewest replicas")]
    warnings: Annotated[Sequence[str], Meta(description="what makes the plans answers to different questions")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Prints the plans of one or several sweeps.

    Returns:
        0; if no sweep allows a plan 1 where none meets its objective at any rate, otherwise 3.

    Raises:
        UsageError: there is no rate, or no model in a folder, or the output would overwrite one.
    """
    request = plan_request(args, len(args.folders))
    if request is None:
        raise UsageError("a plan needs a rate; give --plan rate=500/s or --diurnal FILE.csv")
    refuse_overlaps({"--out": args.out}, others=files_read(args, args.folders))
    stored = [read_model(folder) for folder in args.folders]
    options = plan_options(args, len(stored))
    sweeps = compare_sweeps(stored, request, options, slo_of(args))
    text = sweeps_markdown(sweeps, request.planned_rate)
    if args.out is not None:
        write_named(args.out, to_utf8(text))
    best = cheapest(sweeps)
    code, message = (ExitCode.OK, None) if best else _verdict(sweeps)
    document = PlanDocument(
        rate=request.planned_rate,
        sweeps=list(map(_value, sweeps)),
        cheapest=best.label if best else None,
        warnings=differences(sweeps),
        exit_code=code,
        message=message,
    )
    out.result(document, text)
    if message is not None:
        print(message, file=err)
    return code


def _verdict(sweeps: Sequence[ComparedSweep]) -> tuple[ExitCode, str]:
    """The exit code where no plan is possible, and the line about it."""
    code = ExitCode.INCONCLUSIVE if any(sweep.sustained.attainable for sweep in sweeps) else ExitCode.REGRESSION
    whys = [
        sweep.unplanned if sweep.sustained.attainable else f"{sweep.slo} cannot be met: {sweep.unplanned}"
        for sweep in sweeps
    ]
    labelled = [f"{sweep.label}: {why}" for sweep, why in zip(sweeps, whys, strict=True)] if len(sweeps) > 1 else whys
    return code, f"bertbench: no plan: {'; '.join(labelled)}"


def _value(sweep: ComparedSweep) -> SweepPlan:
    planned = sweep.planned
    return SweepPlan(
        label=sweep.label,
        slo=str(sweep.slo),
        sentences_per_request=sweep.sentences,
        attainable=sweep.sustained.attainable,
        reason=sweep.unplanned,
        sustained=sweep.sustained.rate,
        plan=None if planned is None else plan_row(planned.row),
        table=[] if planned is None else list(map(plan_row, planned.table)),
        all_up=None if planned is None else planned.all_up,
        spare_down=None if planned is None else planned.spare_down,
        diurnal=None if planned is None or planned.diurnal is None else diurnal_value(planned.diurnal),
        warnings=sweep.warnings,
    )
