"""The capacity model's bars: `python -m benchmarks.bench_capacity [NAME...]`, PASS or MISS and each figure.

    fits        simulated servers that wake up slowly and machines whose speed varies: the fit, without a clock or a bar
    sweeps      whole sweeps of four simulated queues, with other draws each time, against the truth: no clock
    known       four queues whose service times are known: percentiles at five rates never measured, and the SLO's rate
    embedded    the embedded server with the demo model: the same errors, measured
    replicas    two replicas behind a client-side balancer: two known queues, and two embedded servers of a core each
    simulation  waiting times against Erlang's and Crommelin's formulas; a thousand replicas, a million requests
    failures    an objective out of reach, a server that dies, a client that is the limit: one line, an exit code

All by default, some two hours; `--short` gives every run a third of its time. Wants a machine with nothing else
to do; the load average is printed with the results.
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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.bert.demo.demo_model import demo_model_dir
from bench.capacity.experiment.experiment_design import FULL
from bench.capacity.experiment.sweep import Sweep
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import Stage, measure
from bench.capacity.model.fit import FitOptions, fit_model
from bench.capacity.model.model import CapacityModel
from bench.capacity.model.model_file import read_model
from bench.capacity.plan.fleet import Fleet, simulate_fleet
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import COLUMNS, Effort, ParameterSet, latency_tables
from bench.capacity.queue.queue_model import QueueModel
from bench.cli import main as bertbench
from bench.load.runner.client import open_runner
from bench.load.selftest.null_server import null_server
from bench.load.setup.run_spec import RunSpec, address_of
from bench.server.running import RunningServer
from bench.workload.arrivals import Poisson
from bench.workload.policies import POLICIES
from tests.support.exact_queues import exponential_sample, md1_waiting, mmc_waiting, poisson
from tests.support.known_sweeps import KnownDriver, KnownServer
from tests.support.queue_server import queue_server, service_times
from tests.support.toy_golden import toy_golden, write_model_dir

LOADS = (0.30, 0.45, 0.60, 0.75, 0.85)
SLO_LOAD = 0.75
MEAN = 0.008
SWEEPS = 5
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


def verdict(good: bool, text: str) -> None:
    if not good:
        failed.append(text)
    print(f"  {'PASS' if good else 'MISS'}  {text}", flush=True)


def note(text: str) -> None:
    print(f"        {text}", flush=True)


@dataclass
class Bench:
    """A place for sweeps, and the model whose answers the synthetic servers give."""

    folder: Path
    times: Sequence[str]

    @property
    def model_dir(self) -> Path:
        found = self.folder / "model"
        return found if found.exists() else write_model_dir(found, toy_golden(200))

    def capacity(self, name: str, *words: str) -> tuple[int, dict[str, Any], str]:
        """A sweep: exit code, what it found, and what it wrote to standard error."""
        out, err = io.StringIO(), io.StringIO()
        folder = self.folder / name
        code = bertbench(["capacity", *words, "--out", str(folder)], out, err)
        report = folder / "capacity.json"
        found = orjson.loads(report.read_bytes()) if report.exists() else {}
        for line in out.getvalue().splitlines():
            if not line.startswith(("ladder", "knee", "hold-out", "confirm", "replicas", "fitting", "  once more")):
                note(line)
        return code, found, err.getvalue()

    def known(self, name: str, url: str, *words: str) -> tuple[int, dict[str, Any], str]:
        """A sweep of a synthetic server."""
        return self.capacity(name, "--target", url, "--model-dir", str(self.model_dir), *self.times, *words)


def round_trip_overhead(bench: Bench, rate: float) -> float:
    """What the machine adds to a known queue's latency at `rate`, seconds: timers that fire late, sockets, wake-ups.

    As a median at a server so wide that nobody waits, whose every service takes the mean.
    """
    with queue_server(bench.model_dir, servers=512, mean=MEAN, cv=0.001) as url, open_runner() as runner:
        server = RunningServer(url, None, "bert", "remote")
        spec = RunSpec(
            protocol="rest",
            scenario="floor",
            arrivals=Poisson(rate),
            users=64,
            duration=8.0,
            warmup=1.0,
            seed=1,
            results=bench.folder / f"way-{rate:g}",
            model_dir=bench.model_dir,
            servers=(server,),
            target=address_of(server, "rest"),
        )
        return measure(runner.run(spec), Stage.LADDER).measurement.raw["p50"] - MEAN


def truth(servers: int, cv: float, overhead: float, loads: Sequence[float]) -> NDArray[Any]:
    """Long-run latencies of a known queue at `loads`, `[loads, COLUMNS]`."""
    work = np.sort(service_times(MEAN, cv, 1_000_000, np.random.default_rng(99)))
    parameter_set = ParameterSet(QueueModel.independent(servers, overhead), work * (MEAN / work.mean()))
    rates = [load * servers / MEAN for load in loads]
    return latency_tables([parameter_set], rates, Effort(requests=20_000, queues=250, seed=5))[0]  # type: ignore[no-any-return]


def fits(bench: Bench) -> None:
    """What the fit makes of servers that are no textbook queue: errors against long runs of the same server."""
    effort = FitOptions(replicates=40, effort=Effort(2500, 2), reference=Effort(5000, 60, 1), seed=1)
    for servers, cv, cold, run_to_run_variation in FITS:
        errors, inside = [], []
        for seed in range(3):
            server = KnownServer(
                servers, MEAN, cv, seed=10 + seed, cold=cold, run_to_run_variation=run_to_run_variation
            )
            capacity = servers / MEAN
            runs = [server.measure_closed_loop(users, 10.0 * (1 + (users == 1))) for users in (1, 2, 3, 4, 6, 8, 12)]
            runs += [server.measure_open_loop(load * capacity, 12.0) for load in FULL.knee for _ in range(FULL.repeats)]
            model = fit_model(runs, effort)
            steady = KnownServer(servers, MEAN, cv, seed=99, cold=cold)
            for load in LOADS:
                exact = steady.measure_open_loop(load * capacity, 400.0).columns()
                latency = model.predict(load * capacity, extrapolate=True).latency
                for column in ("p50", "p95", "p99"):
                    summary, value = latency[column], exact[COLUMNS.index(column)]
                    errors.append(abs((summary.center or np.inf) / value - 1))
                    inside.append((summary.lo or 0.0) <= value <= (summary.hi or np.inf))
        note(
            f"{servers} servers, CV {cv}, {cold:.0%} longer when idle, speed varies by {run_to_run_variation:.0%}: "
            f"median error {statistics.median(errors):.1%}, worst {max(errors):.0%}, {np.mean(inside):.0%} inside"
        )


@dataclass
class Truths:
    """Models held to queues whose long-run latencies are known.

    Args:
        errors: relative errors of percentiles, of all models.
        inside: whether each true percentile lay in its interval.
        rates: relative errors of the objective's rate, one a model.
    """

    errors: list[float] = field(default_factory=list)
    inside: list[bool] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def add(self, servers: int, cv: float, exact: NDArray[Any], model: CapacityModel, rate: float) -> None:
        """Holds one model, and the `rate` it gave for the true p99 at `SLO_LOAD`, to the truth at `LOADS`."""
        errors, inside = [], []
        for load, row in zip(LOADS, exact, strict=True):
            latency = model.predict(load * servers / MEAN, extrapolate=True).latency
            for column in ("p50", "p95", "p99"):
                summary, value = latency[column], row[COLUMNS.index(column)]
                errors.append((summary.center or 0.0) / value - 1)
                inside.append((summary.lo or 0.0) <= value <= (summary.hi or np.inf))
        off = rate / (SLO_LOAD * servers / MEAN) - 1
        note(
            f"{servers} servers, CV {cv}: median error {statistics.median(map(abs, errors)):.1%}, worst "
            f"{max(map(abs, errors)):.1%}, {sum(inside)} of {len(inside)} inside, SLO rate {off:+.1%}, "
            f"capacity {model.parameter_set.capacity / (servers / MEAN) - 1:+.1%}"
        )
        self.errors += errors
        self.inside += inside
        self.rates.append(off)

    def report(self) -> None:
        """The bar's three figures."""
        if not self.errors:
            return
        middle = statistics.median(map(abs, self.errors))
        verdict(middle <= 0.10, f"p50, p95, p99 at five rates from 30 to 85 % load: median error {middle:.1%} (10 %)")
        share = np.mean(self.inside)
        verdict(share >= 0.85, f"{share:.0%} of {len(self.inside)} inside the 90 % interval (85 %)")  # type: ignore[arg-type]
        worst = max(map(abs, self.rates))
        note(f"{sum(abs(rate) <= 0.05 for rate in self.rates)} of {len(self.rates)} rates off by 5 % at most")
        verdict(worst <= 0.05, f"the objective's rate: off by {worst:.1%} at most (5 %)")


