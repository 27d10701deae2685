"""Half an hour of load, and a day of records: `python -m benchmarks.bench_soak [--strict] [--minutes N] [PART...]`.

- soak: the soak scenario over REST and, beside it, the same load over gRPC, against one embedded server with the demo
  model. Every ten seconds the memory, threads and descriptors of the server and of both load generators are sampled,
  the size of all files, and the load generator's Prometheus page. The last third of the run is compared with the first:
  resident memory within `footprint.GROWTH`, as many threads and descriptors, p50 and p99 without a drift that is both
  significant and larger than the limit of the validity check, files by their bytes a request, the server's log without
  a line for a request.
- day: `benchmarks.simulated_day`, in a process of its own.

Latency does not decide the exit code, unless `--strict` is given: other work on the machine changes it.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import requests

from bench.analysis.measured import Measured, load
from bench.analysis.validity import SHIFT, SHIFT_P
from bench.bert.demo.demo_model import demo_model_dir
from bench.core.types import Floats
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.results.run_reader import Run, find_runs
from bench.server.lifecycle import RunningServer, embedded
from bench.stats.percentile_intervals import percentile_intervals
from bench.stats.percentiles import nearest_rank
from bench.stats.stationarity import level_shift
from benchmarks.footprint import Observed, Thirds, size_of, sleep_until, within_growth
from benchmarks.verdicts import goal, milliseconds, missed, note
from tests.support.locust_process import command, environment, free_port

EVERY_SECONDS: Final = 10.0
WARM_SECONDS: Final = 60.0
"""Left out of the first third, or a tenth of a shorter run: connections, answers and code come into memory."""
FRACTIONS: Final = {"p50": 0.5, "p99": 0.99}
BYTES_A_REQUEST, BYTES_A_SECOND = 110, 700
"""Of a run folder: a record has 79 bytes, a second's block 90 more, a line of each sample file 150 to 350."""
SAME_AS_SOAK: Final = ["--users", "64", "--check-share", "10%"]
"""What the scenario for gRPC needs to be the soak scenario."""
MOST_NAMED: Final = 20
"""Failed requests whose times are printed."""
LOG_BYTES: Final = 0
"""Growth of the server's log after the first third."""


@dataclass(frozen=True)
class Client:
    """A load generator.

    Args:
        process: its Locust process.
        observed: its samples.
        results: the folder of its run folder.
        page: its Prometheus page.
    """

    process: "subprocess.Popen[str]"
    observed: Observed
    results: Path
    page: str


@dataclass(frozen=True, slots=True)
class FileSizes:
    """Bytes of all files at one time.

    Args:
        time: seconds since the load began.
        runs: of each load generator's run folder.
        log: of the server's log.
    """

    time: float
    runs: tuple[int, ...]
    log: int


@contextlib.contextmanager
def clients(server: RunningServer, folder: Path, minutes: float, rate: float) -> Iterator[list[Client]]:
    """Both load generators, from their start."""
    assert server.grpc is not None
    cases = {"rest": ("soak.py", str(server.rest), []), "grpc": ("grpc_api.py", f"grpc://{server.grpc}", SAME_AS_SOAK)}
    with contextlib.ExitStack() as stack:
        made = []
        for name, (scenario, host, more) in cases.items():
            results, port = folder / name, free_port()
            words = ["--headless", "--only-summary", "--host", host, "--results", str(results), *more]
            words += ["-t", f"{round(60 * minutes)}s", "--arrivals", f"poisson:rate={rate:g}"]
            words += ["--metrics-port", str(port)]
            out = stack.enter_context((folder / f"{name}.log").open("w+"))
            process = subprocess.Popen(
                command(scenario, *words), stdout=out, stderr=subprocess.STDOUT, text=True, env=environment()
            )
            stack.callback(end, process)
            made.append(Client(process, Observed(f"load generator, {name}", process.pid), results, metrics_page(port)))
        yield made


def metrics_page(port: int) -> str:
    return f"http://127.0.0.1:{port}/metrics"


def end(process: "subprocess.Popen[str]") -> None:
    """Ends a process that still runs."""
    if process.poll() is None:
        process.terminate()
    process.wait(60)


