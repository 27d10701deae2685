"""The gate's bars: gates simulated at the null and at the smallest effect, live gates on the embedded server.

Live candidates are the baseline itself, and worse ones.

    python -m benchmarks.bench_gate simulate [--gates 2000]
    python -m benchmarks.bench_gate live [--cases aa,slower-1.10] [--gates N] [--for 20m] [--results FILE]
    python -m benchmarks.bench_gate show [--results FILE]

`live` appends a line a gate to the results and goes on where it was, so that hours of gates can be run in batches on
quiet machines; the file is kept by git, and each line says on which machine it was. Each gate is a `bertbench gate` of
its own, servers started anew. Exit code 1 if a bar of the cases asked for is missed.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from bench.bert.demo.demo_model import demo_model_dir
from bench.core.units import parse_duration
from bench.gate.types import VerdictKind, default_plan
from bench.results.environment import this_environment
from bench.stats.proportion import proportion_bounds, upper_bound
from tests.support.degraded_server import degraded
from tests.support.gate_noise import NOISES, pairs, run_gate

ROOT: Final = Path(__file__).parents[1]
LATELY: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Case:
    """A kind of live gate and its bar.

    Args:
        gates: how many make the bar.
        fault: of the candidate, see `tests.support.degraded_server.Fault`; {"tail": ...} gets `late` from a pilot run.
        options: of the gate.
        alarms: (least, most) REGRESSIONs of `gates`.
        metric: that the reason has to name in each REGRESSION; "" for any.
        seconds: that each gate may take.
    """

    gates: int
    fault: dict[str, float]
    options: tuple[str, ...]
    alarms: tuple[int, int]
    metric: str = ""
    seconds: float = 300.0


CASES: Final = {
    "aa": Case(60, {}, (), (0, 2)),
    "slower-1.10": Case(20, {"stretch": 1.10}, (), (18, 20)),
    "slower-1.25": Case(20, {"stretch": 1.25}, ("--max-time", "88s"), (20, 20), seconds=90.0),
    "slower-1.05": Case(20, {"stretch": 1.05}, ("--min-effect", "2%"), (14, 20)),
    "wrong-0.2%": Case(10, {"wrong": 0.002}, (), (10, 10), "wrong_answers"),
    # Rare events need requests: a machine that does 60 a second may need more than the usual five minutes.
    "errors-1%-10m": Case(10, {"errors": 0.01}, ("--max-time", "10m"), (10, 10), "error ratio", seconds=600.0),
    "p99-doubled-10m": Case(10, {"tail": 0.02}, ("--max-time", "10m"), (10, 10), "latency p99", seconds=600.0),
}


@dataclass(frozen=True)
class Miss:
    """A candidate that is worse by exactly its smallest effect in one metric.

    Args:
        metric: which.
        requests: of a run.
        pairs: at most.
        fail: chance that a request to the baseline, to the candidate fails.
    """

    metric: str
    requests: int = 600
    pairs: int = 40
    fail: tuple[float, float] = (0.0, 0.0)


MISSES: Final = (
    Miss("p50"),
    Miss("throughput"),
    Miss("p99"),
    Miss("errors", fail=(0.0, 0.005)),
    Miss("errors", fail=(0.01, 0.015)),
    # A server that answers 3.4 requests/s, for five minutes and for twelve.
    Miss("errors", requests=20, pairs=23, fail=(0.0, 0.005)),
    Miss("errors", requests=20, pairs=55, fail=(0.0, 0.005)),
)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="bench_gate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("action", choices=("simulate", "live", "show"), nargs="?", default="simulate")
    parser.add_argument("--gates", type=int, help="gates a noise, or at most this many more a case")
    parser.add_argument("--cases", default=",".join(CASES), help="of " + ", ".join(CASES).replace("%", "%%"))
    parser.add_argument("--for", dest="seconds", type=parse_duration, default=float("inf"), help="stop after this long")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "bench-gate.jsonl")
    args = parser.parse_args(words)
    if args.action == "simulate":
        gates = args.gates or 2000
        return max(simulate(gates), simulate_misses(gates))
    cases = {name: CASES[name] for name in args.cases.split(",")}
    if args.action == "live":
        live(cases, args)
    return show(cases, args.results)


def simulate(gates: int) -> int:
    """False alarms at the null's edge, for each kind of noise; the bound must hold."""
    plan = default_plan()
    edge = {name: effect / 2 for name, effect in plan.min_effects.items() if name != "errors"}
    missed = False
    print(
        f"{gates} gates of up to 40 pairs, each metric worse by half its smallest effect; bound {plan.false_alarms:.1%}"
    )
    for kind in NOISES:
        rng = np.random.default_rng([gates, len(kind)])
        start = time.process_time()
        found = Counter(
            run_gate(plan, pairs(kind, rng, 40, 0.03, edge, fail=(0.001, 0.0035)), 40)[0].kind for _ in range(gates)
        )
        alarms = found[VerdictKind.REGRESSION]
        low, high = proportion_bounds(alarms, gates)
        missed |= low > plan.false_alarms
        print(
            f"  {kind:<15} {alarms:>4} REGRESSION = {alarms / gates:.2%} [{low:.2%}, {high:.2%}], "
            f"{found[VerdictKind.PASS]} PASS, {found[VerdictKind.INCONCLUSIVE]} INCONCLUSIVE, "
            f"{(time.process_time() - start) / gates * 1e3:.0f} ms a gate",
            flush=True,
        )
    return int(missed)


