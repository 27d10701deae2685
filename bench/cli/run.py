"""`bertbench run`: a scenario against a target, repeated, each repeat in a Locust process of its own."""

import argparse
import contextlib
import math
import random
import signal
import subprocess
import sys
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO
from uuid import uuid4

import bench
from bench import interrupts
from bench.bert.demo_model import demo_model_dir
from bench.bert.exported import ExportedModel
from bench.bert.golden import load_golden
from bench.cli.options import add_scenario_options, add_target_options
from bench.cli.values import DURATION_TEXT, SEED, Value, whole
from bench.errors import ExitCode, TargetError, UsageError, WrongAnswerError
from bench.load.options import OPTIONS, READERS, SWITCHES, read_arrivals, warmup_seconds
from bench.load.told import Told
from bench.results.arrivals import parse_arrivals
from bench.results.atomic import make_folder
from bench.results.run import open_run
from bench.results.schedules import ClosedLoop
from bench.server.lifecycle import RunningServer, check_model, open_target
from bench.server.process import launched
from bench.serving.target import parse_target
from bench.units import parse_duration

SCENARIOS: Final = {
    "rest": "rest.py",
    "grpc": "grpc_api.py",
    "compare": "compare.py",
    "ramp": "ramp.py",
    "spike": "spike.py",
    "soak": "soak.py",
    "single-stream": "single_stream.py",
    "multi-stream": "multi_stream.py",
    "server": "server.py",
    "offline": "offline.py",
}
# Options that this command has in a form of its own.
_OWN: Final = frozenset({"arrivals", "model_dir", "model_name", "results", "server_flags", "seed", "warmup"})
# The gravest first: what the exit code of several runs is.
_GRAVITY: Final = (ExitCode.USAGE, ExitCode.TARGET_FAILED, ExitCode.REGRESSION)


