"""`bertbench capacity fit` and `report`: the fit and the report of a sweep again."""

import argparse
from typing import Final, TextIO

from bench.capacity.cli.options import plan_request, print_result, slo_of
from bench.capacity.report.json_report import FitDocument, ReportDocument
from bench.capacity.report.report import REPORT
from bench.capacity.sweeps import fit_again, report_again
from bench.cli.common.command_output import CommandOutput

_DOCUMENTS: Final = {"fit": FitDocument, "report": ReportDocument}


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Fits the model again, or takes the stored one, and writes the report."""
    slo, plan = slo_of(args), plan_request(args)
    if args.action == "fit":
        result = fit_again(args.folder, slo, plan, args.seed, args.servers)
    else:
        result = report_again(args.folder, slo, plan)
    return print_result(result, args.folder / REPORT, out, err, _DOCUMENTS[args.action])
