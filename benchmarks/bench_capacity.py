"""The goals of the capacity model: `python -m benchmarks.bench_capacity [NAME...]` prints PASS or MISS and each value.

    fits        the fit on simulated servers that are slow after idle times or vary from run to run; no goal
    sweeps      whole simulated sweeps of four known queues, against the exact latencies
    known       four servers with known service times: percentiles at five rates, and the sustained rate
    embedded    the embedded server with the demo model: errors of the validation
    replicas    two replicas behind a client-side load balancer: known queues, and embedded servers of one core each
    simulation  waiting times against exact formulas; a thousand replicas, a million requests
    failures    an objective out of reach, a server that dies, a slow load generator: one line and an exit code

All of them take about two hours; `--short` gives each run a third of its time. They need a quiet machine; the load
average is printed with the results.
"""

import argparse
import contextlib
import io
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench.bert.demo.demo_model import demo_model_dir
from bench.capacity.experiment.experiment_design import FULL
from bench.capacity.experiment.sweep import Sweep
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import Stage, measure
from bench.capacity.model.fit import FitOptions, fit_model
from bench.capacity.model.model_file import read_model
from bench.capacity.plan.fleet import Fleet, simulate_fleet
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import Effort, ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from bench.cli import main as bertbench
from bench.load.runner.client import open_runner
from bench.load.selftest.null_server import null_server
from bench.load.setup.run_spec import RunSpec, address_of
from bench.server.running import RunningServer
from bench.workload.arrivals import Poisson
from bench.workload.balancing import POLICIES
from benchmarks.known_queues import LOADS, MEAN, ModelErrors, exact_latencies, exact_limit
from tests.support.exact_queues import exponential_sample, md1_waiting, mmc_waiting, poisson
from tests.support.known_sweeps import KnownDriver, KnownServer
from tests.support.queue_server import queue_server
from tests.support.toy_golden import toy_golden, write_model_dir

SWEEPS = 5
"""Sweeps of each simulated queue."""
# (servers, CV, slowdown of a request that finds the server idle, run-to-run variation)
FITS = (
    (1, 0.3, 0.0, 0.0),
    (4, 1.5, 0.0, 0.0),
    (1, 0.5, 0.5, 0.0),
    (2, 0.5, 1.0, 0.0),
    (2, 0.5, 1.0, 0.03),
    (2, 0.5, 0.0, 0.05),
)
TIMES = ("--step-time", "15s", "--knee-time", "20s")
SHORT = ("--step-time", "5s", "--knee-time", "7s")
failed: list[str] = []


def verdict(met: bool, text: str) -> None:
    if not met:
        failed.append(text)
    print(f"  {'PASS' if met else 'MISS'}  {text}", flush=True)


def note(text: str) -> None:
    print(f"        {text}", flush=True)


@dataclass
class Bench:
    """A folder for sweeps, with the model whose answers the synthetic servers give."""

    folder: Path
    times: Sequence[str]

    @property
    def model_dir(self) -> Path:
        found = self.folder / "model"
        return found if found.exists() else write_model_dir(found, toy_golden(200))

    def capacity(self, name: str, *words: str) -> tuple[int, dict[str, Any], str]:
        """Makes a sweep: (exit code, `capacity.json`, standard error)."""
        out, err = io.StringIO(), io.StringIO()
        folder = self.folder / name
        code = bertbench(["capacity", *words, "--out", str(folder)], out, err)
        report = folder / "capacity.json"
        found = orjson.loads(report.read_bytes()) if report.exists() else {}
        for line in out.getvalue().splitlines():
            if not line.startswith(("ladder", "knee", "hold-out", "confirm", "replicas", "fitting", "  re")):
                note(line)
        return code, found, err.getvalue()

    def known(self, name: str, url: str, *words: str) -> tuple[int, dict[str, Any], str]:
        """Makes a sweep of a synthetic server."""
        return self.capacity(name, "--target", url, "--model-dir", str(self.model_dir), *self.times, *words)