@dataclass(frozen=True, slots=True)
class Planned:
    """One Locust process to come.

    Args:
        title: for people.
        words: its options.
        group: the same for all repeats of the same arrivals.
        repeat: index of the repeat.
    """

    title: str
    words: tuple[str, ...]
    group: str
    repeat: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("scenario", choices=SCENARIOS, help="what to run: a file of scenarios/")
    add_target_options(parser)
    parser.add_argument(
        "--arrivals",
        action="append",
        metavar="TEXT",
        help=f"{OPTIONS['arrivals'][1]} (default: the scenario's); several are run in turn, in random order",
    )
    parser.add_argument(
        "--duration",
        type=DURATION_TEXT,
        metavar="TIME",
        help="measured time, warm-up left out (default: the scenario's)",
    )
    parser.add_argument(
        "--warmup",
        type=Value(READERS["warmup"], as_text=True),
        default="auto",
        metavar="TIME",
        help="load before it (default: a tenth, at most 10s)",
    )
    parser.add_argument("--users", type=whole(), metavar="N", help="pool of users, the most requests in flight")
    parser.add_argument(
        "--repeat", type=whole(1, 10_000), default=1, metavar="N", help="independent runs of each (default: 1)"
    )
    parser.add_argument(
        "--processes", type=whole(1, 1024), metavar="N", help="load-generating processes (default: one)"
    )
    parser.add_argument(
        "--seed", type=SEED, default=0, help="of the first repeat; each further one adds 1 (default: 0)"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the runs (default: results)")
    add_scenario_options(parser, _OWN)


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Opens the target, drives it once for each repeat, and says what each run found.

    Returns:
        0; 1 if a run had wrong answers or other failures; 4 if the target failed.

    Raises:
        UsageError: options that make no sense.
        TargetError: the target does not come up.
    """
    runs = _plan(args)
    target = parse_target(args.target)
    model_dir = args.model_dir or demo_model_dir()
    load_golden(model_dir)
    check_model(target, model_dir, args.server_flag)
    make_folder(args.out, "", "give another --out")
    model = ["--model-dir", str(model_dir), "--model-name", args.model_name]
    codes: list[int] = []
    before = _folders(args.out)
    with contextlib.ExitStack() as stack:
        kept = f"what was measured is kept in {args.out}"
        stack.enter_context(interrupts.noting(lambda: kept if _folders(args.out) - before else ""))
        server = None
        if target.managed:
            server = stack.enter_context(open_target(target, model_dir, args.model_name, args.server_flag))
        for number, planned in enumerate(runs, 1):
            print(f"run {number} of {len(runs)}: {planned.title}", file=out, flush=True)
            told = Told(str(target), server, tuple(args.server_flag), planned.group, planned.repeat, tuple(sys.argv))
            codes.append(drive_once(args.scenario, [*planned.words, *model], told, args.out, out))
            if codes[-1] == ExitCode.USAGE:
                break
    if args.repeat > 1:
        _say_together(sorted(_folders(args.out) - before), {planned.group for planned in runs}, out)
    return next((code for code in _GRAVITY if code in codes), ExitCode(max(codes, default=0)))


def _say_together(folders: Sequence[Path], groups: Set[str], out: TextIO) -> None:
    """The repeats of each arrivals as one figure each, with the interval between runs."""
    from bench.analysis.analysis import analyse
    from bench.report.repeats import repeats_views

    found = [run for run in (open_run(path, verify=False) for path in folders) if run.header.group in groups]
    for view in repeats_views([analyse(run) for run in found]):
        print("\n".join(("", *view.lines())), file=out, flush=True)


def run_scenario(
    scenario: str, server: RunningServer, model: ExportedModel, seconds: float, results: Path, out: TextIO
) -> Path:
    """One run of Poisson arrivals at 20/s against a server that is there, for `bertbench demo`.

    Returns:
        The run's folder.

    Raises:
        BenchError: the run failed, or had answers that were wrong.
    """
    words = ["--model-dir", str(model.model_dir), "--model-name", server.model, "-u", "32"]
    words += ["--arrivals", "poisson:rate=20", *_time_words(f"{seconds:f}s", "auto")]
    told = Told(server.backend, server, group=uuid4().hex[:12], command=tuple(sys.argv))
    before = _folders(results)
    code = drive_once(scenario, words, told, results, out)
    found = sorted(_folders(results) - before)
    if code == ExitCode.REGRESSION:
        raise WrongAnswerError(f"the {scenario} run had requests that did not end well; see {found[-1]}")
    if code or not found:
        raise TargetError(f"the {scenario} run failed")
    return found[-1]


def _folders(results: Path) -> set[Path]:
    return {path.parent for path in results.glob("*/run.json")}


def _plan(args: argparse.Namespace) -> list[Planned]:
    """All runs, in random order, so that a drift of the machine meets all arrivals alike."""
    arrivals = args.arrivals or [None]
    for text in filter(None, args.arrivals or []):
        if "users" in text or not text.startswith("closed"):
            parse_arrivals(text)
        else:
            read_arrivals(text, args.users or 1)
    common = _common_words(args)
    planned = []
    for text in arrivals:
        group = uuid4().hex[:12]
        for repeat in range(args.repeat):
            words = [*common, "--seed", str(args.seed + repeat), *_arrival_words(text, args.users)]
            title = f"{args.scenario} on {args.target}, {text or 'its own arrivals'}, repeat {repeat + 1}"
            planned.append(Planned(title, tuple(words), group, repeat))
    random.Random(args.seed).shuffle(planned)
    return planned


def _arrival_words(text: str | None, users: int | None) -> list[str]:
    """A closed loop that names its users has a pool of as many, unless another was asked for."""
    if text is None:
        return []
    words = ["--arrivals", text]
    if users is None and text.startswith("closed") and "users" in text:
        loop = parse_arrivals(text)
        assert isinstance(loop, ClosedLoop)
        words += ["-u", str(loop.users)]
    return words


def _common_words(args: argparse.Namespace) -> list[str]:
    words = _time_words(args.duration, args.warmup) if args.duration else ["--warmup", args.warmup]
    for option, value in (("-u", args.users), ("--processes", args.processes)):
        words += [option, str(value)] if value is not None else []
    for name in OPTIONS:
        if name not in _OWN and getattr(args, name) is not None:
            words += [f"--{name.replace('_', '-')}", getattr(args, name)]
    return words + [f"--{name}" for name in SWITCHES if getattr(args, name)]


def _time_words(duration: str, warmup: str) -> list[str]:
    """Locust's run time counts whole seconds and holds the warm-up, which takes what rounding leaves over."""
    measured = parse_duration(duration)
    before = warmup_seconds(warmup, math.inf if warmup != "auto" else measured)
    total = math.ceil(measured + before - 1e-9)
    return ["-t", f"{total}s", "--warmup", f"{total - measured:.6f}s" if total > measured else "0"]


def drive_once(scenario: str, words: Sequence[str], told: Told, results: Path, out: TextIO | None) -> ExitCode:
    """Runs Locust once, passing on to `out`, if it is given, what it says of the run; gives its exit code.

    Raises:
        TargetError: the process was killed, or ended as it never should.
        Interrupted: a signal ended the process itself.
    """
    file = Path(bench.__file__).parents[1] / "scenarios" / SCENARIOS[scenario]
    if not file.is_file():
        raise UsageError(f"no scenario {file}; run from a checkout of the project")
    address = told.target if told.server is None else told.server.rest or f"grpc://{told.server.grpc}"
    command = [sys.executable, "-m", "locust", "-f", str(file), "--headless", "--skip-log-setup", "--only-summary"]
    command += ["--host", address, *words, "--results", str(results)]
    environment = {name: text for name, text in told.environment().items() if not name.startswith("LOCUST_")}
    with interrupts.held(), interrupts.waiting():
        # A session of its own: Ctrl-C in the terminal goes to us, and is passed on once.
        child = subprocess.Popen(
            launched(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            start_new_session=True,
        )
        stack = contextlib.ExitStack()
        stack.callback(_end, child, out)
    with stack:
        return exit_code_of_child(_listen(child, out), "load generator")


def exit_code_of_child(status: int, name: str) -> ExitCode:
    """What a process of ours that ended with `status` means for the command.

    Args:
        status: its return code; the negative number of a signal that killed it.
        name: what it was, for people.

    Raises:
        TargetError: it was killed, or ended with a code that none of ours has.
        Interrupted: it was told to end.
    """
    try:
        return ExitCode(status)
    except ValueError:
        pass
    for number in interrupts.SIGNALS:
        if status == interrupts.exit_code(number):
            raise interrupts.Interrupted(number)
    raise TargetError(f"the {name} ended by itself ({interrupts.how_it_ended(status)}); run again")


def _listen(child: "subprocess.Popen[str]", out: TextIO | None) -> int:
    """Passes on what it says; its return code."""
    assert child.stdout is not None
    for line in child.stdout:
        if out is not None:
            print(f"  {line.rstrip()}", file=out, flush=True)
    return child.wait()


def _end(child: "subprocess.Popen[str]", out: TextIO | None) -> None:
    """Lets a process that still runs store what it has, and passes on what it says of it."""
    assert child.stdout is not None
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            _listen(child, out)
        except BrokenPipeError:
            _listen(child, None)
    child.stdout.close()
    child.wait()
