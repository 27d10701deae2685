"""`bertbench compare`: the differences between runs, or folders of repeats, with intervals."""

import argparse
from collections.abc import Sequence
from typing import Annotated, TextIO

from msgspec import Meta

from bench.analysis.compare import compare
from bench.analysis.run import analyse
from bench.analysis.shared_runs import refuse_shared_runs
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.errors import ExitCode
from bench.report.comparison import comparison_line, comparison_text
from bench.report.json_values import ComparisonValue, comparison_value
from bench.results.run_reader import find_runs


class CompareDocument(Document, frozen=True, kw_only=True):
    """The differences between the first side and each of the others."""

    command: str = "compare"
    comparisons: Annotated[Sequence[ComparisonValue], Meta(description="the first side with each of the others")]
    report: Annotated[str | None, Meta(description="the page that was written; null without --out")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Prints the differences of the manifests, then each metric with its change; writes a report with `--out`.

    Raises:
        UsageError: no such run, one on both sides, or runs of one side that are not repeats of each other.
        InconclusiveError: sides were under different loads, and not `--anyway`.
        OSError: the folder of the report cannot be written.
    """
    sides = [[analyse(run) for run in find_runs([side])] for side in (args.before, *args.after)]
    for path, other in zip(args.after, sides[1:], strict=True):
        refuse_shared_runs((str(args.before), sides[0]), (str(path), other))
    found = [compare(sides[0], other, anyway=args.anyway) for other in sides[1:]]
    if args.out is not None:
        # Here and not above, so that only this loads matplotlib.
        from bench.report.runs.run_reports import write_sides

        write_sides(sides, args.out)
    report = None if args.out is None else str(args.out / "report.html")
    text = "\n".join([*map(comparison_text, found), *([f"report: {report}"] if report else [])])
    document = CompareDocument(comparisons=list(map(comparison_value, found)), report=report)
    out.result(document, text, "\n".join(map(comparison_line, found)))
    return ExitCode.OK
