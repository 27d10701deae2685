"""`bertbench capacity fit` and `report`: the fit and the report of a sweep again."""

import argparse
from typing import Final, TextIO

from bench.capacity.cli.options import given_report, print_result
from bench.capacity.report.json_report import FitDocument, ReportDocument
from bench.capacity.report.report import REPORT
from bench.capacity.sweeps import fit_again, report_again
from bench.cli.common.command_output import CommandOutput

_DOCUMENTS: Final = {"fit": FitDocument, "report": ReportDocument}


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Fits the model again, or takes the stored one, and writes the report."""
    given = given_report(args)
    if args.action == "fit":
        result = fit_again(args.folder, given, args.seed, args.servers)
    else:
        result = report_again(args.folder, given)
    return print_result(result, args.folder / REPORT, out, err, _DOCUMENTS[args.action])
