"""`bertbench run`: repeated runs of a scenario, each in its own Locust process."""

import argparse
import contextlib
import math
import random
import sys
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, TextIO
from uuid import uuid4

from msgspec import Meta

from bench.analysis.run import Analysis, analyse
from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.arguments.run import OWN
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.live_view import LiveView
from bench.cli.common.load_generator import Driven, drive_once
from bench.cli.common.options import access_of, given_options
from bench.core import interrupts
from bench.core.atomic_files import make_folder
from bench.core.errors import BenchError, ExitCode, TargetError, WrongAnswerError
from bench.core.units import format_seconds, parse_duration, pluralize
from bench.load.locust_adapter.options import make_spec, read_arrivals, warmup_seconds
from bench.load.setup.catalog import SCENARIOS
from bench.load.setup.run_spec import RunSpec, address_of
from bench.report.json_values import RepeatsValue, RunValue
from bench.report.objectives import write_verdicts
from bench.results.run_reader import open_run
from bench.server.lifecycle import RunningServer, check_model, open_target
from bench.serving.target import parse_target
from bench.workload.due_times import ClosedLoop, OpenLoop, Poisson

# Exit codes of runs, most severe first; the exit code of several runs is the first of these.
DEMO_RATE: Final = 10.0
"""Requests/s of the demo: what two cores that other work shares carry without a queue."""
_SEVERITY: Final = (ExitCode.USAGE, ExitCode.TARGET_FAILED, ExitCode.REGRESSION)


