"""The bars of objectives and of runs that stop by themselves: `python -m benchmarks.bench_slo [NAME...]`.

    verdicts    200 runs of a simulated server, each objective 5 % or more from the truth, and runs at the limit
    until       1,000 runs with --until p99±5%: independent, AR(1) 0.9, heavy tails, drift; and a queue beside them
    live        20 runs with --until against a live server whose queue is known

All by default. PASS or MISS and the figure of each; exit code 1 if one is missed. `live` wants a machine with nothing
else to do; `until` and `verdicts` take some minutes and no clock.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np

from bench.analysis.run import analyse
from bench.objectives.grammar import Objective
from bench.objectives.verdicts import Verdict
from bench.results.run_reader import find_runs
from benchmarks.verdicts import goal, missed, note
from tests.support.exact_queues import exponential_sample
from tests.support.queue_server import queue_server
from tests.support.stopping_runs import KINDS, Server, right, until_run, verdict_run
from tests.support.toy_golden import toy_golden, write_model_dir

SERVER: Final = Server(rate=100.0, mean=0.02, servers=4, errors=0.01)
DEFAULT_SECONDS: Final = 54.0
"""Measured time of a run of the default length, 60 s with its warm-up."""
LONGEST: Final = {"independent": 40_000, "AR(1) 0.9": 80_000, "heavy tails": 80_000, "drift": 40_000}
"""Requests of the longest run of each kind: enough for ±5 %."""
NAMES: Final = ("p50", "p95", "p99", "throughput", "errors")
EDGE_RUNS, FAR_RUNS, UNTIL_RUNS = 200, 200, 250
PROCESSES: Final = 2


def _verdict(case: tuple[str, float, float, int, bool]) -> tuple[bool, Verdict]:
    """Whether the verdict of one run is wrong, and the verdict."""
    name, factor, seconds, seed, until_decided = case
    objective = Objective(name, SERVER.truth(name) * factor)
    (found,) = verdict_run(SERVER, (objective,), seconds, seed, until_decided=until_decided)
    wrong = found.verdict is not Verdict.CANNOT_TELL and found.verdict is not right(SERVER, objective)
    return wrong, found.verdict


def _far(seed: int) -> tuple[str, float]:
    """An objective 5 to 50 % from the truth, most of them near: log-uniform, on either side, of any quantity."""
    rng = np.random.default_rng([seed, 9])
    distance = float(np.exp(rng.uniform(np.log(0.05), np.log(0.5))))
    return NAMES[seed % len(NAMES)], 1 + distance if rng.random() < 0.5 else 1 / (1 + distance)


def verdicts(pool: ProcessPoolExecutor) -> None:
    """Bar 1."""
    print(f"Verdicts: M/M/{SERVER.servers}, {SERVER.rate:g} requests/s, {SERVER.errors:.0%} of them fail", flush=True)
    for seconds, until_decided, what in (
        (DEFAULT_SECONDS, False, f"runs of {DEFAULT_SECONDS:g} s"),
        (10 * DEFAULT_SECONDS, True, f"--until decided, at most {10 * DEFAULT_SECONDS:g} s"),
    ):
        cases = [(*_far(seed), seconds, seed, until_decided) for seed in range(FAR_RUNS)]
        found = list(pool.map(_verdict, cases))
        wrong, unknown = sum(bad for bad, _ in found), sum(kind is Verdict.CANNOT_TELL for _, kind in found)
        goal(wrong == 0, f"{what}, 5 to 50 % from the truth: {wrong} of {FAR_RUNS} wrong (0)")
        text = f"{what}: {unknown} of {FAR_RUNS} CANNOT TELL"
        if until_decided:
            goal(unknown <= FAR_RUNS / 5, f"{text} (a fifth)")
        else:
            note(text)
        nearest = [("p99", 1.05, seconds, 1000 + seed, until_decided) for seed in range(FAR_RUNS // 2)]
        found = list(pool.map(_verdict, nearest))
        note(f"{what}, p99 5 % below its limit: {dict(Counter(str(kind) for _, kind in found))}")
        for name in ("p99", "throughput"):
            edge = [(name, 1.0, seconds, 2000 + seed, until_decided) for seed in range(EDGE_RUNS)]
            counts = Counter(kind for _, kind in pool.map(_verdict, edge))
            most = max(counts[Verdict.PASS], counts[Verdict.FAIL])
            shares = f"PASS {counts[Verdict.PASS]}, FAIL {counts[Verdict.FAIL]}"
            goal(most <= 0.05 * EDGE_RUNS, f"{what}, {name} at its limit: {shares} of {EDGE_RUNS} (5 % each)")


def _until(case: tuple[str, int, int]) -> tuple[bool, bool, bool, int]:
    run = until_run(*case)
    return run.low, run.high, run.stopped, run.requests


def until(pool: ProcessPoolExecutor) -> None:
    """Bar 2, simulated."""
    print("Until p99±5%: the 95 % interval of the stopped run covers the truth", flush=True)
    covered = []
    for kind in KINDS:
        longest = LONGEST.get(kind, 120_000)
        found = list(pool.map(_until, [(kind, seed, longest) for seed in range(UNTIL_RUNS)], chunksize=5))
        low, high, stopped, requests = (np.array(column) for column in zip(*found, strict=True))
        share = float((low & high).mean())
        if kind in LONGEST:
            covered += (low & high).tolist()
        note(
            f"{kind}: {share:.1%} of {UNTIL_RUNS}, {1 - low.mean():.1%} above, {1 - high.mean():.1%} below the truth; "
            f"{stopped.mean():.0%} stopped by themselves, after {int(np.median(requests)):,} requests"
        )
    share = float(np.mean(covered))
    goal(0.93 <= share <= 0.97, f"all {len(covered)} runs of the first four kinds: {share:.1%} (93 to 97 %)")


def live(_: ProcessPoolExecutor) -> None:
    """Bar 2, live: exponential service without a queue, so that latency is that of the service."""
    mean, rate, servers, runs = 0.02, 200, 64, 20
    truth = float(np.quantile(exponential_sample(mean, 1_000_000), 0.95))
    inside, seconds = 0, []
    with tempfile.TemporaryDirectory() as folder:
        model = write_model_dir(Path(folder) / "model", toy_golden(200))
        for seed in range(runs):
            results = Path(folder) / f"results-{seed}"
            with queue_server(model, servers=servers, mean=mean, seed=seed) as url:
                words = ["rest", "--target", url, "--model-dir", str(model), "--out", str(results), "--users", "128"]
                words += ["--arrivals", f"poisson:rate={rate}", "--duration", "10s", "--warmup", "1s"]
                words += ["--until", "send-p95±5%", "--max-duration", "2m", "--no-preflight", "--seed", str(seed)]
                command = [sys.executable, "-m", "bench", "run", *words]
                subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            (run,) = find_runs([results])
            found = analyse(run).summary.metrics["from_send_p95"]
            assert run.file.stopping is not None
            seconds.append(run.manifest.workload.duration)
            low, high = found.lo or 0.0, found.hi or np.inf
            inside += low <= truth <= high
            note(f"run {seed}: {1e3 * low:.1f} … {1e3 * high:.1f} ms, {seconds[-1]:.0f} s, {run.file.stopping.reason}")
    goal(inside >= 18, f"{inside} of {runs} live runs cover {1e3 * truth:.1f} ms (18), {np.median(seconds):.0f} s each")


BARS: Final = {"verdicts": verdicts, "until": until, "live": live}


def main(names: Sequence[str]) -> int:
    unknown = set(names) - BARS.keys()
    if unknown:
        print(f"no bar {', '.join(sorted(unknown))}; give some of {', '.join(BARS)}", file=sys.stderr)
        return 2
    with ProcessPoolExecutor(PROCESSES) as pool:
        for name in names or BARS:
            BARS[name](pool)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
