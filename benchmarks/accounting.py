"""Whether every due request is accounted for: `python -m benchmarks.accounting [--only TEXT] [--count N] [--seed N]`.

Each fault of `tests.support.fault_proxy`, over REST and gRPC, under `run`, Locust, the gate and capacity, in short
runs against a server that is right. Of each run folder the records are counted: the due requests are the sum over the
outcomes, as `run.json` says and as was scheduled, none twice; and the exit code is the one that they call for.

`--only` takes a part of a case's name, like `rest/run/answer-half`; `--count` takes so many of the cases, chosen by
`--seed`.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np

from bench.cli import main as bertbench
from bench.core.errors import BenchError, one_line
from bench.load.selftest.null_server import null_server
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.results.run_reader import Run, find_runs
from benchmarks.short_sweep import short_sweeps
from benchmarks.verdicts import goal, missed, note
from tests.support.fault_proxy import FAULTS, fault_proxy
from tests.support.locust_process import command as locust_command
from tests.support.locust_process import environment
from tests.support.toy_golden import write_model_dir

PROTOCOLS: Final = ("rest", "grpc")
SCENARIOS: Final = {"rest": "rest.py", "grpc": "grpc_api.py"}
LOAD: Final = ("--arrivals", "constant:rate=150", "--users", "8", "--request-timeout", "400ms", "--no-preflight")


@dataclass(frozen=True, slots=True)
class World:
    """What all cases share.

    Args:
        model_dir: the model whose golden answers are sent.
        good: the null server's addresses, by protocol, as targets.
    """

    model_dir: Path
    good: dict[str, str]


_MOST_SHOWN: Final = 600
SIGNALLED: Final = 128
"""Exit codes from here on are those of a signal, which ends the benchmark too."""

Result = tuple[int, str]
"""Exit code, and what went to standard error."""


class Crashed(Exception):
    """A command raised what it should have said in a line; the text is what Python would have printed."""


def call(*words: str) -> Result:
    """A command in this process.

    Raises:
        Crashed: it raised.
    """
    err = StringIO()
    try:
        return bertbench(words, StringIO(), err), err.getvalue()
    except Exception as error:
        raise Crashed(f"{err.getvalue()}{traceback.format_exc()}") from error


def run(world: World, protocol: str, target: str, out: Path) -> Result:
    words = ("run", protocol, "--target", target, "--model-dir", str(world.model_dir), "--out", str(out))
    return call(*words, *LOAD, "--duration", "1500ms", "--warmup", "0", "--drain", "500ms")


def locust(world: World, protocol: str, target: str, out: Path) -> Result:
    words = ("--headless", "--only-summary", "--host", target, "--model-dir", str(world.model_dir))
    load = ("--results", str(out), *LOAD, "-t", "2s", "--warmup", "0", "--drain", "500ms")
    done = subprocess.run(
        locust_command(SCENARIOS[protocol], *words, *load),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith(("bertbench: ", "Traceback"))]
    return done.returncode, "\n".join(lines)


def gate(world: World, protocol: str, target: str, out: Path) -> Result:
    words = ("gate", "--baseline", world.good[protocol], "--candidate", target, "--model-dir", str(world.model_dir))
    load = ("--max-time", "8s", "--warmup", "200ms", "--run-time", "300ms", "--request-timeout", "400ms")
    return call(*words, *load, "--no-preflight", "--out", str(out))


def capacity(world: World, protocol: str, target: str, out: Path) -> Result:
    words = ("capacity", "--quick", "--target", target, "--protocol", protocol, "--model-dir", str(world.model_dir))
    with short_sweeps():
        return call(*words, "--no-preflight", "--out", str(out), "--seed", "1")


COMMANDS: Final[dict[str, Callable[[World, str, str, Path], Result]]] = {
    "run": run,
    "locust": locust,
    "gate": gate,
    "capacity": capacity,
}


def wrong_counts(found: Run) -> list[str]:
    """What is not exact in a run's records, one line each."""
    columns = found.columns(["due", "outcome", "worker", "sentence"])
    rows = columns["due"].size
    names = {code: str(outcome) for outcome, code in OUTCOME_CODES.items()}
    counts = Counter(names[code] for code in columns["outcome"].tolist())
    wrong = []
    if not found.finished:
        return ["it is not finished"]
    told = {name: count for name, count in found.file.counts.items() if count}
    if dict(counts) != told:
        wrong.append(f"the records have {dict(counts)}, run.json has {told}")
    if rows != sum(told.values()):
        wrong.append(f"{rows} records, {sum(told.values())} requests by outcome")
    scheduled = found.manifest.scheduled
    if scheduled is not None and rows != scheduled and not found.file.interrupted:
        wrong.append(f"{rows} records of {scheduled} scheduled requests")
    if scheduled is not None and (twice := rows - np.unique(columns["due"]).size):
        wrong.append(f"{twice} due times are there twice")
    return wrong