def true_limit(exact: NDArray[Any]) -> float:
    """p99 at `SLO_LOAD`, milliseconds."""
    return 1e3 * float(exact[LOADS.index(SLO_LOAD)][COLUMNS.index("p99")])


def known(bench: Bench) -> None:
    """Bar 1: errors against the truth, and how often the interval has it."""
    found = Truths()
    for servers in (1, 4):
        rate = statistics.median(LOADS) * servers / MEAN
        overhead = round_trip_overhead(bench, rate)
        note(f"the way there and back at {rate:g}/s, part of every latency: {1e3 * overhead:.2f} ms")
        for cv in (0.3, 1.5):
            exact = truth(servers, cv, overhead, LOADS)
            name = f"known-{servers}-{cv}"
            with queue_server(bench.model_dir, servers, MEAN, cv, seed=servers) as url:
                code, report, err = bench.known(name, url, "--slo", f"p99={true_limit(exact):.4f}ms")
            if code:
                verdict(False, f"{servers} servers, CV {cv}: exit {code}: {err.strip()}")
                continue
            model = read_model(bench.folder / name).model
            found.add(servers, cv, exact, model, report["slo_rate"]["center"])
    found.report()


def sweeps(bench: Bench) -> None:
    """The same with whole sweeps that take no time, of queues that are simulated: what bar 1 is on a silent machine."""
    found = Truths()
    scale = replace(FULL, step=15.0, single_user=45.0, knee_seconds=20.0, hold_out_seconds=20.0)
    for seed in range(SWEEPS):
        for servers, cv in itertools.product((1, 4), (0.3, 1.5)):
            server = KnownServer(servers, MEAN, cv, seed=100 * seed + servers)
            exact = truth(servers, cv, server.overhead, LOADS)
            slo = Slo.parse(f"p99={true_limit(exact):.4f}ms")
            folder = SweepFolder.create(bench.folder / f"sweep-{servers}-{cv}-{seed}", {"slo": str(slo)}, resume=False)
            result = Sweep(folder, KnownDriver(server), scale, slo, seed=seed).run()
            found.add(servers, cv, exact, result.model, result.sustained.rate.center or 0.0)
    found.report()


