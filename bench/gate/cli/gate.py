"""`bertbench gate`: did this change make it slower? PASS, REGRESSION, INCONCLUSIVE, or TARGET_FAILED."""

import argparse
import shlex
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT
from typing import TextIO

from bench.bert.contract.golden import read_golden
from bench.cli.common.progress import ProgressDisplay
from bench.core import interrupts
from bench.core.atomic_files import write_atomically
from bench.core.errors import ExitCode, UsageError
from bench.core.units import format_seconds, pluralize
from bench.gate.aa_test import AATestResult, load_key, read_aa_test
from bench.gate.ab_servers import ABServers, ArmsFailed, TimeOver, Variant, load_text, open_ab_servers
from bench.gate.artifacts import write_arm_artifacts
from bench.gate.cli import calibrate, history
from bench.gate.cli.options import (
    add_load_options,
    add_plan_options,
    gate_progress,
    median_effect,
    output_path,
    read_load,
    read_plan,
)
from bench.gate.cli.sources import read_source
from bench.gate.decision import Gate
from bench.gate.driver import drive, time_over
from bench.gate.failure import failure_verdict
from bench.gate.report.files import VERDICT, gate_json, gate_junit
from bench.gate.report.text import gate_markdown, gate_table, verdict_line
from bench.gate.results import ARMS, without_bound
from bench.gate.results import verdict as make_verdict
from bench.gate.stored import decide_stored
from bench.gate.stored_runs import StoredRuns, refuse_shared_runs
from bench.gate.types import GateReport, Plan, Verdict, VerdictKind
from bench.load.setup.run_spec import RunSpec
from bench.results.environment import this_environment
from bench.results.manifest import Origin