def watch(server: Observed, made: Sequence[Client], log: Path, seconds: float) -> list[FileSizes]:
    """Samples all processes and files until the load ends."""
    while not all(any(client.results.glob("*/run.json")) for client in made):
        for client in made:
            if client.process.poll() is not None:
                raise RuntimeError(f"a load generator ended at once, with {client.process.returncode}")
        time.sleep(0.1)
    began, sizes = time.monotonic(), []
    for number in range(1, int(seconds // EVERY_SECONDS)):
        sleep_until(began + number * EVERY_SECONDS)
        moment = time.monotonic() - began
        for each in (server, *(client.observed for client in made)):
            each.look(moment)
        for client in made:
            requests.get(client.page, timeout=10).raise_for_status()
        sizes.append(FileSizes(moment, tuple(size_of(client.results) for client in made), log.stat().st_size))
    return sizes


def judge_process(observed: Observed, begins: float, ends: float) -> None:
    """Memory, threads and descriptors of a process."""
    thirds = Thirds.of(observed.samples, begins, ends)
    first, last = thirds.medians("rss")
    most = max(one.rss for one in observed.samples)
    goal(
        within_growth(first, last),
        f"{observed.name}: RSS {first / 2**20:.1f} MiB in the first third, {last / 2**20:.1f} in the last "
        f"({last / first - 1:+.1%}; at most 5 % or 10 MiB), largest {most / 2**20:.1f}",
    )
    # Without a goal: it also changes when other processes that share its pages come and go.
    before, after = thirds.medians("pss")
    note(f"{observed.name}: PSS {before / 2**20:.1f} MiB, then {after / 2**20:.1f}")
    for field in ("threads", "descriptors"):
        first, last = thirds.medians(field)
        before, after = thirds.most(field)
        goal(
            first == last and after <= before,
            f"{observed.name}: {first:g} {field}, then {last:g}; at most {before}, then {after} (as many)",
        )


def judge_files(client: Client, place: int, sizes: Sequence[FileSizes], run: Run, ends: float) -> None:
    """The bytes that a run folder grew by from the first third on, and those of the finished one."""
    early = next(one for one in sizes if one.time >= ends / 3)
    late = sizes[-1]
    done = run.columns(["done"])["done"]
    count = int(((done > early.time) & (done <= late.time)).sum())
    grown, seconds = late.runs[place] - early.runs[place], late.time - early.time
    most = BYTES_A_REQUEST * count + BYTES_A_SECOND * seconds
    goal(
        grown <= most,
        f"{client.observed.name}: its run folder grows by {grown / count:.0f} bytes a request, {grown / seconds:.0f} a "
        f"second (at most {BYTES_A_REQUEST} a request and {BYTES_A_SECOND} a second, {most / count:.0f} a request)",
    )
    finished = size_of(run.path)
    goal(
        finished <= late.runs[place],
        f"{client.observed.name}: the finished folder has {finished / done.size:.0f} bytes a request, no more than the "
        f"{late.runs[place] / done.size:.0f} before",
    )


def name_failures(client: Client, run: Run) -> None:
    """When requests were due, sent and failed: whether they failed together shows what failed them.

    The server refuses gRPC calls above its `--grpc_max_threads`: a stall of the machine brings so many together.
    """
    columns = run.columns(["due", "sent", "done", "outcome"])
    names = {code: str(outcome) for outcome, code in OUTCOME_CODES.items()}
    failed = np.flatnonzero(columns["outcome"] != OUTCOME_CODES[Outcome.OK])
    for index in failed[:MOST_NAMED]:
        times = ", ".join(f"{name} {columns[name][index]:.3f} s" for name in ("due", "sent", "done"))
        others = in_flight(columns["sent"], columns["done"], float(columns["sent"][index]))
        note(f"{client.observed.name}: {names[int(columns['outcome'][index])]}: {times}, {others} in flight")


def in_flight(sent: Floats, done: Floats, moment: float) -> int:
    """Requests that were sent by a moment and not answered then."""
    return int(((sent <= moment) & (done > moment)).sum())


def thirds_of(measured: Measured) -> tuple[Floats, list[Floats]]:
    """Latencies from due of the successful requests, in the order of due times: all, and those of each third."""
    ok = measured.ok
    latency, due = (measured.done - measured.due)[ok], measured.due[ok]
    edges = np.searchsorted(due, np.linspace(measured.begins, measured.ends, 4)[1:3])
    return latency, np.split(latency, edges)


def judge_latency(client: Client, run: Run) -> None:
    """p50 and p99 of the last third against those of the first.

    The test is that of `bench.stats.stationarity`, on which requests are slower than the run's percentile: it accounts
    for the correlation of latencies.
    """
    measured = load(run)
    latency, (first, _, last) = thirds_of(measured)
    before, after = (percentile_intervals(list(FRACTIONS), part, list(FRACTIONS.values())) for part in (first, last))
    cpu, times = (run.client_samples()[name] for name in ("machine_cpu", "time"))
    for index, (name, fraction) in enumerate(FRACTIONS.items()):
        (limit,) = nearest_rank(latency, [fraction])
        shift = level_shift((latency > limit).astype(np.float64), 1 / 3, 1 / 3)
        centers = [found[index].center for found in (before, after)]
        if shift is None or None in centers:
            note(f"{client.observed.name}: too few requests for {name}")
            continue
        ratio = float(centers[1] or 0.0) / float(centers[0] or 1.0)
        drifts = shift.p < SHIFT_P and abs(np.log(ratio)) > SHIFT
        shown = " and ".join(
            f"{milliseconds(found[index].center or 0)} [{milliseconds(found[index].lo or 0)} … "
            f"{milliseconds(found[index].hi or np.inf)}]"
            for found in (before, after)
        )
        goal(
            not drifts,
            f"{client.observed.name}: {name} {shown} in the first and last third, {ratio - 1:+.1%}, p = {shift.p:.2g} "
            f"(a drift: above {np.expm1(SHIFT):.1%} and p below {SHIFT_P:g})",
        )
    busy = [float(cpu[part].mean()) for part in (times < measured.ends / 3, times > 2 * measured.ends / 3)]
    note(f"{client.observed.name}: cores in use by all on the machine: {busy[0]:.2f}, then {busy[1]:.2f}")


def soak(minutes: float, rate: float) -> list[str]:
    """The run; which of its missed goals are of latency."""
    print(f"Soak: {minutes:g} min at {rate:g} requests/s over REST and as many over gRPC", flush=True)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        log = folder / "server.log"
        server = stack.enter_context(embedded(demo_model_dir(), log=log))
        assert server.pid is not None
        observed = Observed("server", server.pid)
        made = stack.enter_context(clients(server, folder, minutes, rate))
        seconds = 60 * minutes
        sizes = watch(observed, made, log, seconds)
        codes = [client.process.wait(120) for client in made]
        runs = [find_runs([client.results])[0] for client in made]
        for client, run, code in zip(made, runs, codes, strict=True):
            counts = {outcome: count for outcome, count in run.file.counts.items() if count}
            goal(code == 0 and list(counts) == ["ok"], f"{client.observed.name}: {counts}, exit code {code}")
            name_failures(client, run)
        warm = min(WARM_SECONDS, seconds / 10)
        for each in (observed, *(client.observed for client in made)):
            judge_process(each, warm, seconds)
        for place, (client, run) in enumerate(zip(made, runs, strict=True)):
            judge_files(client, place, sizes, run, seconds)
        early = next(one for one in sizes if one.time >= seconds / 3)
        grown = sizes[-1].log - early.log
        goal(
            grown <= LOG_BYTES, f"server: its log has {sizes[-1].log} bytes, {grown} more after the first third (none)"
        )
        before = len(missed)
        for client, run in zip(made, runs, strict=True):
            judge_latency(client, run)
        return missed[before:]


def day() -> None:
    """A day's records, in a process that Locust has not changed and whose memory is its own."""
    code = subprocess.run([sys.executable, "-m", "benchmarks.simulated_day"], check=False).returncode
    if code:
        missed.append("a simulated day")


def main() -> int:
    """Runs the parts; 1 if something grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="fail if latency drifts")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak (default: 30)")
    parser.add_argument("--rate", type=float, default=10.0, help="requests/s over each protocol (default: 10)")
    parser.add_argument("parts", nargs="*", metavar="PART", help="soak, day")
    args = parser.parse_args()
    if unknown := set(args.parts) - {"soak", "day"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if args.minutes < 2:
        parser.error("--minutes: a third of the run needs a few samples; give 2 or more")
    drifts: list[str] = []
    if "soak" in (args.parts or ["soak"]):
        drifts = soak(args.minutes, args.rate)
    if "day" in (args.parts or ["day"]):
        day()
    return int(bool(set(missed) - set(drifts)) or (args.strict and bool(drifts)))


if __name__ == "__main__":
    sys.exit(main())