def embedded(bench: Bench) -> None:
    """Bar 2: errors on the real thing."""
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
    """Bar 3: the rate of two replicas within the objective."""
    with (
        queue_server(bench.model_dir, 2, MEAN, 0.7, seed=1) as one,
        queue_server(bench.model_dir, 2, MEAN, 0.7, seed=2) as other,
    ):
        words = ("--replicas", "2", "--replica-target", other, "--policy", "round-robin", "--slo", "p99=40ms")
        _judge_replicas("two known queues", *bench.known("replicas-known", one, *words))
    if len(os.sched_getaffinity(0)) < 2:
        note("two embedded servers of a core each: this machine has one core; not run")
        return
    with mini_model(bench.folder) as model_dir:
        flags = ("--tensorflow_intra_op_parallelism=1", "--tensorflow_inter_op_parallelism=1")
        words = tuple(f"--server-flag={flag}" for flag in flags)  # type: ignore[assignment]
        found = bench.capacity(
            "replicas-embedded",
            *("--model-dir", str(model_dir), "--replicas", "2", "--cores-per-replica", "1", "--slo", "p99=400ms"),
            *words,
            *bench.times,
        )
        _judge_replicas("two embedded servers of a core each", *found)


def _judge_replicas(name: str, code: int, found: dict[str, Any], err: str) -> None:
    check = found.get("replicas")
    if not check or check["measured"] is None:
        reason = check["note"] if check else f"exit {code}: {err.strip()}"
        verdict(False, f"{name}: {reason}")
        return
    predicted, measured, error = check["predicted"]["center"], check["measured"], check["error"]
    verdict(abs(error) <= 0.10, f"{name}: predicted {predicted:.4g}/s, measured {measured:.4g}/s, {error:+.1%} (10 %)")


def simulation(bench: Bench) -> None:
    """Bar 4: exact formulas, and speed."""
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
    verdict(worst <= 0.02, f"waiting time percentiles off by {worst:.2%} at most (2 %)")
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
    """Bar 5: what cannot be measured is said in one line."""
    quick = ("--quick", "--step-time", "2s", "--knee-time", "2s")
    model = ("--model-dir", str(bench.model_dir))
    with queue_server(bench.model_dir, 1, 0.01, 0.3) as url:
        code, found, err = bench.capacity("unattainable", "--target", url, *model, *quick, "--slo", "p99=3ms")
    good = code == 1 and err.count("\n") == 1 and "cannot be met" in err and len(found.get("points", ())) > 5
    verdict(good, f"objective out of reach: exit {code}, {err.strip()!r}")
    with queue_server(bench.model_dir, 1, 0.01, 0.3, die_after=600) as url:
        code, found, err = bench.capacity("dying", "--target", url, *model, *quick)
    kept = list((bench.folder / "dying" / "runs").glob("*/requests.parquet"))
    good = code == 4 and err.count("\n") == 1 and "--resume" in err and len(kept) >= 2
    verdict(good, f"server that dies: exit {code}, {len(kept)} runs kept, {err.strip()!r}")
    with null_server(bench.model_dir) as server:
        code, found, err = bench.capacity("client", "--target", server["rest"], *model, *quick)
    kept = list((bench.folder / "client" / "runs").glob("*/requests.parquet"))
    good = code == 3 and err.count("\n") == 1 and "load generator was the limit" in err and bool(kept)
    verdict(good, f"client that is the limit: exit {code}, {len(kept)} runs kept, {err.strip()!r}")


BARS: dict[str, Callable[[Bench], None]] = {
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
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BARS))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--keep", type=Path, help="where the sweeps stay")
    args = parser.parse_args()
    unknown = set(args.names) - set(BARS)
    if unknown:
        parser.error(f"no bar {', '.join(sorted(unknown))}; there are {', '.join(BARS)}")
    # The demo's export, if it is not there yet, is no part of any timing.
    demo_model_dir()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args.keep or Path(scratch), SHORT if args.short else TIMES)
        bench.folder.mkdir(parents=True, exist_ok=True)
        for name in args.names or BARS:
            print(f"{name} (load average {os.getloadavg()[0]:.1f})", flush=True)
            BARS[name](bench)
    print(f"{len(failed)} missed" if failed else "all bars hold")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
