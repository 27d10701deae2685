"""`bertbench gate`: did this change make it slower? PASS, REGRESSION, INCONCLUSIVE, or TARGET_FAILED."""

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

from bench.cli.common.command_output import CommandOutput
from bench.core import interrupts
from bench.core.atomic_files import write_atomically, write_named
from bench.core.errors import UsageError
from bench.core.output import to_utf8
from bench.gate.cli import calibrate, history
from bench.gate.cli.arguments.options import read_plan_options
from bench.gate.cli.live_gate_options import gate_progress, read_gate_spec
from bench.gate.cli.sources import reach_variants, read_source, refuse_live_options
from bench.gate.live_gate import gate_folder, run_gate
from bench.gate.report.files import PAGE, VERDICT, gate_document, gate_json, gate_junit
from bench.gate.report.html_page import gate_html
from bench.gate.report.text import gate_markdown, gate_table, verdict_line
from bench.gate.spec import Variant
from bench.gate.stored_runs import StoredRuns, run_stored_gate
from bench.gate.types import ARMS, GateReport, make_plan

_ACTIONS: Final = {"calibrate": calibrate.run, "history": history.run}


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
    baseline, candidate = (read_source(getattr(args, arm), arm, args) for arm in ARMS)
    if isinstance(baseline, StoredRuns) and isinstance(candidate, StoredRuns):
        refuse_live_options(args)
        report = run_stored_gate(make_plan(**read_plan_options(args)), baseline, candidate)
        return replace(report, folder=str(gate_folder(args.out, datetime.now(UTC)))) if args.out else report
    if isinstance(baseline, Variant) and isinstance(candidate, Variant):
        baseline, candidate = reach_variants(baseline, candidate, args)
        spec = read_gate_spec(args, baseline, candidate, out=args.out, **read_plan_options(args))
        with gate_progress(progress_to, args.max_time) as progress:
            return run_gate(spec, progress.show)
    raise UsageError(
        "one side is stored and the other is live: figures measured at different times cannot be compared; give both "
        "live, or store runs of both"
    )


def _write(args: argparse.Namespace, report: GateReport) -> None:
    if report.folder:
        folder = Path(report.folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / VERDICT, gate_json(report))
        write_atomically(folder / PAGE, to_utf8(gate_html(report)))
    for path, data in (
        (args.markdown, to_utf8(gate_markdown(report))),
        (args.html, to_utf8(gate_html(report))),
        (args.junit, gate_junit(report)),
        (args.json_file, gate_json(report)),
    ):
        if path is not None:
            write_named(path, data)
