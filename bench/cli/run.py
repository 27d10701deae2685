"""`bertbench run`: repeated runs of a scenario, each in its own Locust process."""

import argparse
import contextlib
import math
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Final, TextIO
from uuid import uuid4

from msgspec import Meta

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.options import (
    access_of,
    add_scenario_options,
    add_target_options,
    add_verdict_options,
    given_options,
)
from bench.cli.common.values import DURATION, SEED, Value, whole
from bench.core import interrupts
from bench.core.atomic_files import make_folder
from bench.core.errors import ExitCode, TargetError, WrongAnswerError
from bench.core.logs import child_log_environment
from bench.core.units import format_seconds, parse_duration
from bench.load.locust_adapter.options import OPTIONS, READERS, make_spec, read_arrivals, warmup_seconds
from bench.load.setup.catalog import SCENARIOS, scenario_path
from bench.load.setup.run_spec import RunSpec, address_of
from bench.report.json_values import RepeatsValue, RunValue
from bench.report.objectives import write_verdicts
from bench.results.run_reader import Run, open_run
from bench.server.lifecycle import RunningServer, check_model, open_target
from bench.server.process import launched
from bench.server.running import free_ports
from bench.serving.target import parse_target
from bench.workload.due_times import ClosedLoop, Poisson

# Options that this command defines itself.
_OWN: Final = frozenset({"arrivals", "model_dir", "model_name", "results", "server_flags", "seed", "warmup"})
# A child of the load generator that outlives it may keep its standard error open.
_ERRORS_SECONDS: Final = 5.0
# Exit codes of runs, most severe first; the exit code of several runs is the first of these.
_SEVERITY: Final = (ExitCode.USAGE, ExitCode.TARGET_FAILED, ExitCode.REGRESSION)


class RunDocument(Document, frozen=True, kw_only=True):
    """The runs of a scenario."""

    command: str = "run"
    runs: Annotated[Sequence[RunValue], Meta(description="in the order of time")]
    exit_codes: Annotated[Sequence[int], Meta(description="of each run of the load generator, in the same order")]
    repeats: Sequence[RepeatsValue]


