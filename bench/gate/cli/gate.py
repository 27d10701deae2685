"""`bertbench gate`: did this change make it slower? PASS, REGRESSION, INCONCLUSIVE, or TARGET_FAILED."""

import argparse
from pathlib import Path
from typing import Final, TextIO

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.options import add_header_option
from bench.cli.common.output_options import let_json_take_file
from bench.cli.common.values import output_path
from bench.core import interrupts
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.gate.cli import calibrate, history
from bench.gate.cli.options import (
    add_load_options,
    add_plan_options,
    gate_progress,
    read_plan_options,
    read_spec,
)
from bench.gate.cli.sources import reach_variants, read_source, refuse_access
from bench.gate.live_gate import run_gate
from bench.gate.report.files import PAGE, VERDICT, gate_document, gate_json, gate_junit
from bench.gate.report.html_page import gate_html
from bench.gate.report.text import gate_markdown, gate_table, verdict_line
from bench.gate.results import ARMS
from bench.gate.spec import Variant
from bench.gate.stored_runs import StoredRuns, run_stored_gate
from bench.gate.types import GateReport, make_plan

_ACTIONS: Final = {"calibrate": calibrate.run, "history": history.run}
_FORMS = "a target, a model folder, stored runs, or a store of baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments, and its forms `calibrate` and `history`."""
    parser.add_argument("--baseline", metavar="X", help=_FORMS)
    parser.add_argument("--candidate", metavar="Y", help="the same")
    parser.add_argument("--baseline-flag", action="append", default=[], metavar="FLAG", help="server flag; repeatable")
    parser.add_argument("--candidate-flag", action="append", default=[], metavar="FLAG", help="server flag; repeatable")
    for arm in ARMS:
        text = f"header for the {arm} only, instead of a --header of the same name; repeatable"
        add_header_option(parser, f"--{arm}-header", "NAME:VALUE", text)
    add_load_options(parser)
    add_plan_options(parser)
    parser.add_argument(
        "--out", type=Path, help="folder that the runs of a live gate are stored in (default: not stored)"
    )
    parser.add_argument("--markdown", type=output_path, metavar="FILE", help="for a step summary or a comment")
    parser.add_argument("--html", type=output_path, metavar="FILE", help="a page for the browser, one file")
    parser.add_argument("--junit", type=output_path, metavar="FILE", help="JUnit XML")
    let_json_take_file(parser, _json_file)
    actions = parser.add_subparsers(dest="action", metavar="[calibrate | history]")
    calibrate.add_arguments(
        actions.add_parser("calibrate", help="false alarms and the smallest detectable effect of this machine")
    )
    history.add_arguments(actions.add_parser("history", help="change points over stored runs, with a plot"))


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Compares, decides, and writes what was asked for.

    Returns:
        0 PASS, 1 REGRESSION, 3 INCONCLUSIVE, 4 TARGET_FAILED.

    Raises:
        UsageError: bad options, or sides that do not go together.
        Interrupted: a signal ended it; what it has is written first.
    """
    if args.action is not None:
        return _ACTIONS[args.action](args, out, err)
    report = _report(args, out.progress)
    _write(args, report)
    document, line = gate_document(report), verdict_line(report)
    warnings = "".join(f"warning: {warning}\n" for warning in report.verdict.warnings)
    out.result(document, f"{gate_table(report)}{warnings}{line}", line)
    if report.signal is not None:
        raise interrupts.Interrupted(report.signal)
    if document.message is not None:
        print(document.message, file=err)
    return report.exit_code


def _report(args: argparse.Namespace, progress_to: TextIO) -> GateReport:
    """The gate on what `--baseline` and `--candidate` name."""
    if not args.baseline or not args.candidate:
        raise UsageError("the gate needs both sides; give --baseline X --candidate Y")
    baseline, candidate = (read_source(getattr(args, arm), arm, args) for arm in ARMS)
    if isinstance(baseline, StoredRuns) and isinstance(candidate, StoredRuns):
        refuse_access(args)
        return run_stored_gate(make_plan(**read_plan_options(args)), baseline, candidate)
    if isinstance(baseline, Variant) and isinstance(candidate, Variant):
        baseline, candidate = reach_variants(baseline, candidate, args)
        spec = read_spec(args, baseline, candidate, out=args.out, **read_plan_options(args))
        with gate_progress(progress_to, args.max_time) as progress:
            return run_gate(spec, progress.show)
    raise UsageError(
        "one side is stored and the other is live: figures measured at different times cannot be compared; give both "
        "live, or store runs of both"
    )


def _write(args: argparse.Namespace, report: GateReport) -> None:
    if report.folder:
        Path(report.folder).mkdir(parents=True, exist_ok=True)
    for path, data in (
        (args.markdown, gate_markdown(report).encode()),
        (args.html, gate_html(report).encode()),
        (args.junit, gate_junit(report)),
        (args.json_file, gate_json(report)),
        (Path(report.folder) / VERDICT if report.folder else None, gate_json(report)),
        (Path(report.folder) / PAGE if report.folder else None, gate_html(report).encode()),
    ):
        if path is not None:
            write_atomically(path, data)


def _json_file(text: str) -> Path:
    """The file of `--json`; see `output_path`."""
    if text in _ACTIONS:
        raise UsageError(f"{text} is an action; write gate {text} --json, or ./{text} for a file of that name")
    return output_path(text)