_FORMS = "a target, a model folder, stored runs, or a store of baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments, and its forms `calibrate` and `history`."""
    parser.add_argument("--baseline", metavar="X", help=_FORMS)
    parser.add_argument("--candidate", metavar="Y", help="the same")
    parser.add_argument("--baseline-flag", action="append", default=[], metavar="FLAG", help="server flag; repeatable")
    parser.add_argument("--candidate-flag", action="append", default=[], metavar="FLAG", help="server flag; repeatable")
    add_load_options(parser)
    add_plan_options(parser)
    parser.add_argument("--out", type=Path, help="folder that the runs of a live gate are kept in (default: not kept)")
    parser.add_argument("--markdown", type=output_path, metavar="FILE", help="for a step summary or a comment")
    parser.add_argument("--junit", type=output_path, metavar="FILE", help="JUnit XML")
    parser.add_argument("--json", type=output_path, metavar="FILE", help="the whole verdict")
    actions = parser.add_subparsers(dest="action", metavar="[calibrate | history]")
    calibrate.add_arguments(
        actions.add_parser("calibrate", help="false alarms and the smallest detectable effect of this machine")
    )
    history.add_arguments(actions.add_parser("history", help="change points over stored runs, with a plot"))


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Compares, decides, and writes what was asked for.

    Returns:
        0 PASS, 1 REGRESSION, 3 INCONCLUSIVE, 4 where a side cannot be measured at all.

    Raises:
        UsageError: bad options, or sides that do not go together.
        Interrupted: a signal ended it; what it has is written first.
    """
    if args.action == "calibrate":
        return calibrate.run(args, out, err)
    if args.action == "history":
        return history.run(args, out, err)
    if not args.baseline or not args.candidate:
        raise UsageError("the gate needs both sides; give --baseline X --candidate Y")
    plan = read_plan(args.min_effect, args.metrics)
    baseline, candidate = (read_source(getattr(args, arm), arm, args) for arm in ("baseline", "candidate"))
    if isinstance(baseline, StoredRuns) and isinstance(candidate, StoredRuns):
        refuse_shared_runs(baseline, candidate)
        verdict = decide_stored(plan, baseline.runs, candidate.runs)
        report = GateReport(verdict, baseline.label, candidate.label, "", 0.0)
    elif isinstance(baseline, Variant) and isinstance(candidate, Variant):
        report = _live(args, plan, (baseline, candidate), err)
    else:
        raise UsageError(
            "one side is stored and the other is live: figures made at different times do not tell; give both live, "
            "or store runs of both"
        )
    _write(args, report)
    out.write(gate_table(report))
    for warning in report.verdict.warnings:
        print(f"warning: {warning}", file=out)
    print(verdict_line(report), file=out, flush=True)
    if report.signal is not None:
        raise interrupts.Interrupted(report.signal)
    if report.verdict.kind is not VerdictKind.PASS:
        print(f"bertbench: {_advice(report)}", file=err)
    return report.verdict.kind.exit_code


def _live(args: argparse.Namespace, plan: Plan, arms: tuple[Variant, Variant], err: TextIO) -> GateReport:
    start, started = time.monotonic(), datetime.now(UTC)
    load = read_load(args)
    calibration = _calibration(args, plan, load, arms[0])
    gate = Gate(plan)
    verdict: Verdict | None = None
    signal: int | None = None
    folder = None if args.out is None else Path(args.out) / f"{started:%Y%m%dT%H%M%SZ}-gate"
    try:
        with (
            gate_progress(err, args.max_time) as progress,
            open_ab_servers(*arms, load, start + args.max_time) as servers,
        ):
            try:
                verdict = _driven(servers, gate, args, start, progress)
            except KeyboardInterrupt:
                if gate.pairs:
                    _write_artifacts(folder, servers, started)
                raise
            _write_artifacts(folder, servers, started)
    except ArmsFailed as error:
        verdict = failure_verdict(gate.plan, error.failures, gate.pairs, earlier=verdict)
    except TimeOver as error:
        verdict = time_over(gate, error)
    except KeyboardInterrupt:
        signal = interrupts.received() or SIGINT
        verdict = _interrupted(gate, signal)
    if arms[0].same_server(arms[1]):
        note = "both sides are the same server with the same flags: the gate compares it with itself"
        verdict = replace(verdict, warnings=(*verdict.warnings, note))
    return GateReport(
        verdict,
        arms[0].label,
        arms[1].label,
        load_text(load),
        time.monotonic() - start,
        None if calibration is None else str(calibration),
        None if folder is None else str(folder),
        signal,
    )


def _interrupted(gate: Gate, signal: int) -> Verdict:
    """What was measured by then; it says nothing of the candidate."""
    reason = (
        f"interrupted by {interrupts.name_of(signal)} after {pluralize(len(gate.pairs), 'pair')}, before the verdict"
    )
    return without_bound(make_verdict(gate.plan, VerdictKind.INTERRUPTED, reason, gate.pairs, {}))


def _driven(
    servers: ABServers, gate: Gate, args: argparse.Namespace, start: float, progress: ProgressDisplay
) -> Verdict:
    """The verdict on two servers that are up, also where one of them fails."""
    try:
        return drive(servers, gate, args.warmup, args.run_time, args.max_time, start, progress.show)[0]
    except ArmsFailed as error:
        return failure_verdict(gate.plan, error.failures, gate.pairs)


def _write_artifacts(folder: Path | None, servers: ABServers, started: datetime) -> None:
    if folder is None:
        return
    origin = Origin(
        target="",
        environment=this_environment(),
        workers=1,
        started=f"{started:%Y-%m-%dT%H:%M:%S.%fZ}",
        group=folder.name,
        command=(shlex.join(sys.argv),),
    )
    for name, arm, variant in zip(ARMS, servers.arms, servers.variants, strict=True):
        write_arm_artifacts(folder, name, arm, variant, origin)


def _calibration(args: argparse.Namespace, plan: Plan, load: RunSpec, baseline: Variant) -> AATestResult | None:
    """What is known of gates like this one on this machine.

    Raises:
        UsageError: a smallest effect that cannot be found in the time given.
    """
    golden = read_golden(baseline.model_dir).golden
    found = read_aa_test(load_key(load.protocol, str(load.arrivals), golden.checkpoint_digest))
    asked = median_effect(plan)
    if found is None or args.max_time > found.max_time:
        return found
    if found.smallest is None or asked < found.smallest:
        known, advice = " (none was found)", "calibrate again on a quieter machine, or give a longer --max-time"
        if found.smallest is not None:
            known, advice = f" of {100 * found.smallest:.3g} %", "give that or more, or a longer --max-time"
        raise UsageError(
            f"--min-effect {100 * asked:.3g}% is below the smallest effect{known} that this machine shows in "
            f"{format_seconds(found.max_time)}; {advice}"
        )
    return found


def _write(args: argparse.Namespace, report: GateReport) -> None:
    if report.folder:
        Path(report.folder).mkdir(parents=True, exist_ok=True)
    for path, data in (
        (args.markdown, gate_markdown(report).encode()),
        (args.junit, gate_junit(report)),
        (args.json, gate_json(report)),
        (Path(report.folder) / VERDICT if report.folder else None, gate_json(report)),
    ):
        if path is not None:
            write_atomically(path, data)


def _advice(report: GateReport) -> str:
    """One line on what to do next."""
    if report.verdict.kind is VerdictKind.INCONCLUSIVE:
        return f"no verdict: {report.verdict.reason}"
    if report.verdict.kind is VerdictKind.TARGET_FAILED:
        return f"the target failed: {report.verdict.reason}"
    where = f"; the runs lie in {report.folder}" if report.folder else "; --out DIR keeps the runs to look into"
    return f"the candidate is worse: {report.verdict.reason}{where}"


__all__ = ["ExitCode", "add_arguments", "run"]