def round_trip_overhead(bench: Bench, rate: float) -> float:
    """Latency that the machine adds to that of a queue at `rate` (timers, sockets, wake-ups), seconds.

    It is the median latency of a server where no request waits and all service times are equal, minus that time.
    """
    with queue_server(bench.model_dir, servers=512, mean=MEAN, cv=0.001) as url, open_runner() as runner:
        server = RunningServer(url, None, "bert", "remote")
        spec = RunSpec(
            protocol="rest",
            scenario="round-trip",
            arrivals=Poisson(rate),
            users=64,
            duration=8.0,
            warmup=1.0,
            seed=1,
            results=bench.folder / f"round-trip-{rate:g}",
            model_dir=bench.model_dir,
            servers=(server,),
            target=address_of(server, "rest"),
        )
        return measure(runner.run(spec), Stage.LADDER).measurement.raw["p50"] - MEAN


def fits(bench: Bench) -> None:
    """The fit on servers that deviate from a textbook queue: errors against long runs of the same server."""
    options = FitOptions(replicates=40, effort=Effort(2500, 2), reference=Effort(5000, 60, 1), seed=1)
    for servers, cv, cold, variation in FITS:
        errors, capacity = ModelErrors(), servers / MEAN
        for seed in range(3):
            server = KnownServer(servers, MEAN, cv, seed=10 + seed, cold=cold, run_to_run_variation=variation)
            runs = [server.measure_closed_loop(users, 10.0 * (1 + (users == 1))) for users in (1, 2, 3, 4, 6, 8, 12)]
            runs += [server.measure_open_loop(load * capacity, 12.0) for load in FULL.knee for _ in range(FULL.repeats)]
            constant = KnownServer(servers, MEAN, cv, seed=99, cold=cold)
            exact = np.array([constant.measure_open_loop(load * capacity, 400.0).columns() for load in LOADS])
            errors.add(servers, exact, fit_model(runs, options))
        note(f"{servers} servers, CV {cv}, {cold:.0%} longer when idle, speed varies by {variation:.0%}: {errors}")


def report(errors: ModelErrors) -> None:
    for met, text in errors.verdicts():
        verdict(met, text)


def known(bench: Bench) -> None:
    """Errors against the exact latencies, and how often the interval contains them."""
    errors = ModelErrors()
    for servers in (1, 4):
        rate = statistics.median(LOADS) * servers / MEAN
        overhead = round_trip_overhead(bench, rate)
        note(f"round trip at {rate:g}/s, part of every latency: {1e3 * overhead:.2f} ms")
        for cv in (0.3, 1.5):
            exact = exact_latencies(servers, cv, overhead)
            name = f"known-{servers}-{cv}"
            with queue_server(bench.model_dir, servers, MEAN, cv, seed=servers) as url:
                code, found, err = bench.known(name, url, "--slo", f"p99={exact_limit(exact):.4f}ms")
            if code:
                verdict(False, f"{servers} servers, CV {cv}: exit {code}: {err.strip()}")
                continue
            model = read_model(bench.folder / name).model
            note(f"{servers} servers, CV {cv}: {errors.add(servers, exact, model, found['slo_rate']['center'])}")
    report(errors)


def sweeps(bench: Bench) -> None:
    """The same with simulated sweeps of simulated queues: the errors on a perfectly quiet machine."""
    errors = ModelErrors()
    scale = replace(FULL, step=15.0, single_user=45.0, knee_seconds=20.0, hold_out_seconds=20.0)
    for seed in range(SWEEPS):
        for servers, cv in itertools.product((1, 4), (0.3, 1.5)):
            server = KnownServer(servers, MEAN, cv, seed=100 * seed + servers)
            exact = exact_latencies(servers, cv, server.overhead)
            slo = Slo.parse(f"p99={exact_limit(exact):.4f}ms")
            folder = SweepFolder.create(bench.folder / f"sweep-{servers}-{cv}-{seed}", {"slo": str(slo)}, resume=False)
            result = Sweep(folder, KnownDriver(server), scale, slo, seed=seed).run()
            sustained = result.sustained.rate.center or 0.0
            note(f"{servers} servers, CV {cv}: {errors.add(servers, exact, result.model, sustained)}")
    report(errors)