def simulate_misses(gates: int) -> int:
    """Candidates worse by one smallest effect that pass; at most `Plan.miss` may."""
    plan, missed = default_plan(), False
    print(f"{gates} gates each, one metric worse by its smallest effect; bound {plan.miss:.0%}")
    for index, case in enumerate(MISSES):
        rng = np.random.default_rng([gates, index])
        effects = {} if case.metric == "errors" else {case.metric: plan.min_effects[case.metric]}
        found = Counter(
            run_gate(plan, pairs("plain", rng, case.pairs, 0.01, effects, case.requests, case.fail), case.pairs)[0].kind
            for _ in range(gates)
        )
        low, high = proportion_bounds(found[VerdictKind.PASS], gates)
        missed |= low > plan.miss
        failing = f", {case.fail[0]:.1%} and {case.fail[1]:.1%} fail" if any(case.fail) else ""
        print(
            f"  {case.metric:<10} {case.requests:>3} requests a run, up to {case.pairs} pairs{failing}: "
            f"{found[VerdictKind.PASS]} PASS = {found[VerdictKind.PASS] / gates:.2%} [{low:.2%}, {high:.2%}], "
            f"{found[VerdictKind.REGRESSION]} REGRESSION, {found[VerdictKind.INCONCLUSIVE]} INCONCLUSIVE",
            flush=True,
        )
    return int(missed)


def live(cases: dict[str, Case], args: argparse.Namespace) -> None:
    """Runs the gates that are still missing, the cases in turn, so that a batch has some of each."""
    args.results.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    model = demo_model_dir()
    done = Counter(entry["case"] for entry in read(args.results))
    added: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        while True:
            open_cases = [
                name
                for name, case in cases.items()
                if done[name] < case.gates and (args.gates is None or added[name] < args.gates)
            ]
            if not open_cases or time.monotonic() - start > args.seconds:
                return
            # The case that is furthest behind its share.
            name = min(open_cases, key=lambda entry: done[entry] / cases[entry].gates)
            entry = one_gate(name, cases[name], model, Path(folder), args.results)
            with args.results.open("ab") as file:
                file.write(orjson.dumps(entry) + b"\n")
            done[name] += 1
            added[name] += 1
            print(f"{name} {done[name]}/{cases[name].gates}: {entry['line']}", flush=True)