@dataclass(frozen=True, slots=True)
class Driven:
    """How a run of the load generator ended.

    Args:
        code: its exit code.
        line: its last line on standard error about that; "" without one.
    """

    code: ExitCode
    line: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("scenario", choices=tuple(SCENARIOS), help="what to run: a file of scenarios/")
    add_target_options(parser)
    parser.add_argument(
        "--arrivals",
        action="append",
        metavar="TEXT",
        help=f"{OPTIONS['arrivals'][1]} (default: the scenario's); repeatable, run in random order",
    )
    parser.add_argument(
        "--duration",
        type=DURATION,
        metavar="TIME",
        help="measured time, without the warm-up (default: the scenario's)",
    )
    parser.add_argument(
        "--warmup",
        type=Value(READERS["warmup"]),
        metavar="TIME",
        help="load before the measured time (default: a tenth of it, at most 10s)",
    )
    parser.add_argument("--users", type=whole(), metavar="N", help="number of users: the most requests in flight")
    parser.add_argument(
        "--repeat",
        type=whole(1, 10_000),
        default=1,
        metavar="N",
        help="independent runs of each --arrivals (default: 1)",
    )
    parser.add_argument("--processes", type=whole(1, 1024), metavar="N", help="load-generating processes (default: 1)")
    parser.add_argument(
        "--seed", type=SEED, default=0, help="random seed of the first repeat, plus 1 for each further one (default: 0)"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the runs (default: results)")
    add_verdict_options(parser)
    add_scenario_options(parser, _OWN)


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Opens the target, runs all repeats against it, and prints the result of each.

    Returns:
        0; 1 if a run had wrong answers or other failures, or failed an objective; 3 if a verdict on objectives cannot
        be given; 4 if the target failed.

    Raises:
        UsageError: options that contradict each other.
        TargetError: the target does not come up.
    """
    runs = plan(args)
    target = runs[0].target
    model_dir = args.model_dir or demo_model_dir()
    read_golden(model_dir)
    check_model(target, model_dir, args.server_flag)
    make_folder(args.out, "", "give another --out")
    ended: list[Driven] = []
    before = _folders(args.out)
    with contextlib.ExitStack() as stack:
        stored = f"the measured part is in {args.out}"
        stack.enter_context(interrupts.noting(lambda: stored if _folders(args.out) - before else ""))
        server = None
        if target.managed:
            server = stack.enter_context(open_target(target, model_dir, args.model_name, args.server_flag))
        for number, spec in enumerate(runs, 1):
            print(f"run {number} of {len(runs)}: {_title(spec, args)}", file=out, flush=True)
            ended.append(drive_once(served(spec, server) if server else spec, out, err, args.processes))
            if ended[-1].code == ExitCode.USAGE:
                break
    codes = [entry.code for entry in ended]
    code = next((found for found in _SEVERITY if found in codes), max(codes, default=ExitCode.OK))
    line = next((entry.line for entry in ended if entry.code == code and entry.line), None)
    found = [open_run(path, verify=False) for path in sorted(_folders(args.out) - before)]
    made = [run for run in found if run.manifest.group in {spec.group for spec in runs}]
    write_verdicts(made, args.junit, args.markdown)
    _print_result(made, ended, code, line, out)
    return code


def _print_result(
    stored: Sequence[Run], ended: Sequence[Driven], code: ExitCode, line: str | None, out: CommandOutput
) -> None:
    """Prints what is known of the runs together; text for people has come from the load generator."""
    if not stored and code:
        out.error(line or f"bertbench: the run failed with exit code {int(code)}", code)
        return
    if not (out.options.json or out.options.quiet or len(stored) > 1):
        return
    from bench.analysis.repeats import repeats_of
    from bench.analysis.run import analyse
    from bench.report.json_values import repeats_value, run_value
    from bench.report.runs.repeats import repeats_view

    analyses = [analyse(run) for run in stored]
    repeats = repeats_of(analyses)
    document = RunDocument(
        runs=list(map(run_value, analyses)),
        exit_codes=[entry.code for entry in ended],
        repeats=list(map(repeats_value, repeats)),
        exit_code=code,
        message=line,
    )
    text = "\n".join(line for group in repeats for line in ("", *repeats_view(group).lines()))
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
    """One run of Poisson arrivals at 20/s against a running server, for `bertbench demo`.

    Returns:
        The run's folder.

    Raises:
        BenchError: the run failed, or had wrong answers.
    """
    run_time, warmup = load_times(seconds, None)
    values = {"warmup": warmup, "model_dir": model.model_dir, "model_name": server.model, "results": results}
    spec = make_spec(SCENARIOS[scenario], values, address_of(server, scenario), 32, run_time)
    spec = replace(spec, arrivals=Poisson(20.0), duration=seconds, group=uuid4().hex[:12], command=tuple(sys.argv))
    before = _folders(results)
    code = drive_once(replace(served(spec, server), target_name=server.backend), out, err).code
    found = sorted(_folders(results) - before)
    if code == ExitCode.REGRESSION:
        raise WrongAnswerError(f"the {scenario} run had failed requests; see {found[-1]}")
    if code or not found:
        raise TargetError(f"the {scenario} run failed")
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
        planned += [replace(spec, seed=args.seed + repeat, repeat=repeat) for repeat in range(args.repeat)]
    random.Random(args.seed).shuffle(planned)
    return planned


def _spec(args: argparse.Namespace, arrivals: str | None) -> RunSpec:
    """The first repeat of the given arrivals; None takes the scenario's."""
    scenario = SCENARIOS[args.scenario]
    users = args.users or scenario.users
    values = given_options(args, _OWN) | {
        "model_dir": args.model_dir or demo_model_dir(),
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
    return replace(spec, command=tuple(sys.argv))


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


def drive_once(spec: RunSpec, out: CommandOutput | None, err: TextIO, processes: int | None = None) -> Driven:
    """Runs Locust once.

    Args:
        spec: the run; of a scenario of `SCENARIOS`.
        out: gets the output of Locust; None drops it.
        err: gets its errors and log.
        processes: load-generating processes; None is Locust's own process alone.

    Raises:
        TargetError: the process was killed, or ended with an unknown exit code.
        Interrupted: a signal ended the process itself.
    """
    file = str(scenario_path(spec.scenario))
    command = [sys.executable, "-m", "locust", "-f", file, "--headless", "--skip-log-setup", "--only-summary"]
    if processes is not None:
        # Not Locust's default port, which a second run would use too.
        (port,) = map(str, free_ports(1))
        command += ["--processes", str(processes), "--master-bind-port", port, "--master-port", port]
    with interrupts.held(), interrupts.waiting():
        # In its own session it gets one signal from here instead of a second one from the terminal.
        child = subprocess.Popen(
            launched(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=spec.child_environment() | child_log_environment(),
            start_new_session=True,
        )
        assert child.stderr is not None
        errors = _Errors(child.stderr, err)
        errors.start()
        stack = contextlib.ExitStack()
        stack.callback(errors.finish)
        stack.callback(_end, child, out)
    with stack:
        code = interrupts.exit_code_of_child(_listen(child, out), "load generator")
        errors.finish()
        return Driven(code, errors.last)


class _Errors(threading.Thread):
    """Passes on what a process writes to its standard error.

    Args:
        source: the process's stream.
        err: receives its lines.
    """

    def __init__(self, source: IO[str], err: TextIO) -> None:
        super().__init__(name="errors of the load generator", daemon=True)
        self._source = source
        self._err = err
        self.last = ""
        """The last line about an error."""

    def run(self) -> None:
        """Works until the process and its children have closed the stream."""
        for line in self._source:
            with contextlib.suppress(OSError, ValueError):
                print(line.rstrip("\n"), file=self._err, flush=True)
            if line.startswith("bertbench: "):
                self.last = line.rstrip("\n")

    def finish(self) -> None:
        """Waits for the last lines of a process that has ended."""
        self.join(_ERRORS_SECONDS)
        if not self.is_alive():
            self._source.close()


def _listen(child: "subprocess.Popen[str]", out: CommandOutput | None) -> int:
    """Prints the output of the process; returns its return code."""
    assert child.stdout is not None
    for line in child.stdout:
        if out is not None:
            print(f"  {line.rstrip()}", file=out, flush=True)
    return child.wait()


def _end(child: "subprocess.Popen[str]", out: CommandOutput | None) -> None:
    """Interrupts a process that is still running, which then stores its run, and prints its output."""
    assert child.stdout is not None
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            _listen(child, out)
        except BrokenPipeError:
            _listen(child, None)
    child.stdout.close()
    child.wait()