def embedded(bench: Bench) -> None:
    """Errors of the validation of the embedded server."""
    code, found, err = bench.capacity("embedded", "--slo", "p99=100ms", *bench.times)
    if not found:
        verdict(False, f"exit {code}: {err.strip()}")
        return
    checks = found["hold_out"]["checks"]
    for check in checks:
        note(
            f"{check['rate']:.4g}/s ({check['load']:.0%}) {check['column']}: predicted "
            f"{1e3 * check['predicted']['center']:.1f} ms, measured {1e3 * check['measured']:.1f} ms, "
            f"{check['error']:+.1%}{'' if check['inside'] else ', outside the interval'}"
        )
    middle, hits = found["hold_out"]["median_error"], found["hold_out"]["inside"]
    verdict(middle <= 0.15, f"median error {middle:.1%} (goal 15 %), {hits} of {len(checks)} inside the interval")


@contextlib.contextmanager
def mini_model(folder: Path) -> Iterator[Path]:
    """An export of the preset mini."""
    target = folder / "mini"
    if not target.exists():
        command = [sys.executable, "-m", "bench", "export", "--checkpoint", "mini", "--out", str(target)]
        subprocess.run(command, check=True, capture_output=True)
    yield target


def replicas(bench: Bench) -> None:
    """The sustained rate of two replicas, predicted and measured."""
    with (
        queue_server(bench.model_dir, 2, MEAN, 0.7, seed=1) as one,
        queue_server(bench.model_dir, 2, MEAN, 0.7, seed=2) as other,
    ):
        words = ("--replicas", "2", "--replica-target", other, "--policy", "round-robin", "--slo", "p99=40ms")
        _compare_replicas("two known queues", *bench.known("replicas-known", one, *words))
    if len(os.sched_getaffinity(0)) < 2:
        note("two embedded servers of a core each: this machine has one core; not run")
        return
    with mini_model(bench.folder) as model_dir:
        flags = ("--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1")
        options = tuple(f"--server-flag={flag}" for flag in flags)
        found = bench.capacity(
            "replicas-embedded",
            *("--model-dir", str(model_dir), "--replicas", "2", "--cores-per-replica", "1", "--slo", "p99=400ms"),
            *options,
            *bench.times,
        )
        _compare_replicas("two embedded servers of a core each", *found)


def _compare_replicas(name: str, code: int, found: dict[str, Any], err: str) -> None:
    check = found.get("replicas")
    if not check or check["measured"] is None:
        reason = check["note"] if check else f"exit {code}: {err.strip()}"
        verdict(False, f"{name}: {reason}")
        return
    predicted, measured, error = check["predicted"]["center"], check["measured"], check["error"]
    verdict(abs(error) <= 0.10, f"{name}: predicted {predicted:.4g}/s, measured {measured:.4g}/s, {error:+.1%} (10 %)")


