"""The load generator's bars: `python -m benchmarks.bench_load [NAME...]`, PASS or MISS and the figure of each.

Names: freeze, poisson, ceiling, checking, start, live, overload. All by default, some forty minutes. Wants a machine
with nothing else to do; the load average is printed with the results.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import requests
from scipy import stats

from bench.analysis.run import Analysis, analyse
from bench.bert.contract.golden_checker import GoldenChecker
from bench.load.engine.checker import Checker
from bench.load.engine.jobs import ScheduledJobs, partition_schedule
from bench.load.engine.payloads import build_payloads, request_sentences
from bench.load.selftest.null_server import Answers, null_server
from bench.load.selftest.self_test import SelfTest, client_name, store_self_tests
from bench.results.run_reader import Run
from bench.workload.arrivals import Poisson
from bench.workload.workload import Workload
from tests.support.locust_process import ROOT, command, environment, free_port, locust
from tests.support.otlp_collector import otlp_collector
from tests.support.programmed_servers import rest_server
from tests.support.queue_server import queue_server
from tests.support.toy_golden import toy_golden, write_model_dir

FREEZE_AFTER, FREEZE, SERVICE = 10.0, 5.0, 0.005
CAPACITY, OVERLOAD_RUNS, LIVE_PAIRS = 150.0, 20, 8
SCENARIO = {"rest": "rest.py", "grpc": "grpc_api.py"}
failed: list[str] = []


def verdict(good: bool, text: str) -> None:
    if not good:
        failed.append(text)
    print(f"  {'PASS' if good else 'MISS'}  {text}", flush=True)


class Bench:
    """A model folder, and a place for runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.golden = toy_golden(200)
        self.model_dir = write_model_dir(folder / "model", self.golden)
        self.count = 0
        # Figures of this machine's own calibration stay as they are.
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")

    def run(self, scenario: str, host: str, *words: str) -> tuple[Run, str]:
        """One run, and what Locust wrote."""
        self.count += 1
        results = self.folder / f"run{self.count}"
        ended = locust(scenario, results, "--model-dir", str(self.model_dir), "--host", host, *words, timeout=300)
        assert ended.run is not None, ended.err
        ended.accounted()
        return ended.run, ended.out + ended.err

    def analysed(self, scenario: str, host: str, *words: str) -> Analysis:
        return analyse(self.run(scenario, host, *words)[0])


