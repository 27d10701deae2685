"""The bars of objectives and of runs that stop by themselves: `python -m benchmarks.bench_slo [NAME...]`.

    verdicts    200 runs of a simulated server at each of three rates, with limits at the truth and 5 to 50 % from it
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
from scipy.stats import norm

from bench.analysis.run import analyse
from bench.objectives.grammar import Objective
from bench.objectives.verdicts import Verdict, decide
from bench.results.run_reader import find_runs
from bench.stats.estimate import Estimate
from benchmarks.verdicts import goal, missed, note
from tests.support.exact_queues import exponential_sample
from tests.support.queue_server import queue_server
from tests.support.stopping_runs import KINDS, Server, right, until_run, verdict_run
from tests.support.toy_golden import toy_golden, write_model_dir

UTILIZATION: Final = 0.5
SERVERS: Final = 4
RATES: Final = (20.0, 100.0, 500.0)
"""Requests/s; the service time is such that the servers are half busy."""
DEFAULT_RATE: Final = 100.0
DEFAULT_SECONDS: Final = 54.0
"""Measured time of a run of the default length, 60 s with its warm-up."""
DISTANCES: Final = (0.05, 0.1, 0.2, 0.5)
"""Of the limit from the truth, on either side."""
LONGEST: Final = {"independent": 40_000, "AR(1) 0.9": 80_000, "heavy tails": 80_000, "drift": 40_000}
"""Requests of the longest run of each kind: enough for ±5 %."""
FAILING: Final = {"p50": 0.001, "p95": 0.001, "p99": 0.001, "throughput": 0.001, "errors": 0.01}
"""Share of the requests that fail in the runs for each quantity. With 1 % of them there would be no p99."""
NAMES: Final = ("p50", "p95", "p99", "throughput")
"""Quantities of the bar. The share of errors is shown beside it: at 1 % a run of the default length has 54 of them."""
FAR_RUNS, DECIDED_RUNS, UNTIL_RUNS = 200, 100, 250
PROCESSES: Final = 2


def _server(name: str, rate: float = DEFAULT_RATE) -> Server:
    return Server(rate, UTILIZATION * SERVERS / rate, SERVERS, FAILING[name])


def _estimates(case: tuple[float, int]) -> dict[str, Estimate]:
    """The estimate of each quantity in one run of the default length."""
    rate, seed = case
    found: dict[str, Estimate] = {}
    for failing in sorted(set(FAILING.values())):
        names = [name for name in FAILING if FAILING[name] == failing]
        server = _server(names[0], rate)
        objectives = tuple(Objective(name, server.truth(name)) for name in names)
        results = verdict_run(server, objectives, DEFAULT_SECONDS, seed, until_decided=False)
        found |= {result.objective.name: result.estimate for result in results}
    return found


def _verdict(name: str, rate: float, factor: float, estimate: Estimate) -> tuple[Verdict, bool]:
    """The verdict on a limit that is `factor` times the truth, and whether it is wrong."""
    server = _server(name, rate)
    objective = Objective(name, server.truth(name) * factor)
    verdict = decide(objective, estimate, DEFAULT_SECONDS).verdict
    return verdict, verdict not in (Verdict.CANNOT_TELL, right(server, objective))


def _at_best(name: str, distance: float, runs: Sequence[dict[str, Estimate]]) -> tuple[float, float]:
    """The shares that cannot tell, and that are wrong, if the error of the estimate is known: that of these runs."""
    logs = np.log([run[name].center or np.nan for run in runs])
    shift = np.log(1 + distance) / float(np.nanstd(logs))
    z = norm.ppf(0.975)
    wrong = float(norm.cdf(-z - shift))
    return float(norm.cdf(z - shift)) - wrong, wrong


def _table(rate: float, runs: Sequence[dict[str, Estimate]]) -> None:
    """Verdicts by quantity and distance."""
    wrong, expected = 0, 0.0
    for name in FAILING:
        cells = []
        for distance in DISTANCES:
            found = [
                _verdict(name, rate, factor, run[name]) for run in runs for factor in (1 + distance, 1 / (1 + distance))
            ]
            bad, unknown = sum(entry for _, entry in found), sum(kind is Verdict.CANNOT_TELL for kind, _ in found)
            best, mistakes = _at_best(name, distance, runs)
            cells.append(f"{distance:.0%}: {unknown / len(found):.0%} ({best:.0%})" + (f", {bad} wrong" if bad else ""))
            wrong += bad
            expected += mistakes * len(found)
        note(f"{rate:g}/s, {name}: CANNOT TELL at {'; '.join(cells)}")
    note(f"{rate:g}/s: {wrong} of {len(FAILING) * len(DISTANCES) * 2 * len(runs):,} wrong ({expected:.0f})")


def _far(seed: int) -> tuple[str, float]:
    """An objective 5 to 50 % from the truth, most of them near: log-uniform, on either side, of any quantity."""
    rng = np.random.default_rng([seed, 9])
    distance = float(np.exp(rng.uniform(np.log(DISTANCES[0]), np.log(DISTANCES[-1]))))
    return NAMES[seed % len(NAMES)], 1 + distance if rng.random() < 0.5 else 1 / (1 + distance)


def _decided(seed: int) -> tuple[Verdict, bool]:
    """The verdict of a run with --until decided, and whether it is wrong."""
    name, factor = _far(seed)
    server = _server(name)
    objective = Objective(name, server.truth(name) * factor)
    (found,) = verdict_run(server, (objective,), 10 * DEFAULT_SECONDS, seed, until_decided=True)
    return found.verdict, found.verdict not in (Verdict.CANNOT_TELL, right(server, objective))


def _bar(what: str, found: Sequence[tuple[Verdict, bool]]) -> None:
    wrong, unknown = sum(bad for _, bad in found), sum(kind is Verdict.CANNOT_TELL for kind, _ in found)
    goal(wrong == 0, f"{what}: {wrong} of {len(found)} wrong (0)")
    goal(unknown <= len(found) / 5, f"{what}: {unknown} of {len(found)} CANNOT TELL (a fifth)")


def verdicts(pool: ProcessPoolExecutor) -> None:
    """Bar 1."""
    print(f"Verdicts: M/M/{SERVERS}, half busy, {FAR_RUNS} runs of {DEFAULT_SECONDS:g} s at each rate", flush=True)
    note("CANNOT TELL by the distance of the limit from the truth, on both sides (if the error were known):")
    for rate in RATES:
        runs = list(pool.map(_estimates, [(rate, seed) for seed in range(FAR_RUNS)]))
        _table(rate, runs)
        if rate == DEFAULT_RATE:
            cases = [(*_far(seed), run) for seed, run in enumerate(runs)]
            mixed = [_verdict(name, rate, factor, run[name]) for name, factor, run in cases]
            _bar(f"{rate:g}/s, latency and throughput, 5 to 50 % from the truth", mixed)
        for name in FAILING:
            counts = Counter(_verdict(name, rate, 1.0, run[name])[0] for run in runs)
            most = max(counts[Verdict.PASS], counts[Verdict.FAIL])
            shares = f"PASS {counts[Verdict.PASS]}, FAIL {counts[Verdict.FAIL]}"
            goal(most <= 0.05 * len(runs), f"{rate:g}/s, {name} at its limit: {shares} of {len(runs)} (5 % each)")
    _bar(
        f"--until decided, {DEFAULT_RATE:g}/s, at most {10 * DEFAULT_SECONDS:g} s, 5 to 50 % from the truth",
        list(pool.map(_decided, range(DECIDED_RUNS))),
    )


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