class RunDocument(Document, frozen=True, kw_only=True):
    """The runs of a scenario."""

    command: str = "run"
    runs: Annotated[Sequence[RunValue], Meta(description="in the order of time")]
    exit_codes: Annotated[Sequence[int], Meta(description="of each run of the load generator, in the same order")]
    repeats: Sequence[RepeatsValue]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Opens the target, runs all repeats against it, and prints the result of each.

    Returns:
        0; 1 if a run had wrong answers or other failures, or failed an objective; 3 if a verdict on objectives cannot
        be given; 4 if the target failed.

    Raises:
        UsageError: options that contradict each other.
        TargetError: the target does not come up, or ended; what was measured is printed and written first.
        Interrupted: a signal ended it; the same.
    """
    runs = plan(args)
    target = runs[0].target
    model_dir = args.model_dir or demo_model_dir()
    read_golden(model_dir)
    check_model(target, model_dir, args.server_flag)
    make_folder(args.out, "", "give another --out")
    ended: list[Driven] = []
    before = _folders(args.out)

    def conclude(code: int, line: str | None, cut_short: bool = False) -> None:
        if args.junit or args.markdown or out.options.json or out.options.quiet or len(runs) > 1:
            found = _made(_folders(args.out) - before, {spec.group for spec in runs}, cut_short)
            lacking = line or f"{len(found)} of {pluralize(len(runs), 'run')} left records"
            write_verdicts(found, args.junit, args.markdown, lacking if cut_short or len(found) < len(runs) else "")
            # The error of a command without a run is its document.
            if found or not cut_short:
                _print_result(found, ended, code, line, out)

    try:
        with contextlib.ExitStack() as stack:
            stored = f"what was measured is in {args.out}"
            stack.enter_context(interrupts.noting(lambda: stored if _folders(args.out) - before else ""))
            server = None
            if target.managed:
                server = stack.enter_context(open_target(target, model_dir, args.model_name, args.server_flag))
            _drive_all([served(spec, server) if server else spec for spec in runs], ended, args, out, err)
        codes = [entry.code for entry in ended]
        code = next((found for found in _SEVERITY if found in codes), max(codes, default=ExitCode.OK))
        line = next((entry.line for entry in ended if entry.code == code and entry.line), None)
        conclude(code, line)
    except (KeyboardInterrupt, BenchError, OSError) as error:
        if not out.answered:
            # What cannot be written must not hide what ended the command.
            with contextlib.suppress(BenchError, OSError):
                conclude(*interrupts.ending(error), cut_short=True)
        raise
    return code


def _made(folders: Iterable[Path], groups: Set[str], cut_short: bool) -> list[Analysis]:
    """The runs of this command among `folders`, in the order of time.

    Args:
        folders: of runs that were stored meanwhile, maybe by other commands too.
        groups: this command's.
        cut_short: whether it did not come to its end: a run that cannot be read, as of a load generator that was
            killed, is left out.

    Raises:
        UsageError: a run cannot be read, and not `cut_short`.
    """
    found = []
    for folder in sorted(folders):
        with contextlib.suppress(*((BenchError, OSError) if cut_short else ())):
            run = open_run(folder, verify=False)
            if run.manifest.group in groups:
                found.append(analyse(run))
    return found


def _drive_all(
    runs: Sequence[RunSpec], ended: list[Driven], args: argparse.Namespace, out: CommandOutput, err: TextIO
) -> None:
    """Makes the runs, up to one that is refused; `ended` receives how each ended, by a signal or an error too."""
    for number, spec in enumerate(runs, 1):
        print(f"run {number} of {len(runs)}: {_title(spec, args)}", file=out, flush=True)
        try:
            with LiveView(out.progress) as view:
                ended.append(drive_once(spec, out, err, args.processes, view))
        except (KeyboardInterrupt, BenchError, OSError) as error:
            ended.append(Driven(interrupts.ending(error)[0], ""))
            raise
        if ended[-1].code == ExitCode.USAGE:
            return


def _print_result(
    analyses: Sequence[Analysis], ended: Sequence[Driven], code: int, line: str | None, out: CommandOutput
) -> None:
    """Prints what is known of the runs together; text for people has come from the load generator."""
    if not analyses and code:
        out.error(line or f"bertbench: the run failed with exit code {int(code)}", code)
        return
    if not (out.options.json or out.options.quiet or len(analyses) > 1):
        return
    from bench.analysis.repeats import repeats_of
    from bench.report.json_values import repeats_value, run_value
    from bench.report.runs.repeats import repeats_view

    repeats = repeats_of(analyses)
    document = RunDocument(
        runs=list(map(run_value, analyses)),
        exit_codes=[entry.code for entry in ended],
        repeats=list(map(repeats_value, repeats)),
        exit_code=code,
        message=line,
    )
    text = "\n".join(line for group in repeats for line in ("", *repeats_view(group).lines()))
    with interrupts.held():
        out.result(document, text, "\n".join(f"{entry.run.path}: {entry.validity}" for entry in analyses))


def run_scenario(
    scenario: str,
    server: RunningServer,
    model: ExportedModel,
    seconds: float,
    results: Path,
    out: CommandOutput,
    err: TextIO,
) -> Path:
    """One run of Poisson arrivals at `DEMO_RATE` against a running server, for `bertbench demo`.

    Returns:
        The run's folder.

    Raises:
        BenchError: the run failed, or had wrong answers.
    """
    run_time, warmup = load_times(seconds, None)
    values = {"warmup": warmup, "model_dir": model.model_dir, "model_name": server.model, "results": results}
    spec = make_spec(SCENARIOS[scenario], values, address_of(server, scenario), 32, run_time)
    spec = replace(spec, arrivals=Poisson(DEMO_RATE), duration=seconds, group=uuid4().hex[:12], command=tuple(sys.argv))
    before = _folders(results)
    code = drive_once(replace(served(spec, server), target_name=server.backend), out, err).code
    found = sorted(_folders(results) - before)
    if not found or code not in (ExitCode.OK, ExitCode.REGRESSION):
        raise TargetError(f"the {scenario} run failed")
    if code == ExitCode.REGRESSION:
        raise WrongAnswerError(f"the {scenario} run had failed requests; see {found[-1]}")
    return found[-1]


def _folders(results: Path) -> set[Path]:
    return {path.parent for path in results.glob("*/run.json")}


def plan(args: argparse.Namespace) -> list[RunSpec]:
    """All runs, in random order, so that a drift of the machine affects all arrivals alike.

    Raises:
        UsageError: options that contradict each other.
    """
    planned = []
    for text in args.arrivals or [None]:
        spec = replace(_spec(args, text), group=uuid4().hex[:12])
        if isinstance(spec.arrivals, OpenLoop):
            # Before the runs of other arrivals are made.
            spec.arrivals.check(spec.duration)
        planned += [replace(spec, seed=args.seed + repeat, repeat=repeat) for repeat in range(args.repeat)]
    random.Random(args.seed).shuffle(planned)
    return planned


def _spec(args: argparse.Namespace, arrivals: str | None) -> RunSpec:
    """The first repeat of the given arrivals; None takes the scenario's."""
    scenario = SCENARIOS[args.scenario]
    users = args.users or scenario.users
    values = given_options(args, OWN) | {
        "model_dir": args.model_dir,
        "model_name": args.model_name,
        "server_flags": tuple(args.server_flag),
        "results": args.out,
    }
    if arrivals is not None:
        values["arrivals"] = arrivals
        users = args.users or _named_users(arrivals) or users
    run_time = parse_duration(scenario.run_time)
    if args.warmup is not None:
        values["warmup"] = args.warmup
    if args.duration is not None:
        run_time, values["warmup"] = load_times(args.duration, args.warmup)
    target = replace(parse_target(args.target), access=access_of(args))
    spec = make_spec(scenario, values, target, users, run_time)
    if spec.until is None and args.duration is not None:
        spec = replace(spec, duration=args.duration)
    automatic = spec.find_warmup or (args.warmup is None and scenario.options.get("warmup", "auto") == "auto")
    return replace(spec, find_warmup=automatic, command=tuple(sys.argv))


def _named_users(arrivals: str) -> int | None:
    """The number of users that a closed loop asks for."""
    loop = read_arrivals(arrivals, 1)
    return loop.users if isinstance(loop, ClosedLoop) and "users" in arrivals else None


def _title(spec: RunSpec, args: argparse.Namespace) -> str:
    until = f"until {spec.until}, at most " if spec.until is not None else ""
    length = f"{until}{format_seconds(spec.duration)} after {format_seconds(spec.warmup)} of warm-up"
    return f"{args.scenario} on {args.target}, {spec.arrivals}, {length}"


def load_times(measured: float, warmup: float | None) -> tuple[float, float]:
    """Seconds of load, and how many of them are warm-up.

    Locust's run time is in whole seconds; the difference is added to the warm-up.

    Args:
        measured: seconds.
        warmup: least seconds; None is the default.
    """
    before = warmup_seconds(warmup, measured if warmup is None else math.inf)
    total = math.ceil(measured + before - 1e-9)
    return total, max(total - measured, 0.0)


def served(spec: RunSpec, server: RunningServer) -> RunSpec:
    """The same run against `server`."""
    name = spec.target_name or str(spec.target)
    return replace(spec, servers=(server,), target=address_of(server, spec.protocol), target_name=name)