@contextmanager
def freezing_server(model_dir: Path) -> Iterator[str]:
    words = [str(value) for value in (model_dir, FREEZE_AFTER, FREEZE, SERVICE)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.freezing_server", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()


def freeze(bench: Bench) -> None:
    """Bar 1: latency from due, held against a simulation of the schedule and the service times."""
    print(f"Freeze: {FREEZE:g} s without an answer in 30 s of constant arrivals at 40/s")
    with freezing_server(bench.model_dir) as host:
        words = ["-u", "400", "-t", "30s", "--warmup", "0", "--arrivals", "constant:rate=40", "--drain", "20s"]
        run, _ = bench.run("rest.py", host, *words)
    columns = run.columns(["due", "sent", "done"])
    order = np.argsort(columns["due"])
    due, sent, done = (columns[name][order] for name in ("due", "sent", "done"))
    begins = sent[0] + FREEZE_AFTER
    free, implied = 0.0, []
    for moment in due:
        start = max(moment, free)
        if begins <= start < begins + FREEZE:
            start = begins + FREEZE
        free = start + SERVICE
        implied.append(free - moment)
    for share in (0.9, 0.95, 0.99):
        measured, truth = (float(np.quantile(values, share, method="inverted_cdf")) for values in (done - due, implied))
        text = f"p{100 * share:g} from due {measured * 1e3:,.0f} ms, implied {truth * 1e3:,.0f} ms"
        verdict(abs(measured / truth - 1) <= 0.05, f"{text} ({measured / truth - 1:+.1%}; within 5 %)")


def poisson(bench: Bench) -> None:
    """Bar 2: arrivals as drawn, sent on time, all of them, for any number of workers."""
    print("Poisson arrivals at 50/s for 60 s")
    for protocol in ("rest", "grpc"):
        with null_server(bench.model_dir) as addresses:
            words = ["-u", "64", "-t", "60s", "--warmup", "0", "--arrivals", "poisson:rate=50"]
            run, _ = bench.run(SCENARIO[protocol], addresses[protocol], *words)
        columns = run.columns(["due", "sent"])
        sent = np.sort(columns["sent"])
        p = stats.kstest(np.diff(sent), "expon", args=(0, 1 / 50)).pvalue
        verdict(
            p > 0.01, f"{protocol}: gaps between sends are exponential (Kolmogorov-Smirnov p = {p:.2f}; above 0.01)"
        )
        delay = np.quantile(columns["sent"] - columns["due"], (0.5, 0.99))
        text = f"{protocol}: start delay p99 {delay[1] * 1e3:.2f} ms, p50 {delay[0] * 1e3:.3f} ms (p99 under 2 ms)"
        verdict(delay[1] < 0.002, text)
        achieved = (sent < 60).sum() / columns["due"].size
        verdict(achieved >= 0.99, f"{protocol}: achieved/requested {achieved:.4f} (0.99 or more)")
    workload = Workload(protocol="rest", transport="fast", signature="score", users=8, duration=60.0, seed=0)
    drawn = []
    for workers in (1, 2, 4):
        _, shards = partition_schedule(Poisson(50.0), workload, 200, workers)
        drawn.append(sorted(job.due for shard in shards for job in ScheduledJobs(shard).left(60.0)))
    same = drawn[0] == drawn[1] == drawn[2]
    verdict(same, f"the same {len(drawn[0])} due times with 1, 2 and 4 workers")


def ceiling(bench: Bench) -> None:
    """Bar 3: the null server, everything on."""
    print("Ceiling and floor on the null server, one process, recording and checking everything")
    for protocol, least, most in (("rest", 4000, 0.0006), ("grpc", 2000, 0.001)):
        with null_server(bench.model_dir) as addresses:
            host, scenario = addresses[protocol], SCENARIO[protocol]
            rates, floors = [], []
            for _ in range(3):
                analysis = bench.analysed(scenario, host, "-u", "16", "-t", "7s", "--warmup", "1s")
                rates.append(analysis.summary.metrics["throughput"].center or 0.0)
                analysis = bench.analysed(scenario, host, "-u", "1", "-t", "4s", "--warmup", "1s")
                floors.append(analysis.summary.metrics["from_send_p50"].center or 1.0)
            rate, floor = statistics.median(rates), statistics.median(floors)
            verdict(rate >= least, f"{protocol}: {rate:,.0f} requests/s, median of three (at least {least:,})")
            verdict(floor <= most, f"{protocol}: floor p50 {floor * 1e3:.3f} ms (at most {most * 1e3:g} ms)")
            store_self_tests({client_name(protocol, "fast"): SelfTest(rate, floor, 16, "now")})
            words = ["-u", "64", "-t", "8s", "--warmup", "1s", "--drain", "0"]
            words += ["--arrivals", f"constant:rate={2 * rate:.0f}"]
            analysis = bench.analysed(scenario, host, *words)
        reasons = "; ".join(analysis.validity.reasons)
        good = not analysis.validity.valid and "the client was the limit" in reasons
        verdict(good, f"{protocol}: asked for twice that: {reasons[:200] or 'VALID'}")


def checking(bench: Bench) -> None:
    """What judging an answer costs, against what a request costs."""
    print("Checking every answer (at most 1 % of throughput)")
    answers = Answers(bench.model_dir, "score", 1)
    workload = Workload(protocol="both", transport="fast", signature="score", users=1, duration=1.0)
    payloads = build_payloads(bench.golden, workload, ("rest", "grpc"))
    key = GoldenChecker(bench.golden, request_sentences(bench.golden, 1), "score")
    for protocol in ("rest", "grpc"):
        known = answers.rest if protocol == "rest" else answers.grpc
        bodies = [known[payload.rest if protocol == "rest" else payload.grpc] for payload in payloads]

        def judge(fresh: bool, bodies: list[bytes] = bodies, protocol: str = protocol) -> float:
            checker = Checker(key)
            if not fresh:
                judge_all(checker, protocol, bodies)
            # As they come from a connection: bytes whose hash was never taken.
            fresh_bodies = [bytes(bytearray(body)) for body in bodies]
            started = time.perf_counter()
            judge_all(checker, protocol, fresh_bodies)
            return (time.perf_counter() - started) / len(bodies)

        first, again = (min(judge(fresh) for _ in range(20)) for fresh in (True, False))
        with null_server(bench.model_dir) as addresses:
            pairs = []
            for turn in range(4):
                rate = {}
                for share in ("100%", "0%")[:: 1 if turn % 2 else -1]:
                    words = ["-u", "16", "-t", "5s", "--warmup", "1s", "--check-share", share]
                    analysis = bench.analysed(SCENARIO[protocol], addresses[protocol], *words)
                    rate[share] = analysis.summary.metrics["throughput"].center or 0.0
                pairs.append(rate["100%"] / rate["0%"])
        cost = again * rate["100%"]
        text = f"{protocol}: {again * 1e6:.2f} µs for known bytes, {first * 1e6:.1f} µs for new ones"
        text += f": {cost:.2%} of a core at the ceiling"
        verdict(
            cost <= 0.01, f"{text}; throughput with/without, pairs in turn: " + ", ".join(f"{p:.3f}" for p in pairs)
        )


def judge_all(checker: Checker, protocol: str, bodies: list[bytes]) -> None:
    for request, body in enumerate(bodies):
        kind, _ = checker.check(protocol, request, body)
        assert kind is None


def live(bench: Bench) -> None:
    """What the figures of a run in progress cost, everything on: CPU time of a request, with and without, in turn."""
    print("Figures while it runs: kept, scraped each second and sent to a collector (at most 2 % of a request)")
    ratios = []
    with null_server(bench.model_dir) as addresses, otlp_collector() as (collector, collected):
        for turn in range(LIVE_PAIRS):
            costs = {}
            for name in ("on", "off")[:: 1 if turn % 2 else -1]:
                words = ["-u", "16", "-t", "11s", "--warmup", "1s"]
                if name == "on":
                    words += ["--metrics-port", str(port := free_port()), "--otlp-endpoint", collector]
                    with scraping(port) as scrapes:
                        analysis = bench.analysed("rest.py", addresses["rest"], *words)
                    assert scrapes
                else:
                    analysis = bench.analysed("../benchmarks/without_live.py", addresses["rest"], *words)
                metrics = analysis.summary.metrics
                costs[name] = (metrics["client_cpu"].center or 0.0) / (metrics["throughput"].center or 1.0)
            ratios.append(costs["on"] / costs["off"])
            print(f"    {costs['on'] * 1e6:.1f} µs with, {costs['off'] * 1e6:.1f} µs without", flush=True)
    assert collected.messages
    ratio = statistics.median(ratios)
    shown = ", ".join(f"{value:.3f}" for value in ratios)
    verdict(ratio <= 1.02, f"CPU time of a request, with/without: {ratio:.4f}, median of {shown}")


@contextmanager
def scraping(port: int) -> Iterator[list[int]]:
    """Asks for the metrics page each second; the sizes of its answers."""
    sizes: list[int] = []
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(1.0):
            with contextlib.suppress(requests.RequestException):
                sizes.append(len(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).content))

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