def one_gate(name: str, case: Case, model: Path, folder: Path, results: Path) -> dict[str, Any]:
    """Runs one gate and gives its line of the results."""
    fault = dict(case.fault)
    if "tail" in fault:
        fault["late"] = late_by(results, model, folder)
    candidate = degraded(folder, **fault) if fault else "embedded"
    report = folder / "gate.json"
    report.unlink(missing_ok=True)
    words = ["gate", "--baseline", "embedded", "--candidate", candidate, "--model-dir", str(model), *case.options]
    start = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--json", str(report)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not report.is_file():
        raise SystemExit(f"the gate gave no verdict: {done.stderr}")
    # Until its last act, so that this process may be stopped meanwhile.
    seconds = report.stat().st_mtime - start
    verdict = orjson.loads(report.read_bytes())
    return {
        "case": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "commit": this_environment().git_commit,
        "seconds": round(seconds, 1),
        "verdict": verdict["verdict"],
        "reason": verdict["reason"],
        "line": done.stdout.strip().splitlines()[-1],
        "pairs": verdict["pairs"],
        "false_alarms": verdict["false_alarms"],
        "metrics": [{key: metric[key] for key in ("name", "baseline", "candidate")} for metric in verdict["metrics"]],
    }


def late_by(results: Path, model: Path, folder: Path) -> float:
    """What 2 % of the answers must be late by to double the p99: 2 p99 - p50 of a gate without a change."""
    known = [figures_of(entry) for entry in read(results) if entry["case"] == "aa" and made_here_lately(entry)]
    known = [figures for figures in known if figures["p99"]]
    figures = known[-1] if known else figures_of(one_gate("aa", CASES["aa"], model, folder, results))
    if not figures["p99"]:
        raise SystemExit("this machine is too slow for runs with a p99: p99-doubled cannot be run")
    return 2 * figures["p99"] - (figures["p50"] or 0.0)


def made_here_lately(entry: dict[str, Any]) -> bool:
    """Whether a gate ran on a machine as fast as this one: two of one name need not be, nor one at two times."""
    age = datetime.now(UTC) - datetime.fromisoformat(entry["at"])
    return bool(entry["machine"] == machine() and age < LATELY)


def figures_of(entry: dict[str, Any]) -> dict[str, float | None]:
    """The baseline's figures by metric; None where the runs did not carry it."""
    return {metric["name"]: metric["baseline"] for metric in entry["metrics"]}


def machine() -> str:
    here = this_environment()
    return f"{here.cpu_model}, {here.cores} cores"


def read(results: Path) -> list[dict[str, Any]]:
    if not results.is_file():
        return []
    return [orjson.loads(line) for line in results.read_bytes().splitlines() if line]


def show(cases: dict[str, Case], results: Path) -> int:
    """A line a case; 1 if a bar is missed or not finished."""
    missed = False
    for name, case in cases.items():
        found = [entry for entry in read(results) if entry["case"] == name]
        if not found:
            continue
        kinds = Counter(entry["verdict"] for entry in found)
        named = [case.metric in entry["reason"] for entry in found if entry["verdict"] == "REGRESSION"]
        alarms, late = kinds["REGRESSION"], [entry for entry in found if entry["seconds"] > case.seconds + 2]
        least = case.alarms[0] - (case.gates - len(found))
        good = least <= alarms <= case.alarms[1] and all(named) and not late
        missed |= not good
        seconds = sorted(entry["seconds"] for entry in found)
        bound = f", rate at most {upper_bound(alarms, len(found)):.1%} (95 %)" if case.alarms[0] == 0 else ""
        print(
            f"{name:<12} {'holds' if good else 'MISSED'} ({len(found)} of {case.gates}): {alarms} REGRESSION "
            f"(bar {case.alarms[0]} to {case.alarms[1]}){bound}, {kinds['PASS']} PASS, "
            f"{kinds['INCONCLUSIVE']} INCONCLUSIVE; seconds median {seconds[len(seconds) // 2]:.0f}, "
            f"most {seconds[-1]:.0f}" + (f"; {named.count(False)} without the metric's name" if not all(named) else "")
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