def simulation(bench: Bench) -> None:
    """Exact formulas, and speed."""
    exponential = exponential_sample(1.0)
    worst = 0.0
    for servers, rho, replicas in ((1, 0.5, 1), (1, 0.7, 20), (4, 0.7, 20), (8, 0.8, 20)):
        rate = rho * servers
        served = simulate_fleet(
            Fleet(ParameterSet(QueueModel.independent(servers), exponential), replicas, "random"),
            poisson(rate * replicas, (4_000_000,), servers),
            servers,
        )
        off = {
            share: np.quantile(served.waiting[200_000:], share) / mmc_waiting(rate, 1.0, servers, share) - 1
            for share in (0.9, 0.95, 0.99)
        }
        note(
            f"M/M/{servers} at {rho:.0%}: "
            + ", ".join(f"p{100 * share:g} {error:+.2%}" for share, error in off.items())
        )
        worst = max(worst, *map(abs, off.values()))
    served = simulate_fleet(
        Fleet(ParameterSet(QueueModel.independent(1), np.ones(1)), 1), poisson(0.7, (4_000_000,), 9), 9
    )
    off = {p: np.quantile(served.waiting, p) / md1_waiting(0.7, 1.0, p) - 1 for p in (0.9, 0.95, 0.99)}
    note("M/D/1 at 70%: " + ", ".join(f"p{100 * share:g} {error:+.2%}" for share, error in off.items()))
    worst = max(worst, *map(abs, off.values()))
    verdict(worst <= 0.02, f"waiting time percentiles deviate by {worst:.2%} at most (2 %)")
    arrivals = poisson(800.0, (1_000_000,), 1)
    slowest = 0.0
    for policy in POLICIES:
        begin = time.perf_counter()
        simulate_fleet(Fleet(ParameterSet(QueueModel.independent(1), exponential), 1000, policy), arrivals, 1)
        took = time.perf_counter() - begin
        note(f"1,000 replicas, {policy}, 1,000,000 requests: {took:.1f} s")
        slowest = max(slowest, took)
    verdict(slowest <= 60, f"1,000 replicas and 1,000,000 requests in {slowest:.1f} s at most (60 s)")


def failures(bench: Bench) -> None:
    """A sweep that cannot be completed ends with one line and an exit code."""
    quick = ("--quick", "--step-time", "2s", "--knee-time", "2s")
    model = ("--model-dir", str(bench.model_dir))
    with queue_server(bench.model_dir, 1, 0.01, 0.3) as url:
        code, found, err = bench.capacity("unattainable", "--target", url, *model, *quick, "--slo", "p99=3ms")
    met = code == 1 and err.count("\n") == 1 and "cannot be met" in err and len(found.get("points", ())) > 5
    verdict(met, f"objective out of reach: exit {code}, {err.strip()!r}")
    with queue_server(bench.model_dir, 1, 0.01, 0.3, die_after=600) as url:
        code, found, err = bench.capacity("dying", "--target", url, *model, *quick)
    stored = list((bench.folder / "dying" / "runs").glob("*/requests.parquet"))
    met = code == 4 and err.count("\n") == 1 and "--resume" in err and len(stored) >= 2
    verdict(met, f"server that dies: exit {code}, {len(stored)} runs stored, {err.strip()!r}")
    with null_server(bench.model_dir) as server:
        code, found, err = bench.capacity("client", "--target", server["rest"], *model, *quick)
    stored = list((bench.folder / "client" / "runs").glob("*/requests.parquet"))
    met = code == 3 and err.count("\n") == 1 and "load generator was the limit" in err and bool(stored)
    verdict(met, f"slow load generator: exit {code}, {len(stored)} runs stored, {err.strip()!r}")


GOALS: dict[str, Callable[[Bench], None]] = {
    "fits": fits,
    "sweeps": sweeps,
    "known": known,
    "embedded": embedded,
    "replicas": replicas,
    "simulation": simulation,
    "failures": failures,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(GOALS))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder that keeps the sweeps")
    args = parser.parse_args()
    unknown = set(args.names) - set(GOALS)
    if unknown:
        parser.error(f"no goal {', '.join(sorted(unknown))}; the goals are {', '.join(GOALS)}")
    # The export of the demo model must not be part of a timing.
    demo_model_dir()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args.keep or Path(scratch), SHORT if args.short else TIMES)
        bench.folder.mkdir(parents=True, exist_ok=True)
        for name in args.names or GOALS:
            print(f"{name} (load average {os.getloadavg()[0]:.1f})", flush=True)
            GOALS[name](bench)
    print(f"{len(failed)} missed" if failed else "all goals met")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