def overload(bench: Bench) -> None:
    """Runs against a queue of known capacity: stopped above it, and left alone below."""
    print(f"Overload: a server that carries {CAPACITY:g} requests/s, cv 1, after 1 s of warm-up")
    found: dict[float, list[float | None]] = {1.1: [], 0.85: []}
    for utilization, seconds, attempts in ((1.1, 40, OVERLOAD_RUNS), (0.85, 40, OVERLOAD_RUNS)):
        for attempt in range(attempts):
            with queue_server(bench.model_dir, servers=2, mean=2 / CAPACITY, cv=1.0, seed=attempt) as host:
                words = ["-u", "400", "-t", f"{seconds}s", "--warmup", "1s", "--seed", str(attempt)]
                run, _ = bench.run("rest.py", host, *words, "--arrivals", f"poisson:rate={utilization * CAPACITY:g}")
            stopped = run.file.overload
            found[utilization].append(None if stopped is None else stopped.time - 1)
    stops = sorted(40.0 if time is None else time for time in found[1.1])
    median = statistics.median(stops)
    text = f"at 110 %: stopped after {median:g} s, median of {', '.join(f'{time:g}' for time in stops)} (15 s at most)"
    verdict(median <= 15, text)
    wrong = sum(time is not None for time in found[0.85])
    verdict(wrong == 0, f"at 85 %: {wrong} of {len(found[0.85])} runs stopped (none)")