def wrong_code(code: int, runs: list[Run], command: str) -> list[str]:
    """Whether an exit code is not the one for the outcomes."""
    if command not in ("run", "locust"):
        return [] if code in (0, 1, 3, 4) else [f"exit code {code}"]
    if not runs:
        return [] if code == 4 else [f"exit code {code} without a run"]
    counts = Counter(runs[0].file.counts)
    expected = 0
    if counts[Outcome.WRONG_ANSWER]:
        expected = 1
    elif sum(counts.values()) > counts[Outcome.OK]:
        expected = 1 if counts[Outcome.OK] else 4
    return [] if code == expected else [f"exit code {code} where {expected} is due: {dict(counts)}"]


def judge(command: str, code: int, err: str, out: Path) -> tuple[list[str], Counter[str]]:
    """What is wrong with a command's end and its run folders, and the requests by outcome."""
    wrong = []
    total: Counter[str] = Counter()
    try:
        folders = sorted(file.parent for file in out.rglob("run.json"))
        runs = find_runs(folders) if folders else []
    except BenchError as error:
        return [one_line(error)], total
    for found in runs:
        total += Counter(found.file.counts)
        wrong += [f"{found.name}: {text}" for text in wrong_counts(found)]
    wrong += wrong_code(code, runs, command)
    if "Traceback" in err or (code and not err.strip().splitlines()[-1:][0].startswith("bertbench: ")):
        wrong.append(f"standard error ends with {err.strip()[-200:]!r}")
    return wrong, total


@contextlib.contextmanager
def open_world() -> Iterator[World]:
    """A model whose answers a null server gives."""
    with tempfile.TemporaryDirectory() as folder:
        model_dir = write_model_dir(Path(folder) / "model")
        with null_server(model_dir) as found:
            yield World(model_dir, {"rest": found["rest"], "grpc": f"grpc://{found['grpc']}"})


def account(world: World, name: str) -> None:
    """One case, with its verdict."""
    protocol, command, fault = name.split("/")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        scheme, _, behind = world.good[protocol].partition("://")
        with fault_proxy(FAULTS[fault], protocol, behind) as address:
            try:
                code, err = COMMANDS[command](world, protocol, f"{scheme}://{address}", Path(folder) / "runs")
            except Crashed as crashed:
                code, err = 1, str(crashed)
        if code > SIGNALLED:
            sys.exit(code)
        wrong, total = judge(command, code, err, Path(folder) / "runs")
    shown = ", ".join(f"{count} {outcome}" for outcome, count in total.items() if count) or "no run"
    goal(not wrong, f"{name}: {sum(total.values())} due: {shown}; exit code {code}; {time.monotonic() - begun:.1f} s")
    for text in wrong:
        note(text)
    if wrong and err:
        note(err.strip()[-_MOST_SHOWN:])


def main() -> int:
    """Prints a line a case; 1 if one is not exact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this part")
    parser.add_argument("--count", type=int, help="so many of the cases (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="chooses them")
    args = parser.parse_args()
    names = [f"{protocol}/{command}/{fault}" for fault in FAULTS for command in COMMANDS for protocol in PROTOCOLS]
    names = [name for name in names if args.only in name]
    if args.count is not None:
        names = sorted(random.Random(args.seed).sample(names, min(args.count, len(names))))
    if not names:
        parser.error(f"no case has {args.only!r} in its name, like rest/run/{next(iter(FAULTS))}")
    with open_world() as world:
        for name in names:
            account(world, name)
    print(f"{len(names)} cases, {len(missed)} not exact", flush=True)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