def start(bench: Bench) -> None:
    """Bar 4: from the launch of a process to its first request, and its memory."""
    print("Start and size of a load-generating process")
    answers = Answers(bench.model_dir, "score", 1)
    state, _ = answers.state()
    first: list[float] = []
    arrived = threading.Event()

    def answer(method: str, path: str, body: bytes, handler: object) -> tuple[int, bytes]:
        if method == "POST":
            first.append(time.perf_counter())
            arrived.set()
            return 200, answers.rest[body]
        return (200, state) if path == "/v1/models/bert" else (404, b"")

    with rest_server(answer) as host:
        given = ["--model-dir", str(bench.model_dir), "--host", host, "-u", "4", "-t", "3s"]
        for name, mode in (("alone", []), ("as a worker of a waiting master", ["--worker"])):
            seconds = []
            for attempt in range(3):
                arrived.clear()
                first.clear()
                results = ["--results", str(bench.folder / f"{name}{attempt}")]
                port = ["--master-port", str(20000 + os.getpid() % 10000 + attempt)]
                master = (
                    _start(["--master", "--expect-workers", "1", "--master-bind-port", port[1], *results, *given])
                    if mode
                    else None
                )
                time.sleep(4.0 if mode else 0.0)
                launched = time.perf_counter()
                process = _start([*mode, *port] if mode else [*results, *given])
                assert arrived.wait(30)
                seconds.append(first[0] - launched)
                for left in filter(None, (master, process)):
                    left.wait(60)
            worst = max(seconds)
            shown = ", ".join(f"{value:.2f}" for value in seconds)
            verdict(worst <= 2.0, f"{name}: first request after {shown} s (at most 2)")
    with null_server(bench.model_dir) as addresses:
        for protocol in ("rest", "grpc"):
            words = ["-u", "16", "-t", "6s", "--processes", "1"]
            run, _ = bench.run(SCENARIO[protocol], addresses[protocol], *words)
            size = float(np.nanmax(run.client_samples()["rss"]))
            verdict(size <= 150e6, f"{protocol}: a worker holds {size / 1e6:.0f} MB at most (150)")


def _start(words: list[str]) -> "subprocess.Popen[bytes]":
    mode = ["--headless", "--only-summary"]
    return subprocess.Popen(
        command("rest.py", *mode, *words),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        cwd=ROOT,
    )


BENCHES: dict[str, Callable[[Bench], None]] = {
    "freeze": freeze,
    "poisson": poisson,
    "ceiling": ceiling,
    "checking": checking,
    "start": start,
    "live": live,
    "overload": overload,
}


def main() -> int:
    names = sys.argv[1:] or list(BENCHES)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in names:
            BENCHES[name](bench)
            print(f"  (load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)", flush=True)
    print(f"{len(failed)} missed" if failed else "all passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
