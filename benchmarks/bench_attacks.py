"""The embedded server under attack: `python -m benchmarks.bench_attacks [--strict] [NAME...]`.

For each attack on HTTP/2 (`benchmarks/fuzz/http2_attacks.py`), and for a crowd of connections that are idle, slow or do
not read: the server's memory, the p99 of another client's calls against its p99 without, and how long the server takes
to stop on SIGTERM while the attacker's connections are open. Each has a server of its own.

The crowd's ratio is measured in pairs of short phases: a client of the server with the crowd, and one of a second
server without it, while the crowd is silent. Within a pair the order is drawn, so that a machine whose speed changes
affects both; the ratio is that of the p99s of all calls, and its interval comes from drawing the pairs again.

Timing does not decide the exit code, unless `--strict` is given.
"""

import argparse
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import psutil

from bench.bert.demo.demo_model import demo_model_dir
from bench.core.types import Floats
from bench.server.lifecycle import RunningServer, embedded
from benchmarks.fuzz.http2_attacks import ATTACKS
from benchmarks.load_worker import Worker
from benchmarks.verdicts import goal, missed, note

SECONDS = 4.0
CALLS, ROUNDS = 100, 8
MEMORY, P99, STOP = 200 << 20, 3.0, 10.0
CROWD_P99 = 2.0
PAIRS, PHASE_SECONDS, PHASE_CALLS = 20, 1.5, 10
CALM, LOOK_SECONDS, CALM_SECONDS = 0.2, 0.5, 30.0
"""A server is calm if it uses less than so many cores over so many seconds; the last is the longest wait for that."""
DRAWS, CONFIDENCE = 2000, 0.95
CROWD = "crowd"
FLAGS = ("--enable_grpc_healthcheck_service",)


class Memory:
    """The largest resident memory of a process while this runs, sampled.

    Args:
        pid: the process.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.before = self.most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss)

    def stop(self) -> int:
        """Ends the sampling; the bytes more than at the start."""
        self._over.set()
        self._thread.join()
        return self.most - self.before


def p99(times: "Sequence[float] | Floats") -> float:
    """The 99th percentile, milliseconds."""
    return float(np.quantile(times, 0.99)) * 1e3


def attacker(name: str, server: RunningServer) -> "subprocess.Popen[str]":
    """The process that attacks."""
    module = "benchmarks.fuzz.crowd" if name == CROWD else "benchmarks.fuzz.http2_attacks"
    places = [server.grpc or "", server.rest_address] if name == CROWD else [name, server.grpc or "", str(SECONDS)]
    command = [sys.executable, "-m", module, *places]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measure(name: str, model_dir: Path) -> None:
    """One attack against the calls of one client over gRPC."""
    with embedded(model_dir, flags=FLAGS) as server:
        assert server.pid is not None
        worker = Worker("grpc", model_dir, server.grpc or "")
        quiet = [each for _ in range(ROUNDS) for each in worker.calls(CALLS)]
        memory = Memory(server.pid)
        process = attacker(name, server)
        assert process.stdout is not None
        loud: list[float] = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            loud += worker.calls(CALLS)
        said = process.stdout.readline().strip()
        more = memory.stop()
        quiet += [each for _ in range(ROUNDS) for each in worker.calls(CALLS)]
        worker.close()
        began = time.perf_counter()
    stopped = time.perf_counter() - began
    process.communicate()
    ratio = p99(loud) / p99(quiet)
    goal(
        more <= MEMORY and ratio <= P99 and stopped <= STOP,
        f"{name} ({said}): {more / 2**20:.0f} MiB more (at most {MEMORY >> 20}), p99 {p99(loud):.1f} ms, {ratio:.1f} "
        f"times the {p99(quiet):.1f} ms without (at most {P99:.0f}), stopped in {stopped:.1f} s (at most {STOP:.0f})",
    )


def say(process: "subprocess.Popen[str]", word: str) -> None:
    """Tells a crowd to be on or off, and waits until it is."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    assert process.stdout.readline().strip() == word


def phase(worker: Worker) -> list[float]:
    """The seconds of each call of a short phase; the first calls wake the server up and do not count."""
    worker.calls(PHASE_CALLS)
    found: list[float] = []
    until = time.monotonic() + PHASE_SECONDS
    while time.monotonic() < until:
        found += worker.calls(PHASE_CALLS)
    return found


def wait_until_calm(server: psutil.Process) -> None:
    """Waits until a server has answered what it was asked: requests that are not read cost as much as others."""
    until = time.monotonic() + CALM_SECONDS
    while time.monotonic() < until:
        before = server.cpu_times()
        time.sleep(LOOK_SECONDS)
        after = server.cpu_times()
        if after.user + after.system - before.user - before.system < CALM * LOOK_SECONDS:
            return
    note(f"the server was busy for {CALM_SECONDS:.0f} s after the crowd's requests")


def in_pairs(
    process: "subprocess.Popen[str]", server: psutil.Process, crowded: Worker, alone: Worker
) -> list[tuple[list[float], list[float]]]:
    """Pairs of phases: with the crowd, and without."""
    order = np.random.default_rng(0).permuted(np.arange(PAIRS) % 2)
    pairs = []
    for first in order:
        found: dict[str, list[float]] = {}
        for word in ("on", "off")[:: 1 if first else -1]:
            say(process, word)
            wait_until_calm(server)
            found[word] = phase(crowded if word == "on" else alone)
        pairs.append((found["on"], found["off"]))
    return pairs


def pooled_ratio(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float, float]:
    """The p99 of all calls of the first phases over that of the second ones, with its interval over the pairs."""

    def ratio(chosen: Iterable[int]) -> float:
        loud, quiet = zip(*(pairs[index] for index in chosen), strict=True)
        return p99(np.concatenate(loud)) / p99(np.concatenate(quiet))

    rng = np.random.default_rng(0)
    drawn = [ratio(rng.integers(0, len(pairs), len(pairs))) for _ in range(DRAWS)]
    lo, hi = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return ratio(range(len(pairs))), float(lo), float(hi)


def measure_crowd(kind: str, model_dir: Path) -> None:
    """The crowd against the calls of one client of a protocol."""
    address = {"grpc": "grpc", "rest": "rest_address"}[kind]
    with embedded(model_dir, flags=FLAGS) as other, contextlib.ExitStack() as stack:
        server = stack.enter_context(embedded(model_dir, flags=FLAGS))
        assert server.pid is not None
        workers = [Worker(kind, model_dir, getattr(each, address)) for each in (server, other)]
        memory = Memory(server.pid)
        process = attacker(CROWD, server)
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        pairs = in_pairs(process, psutil.Process(server.pid), *workers)
        more = memory.stop()
        for worker in workers:
            worker.close()
        began = time.perf_counter()
        stack.close()
        stopped = time.perf_counter() - began
    process.communicate()
    ratio, lo, hi = pooled_ratio(pairs)
    loud, quiet = (p99(np.concatenate(part)) for part in zip(*pairs, strict=True))
    goal(
        more <= MEMORY and ratio <= CROWD_P99 and stopped <= STOP,
        f"{CROWD} ({said}): {more / 2**20:.0f} MiB more (at most {MEMORY >> 20}), p99 over {kind} {loud:.1f} ms with "
        f"and {quiet:.1f} ms without, {ratio:.2f} [{lo:.2f} … {hi:.2f}] times in {PAIRS} pairs (at most "
        f"{CROWD_P99:.0f}), stopped in {stopped:.1f} s (at most {STOP:.0f})",
    )


def main() -> int:
    """Runs the attacks that are named, or all."""
    parser = argparse.ArgumentParser(description="The embedded server under attack.")
    parser.add_argument("--strict", action="store_true", help="fail if a goal is missed")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{CROWD}, {', '.join(ATTACKS)}")
    args = parser.parse_args()
    unknown = set(args.names) - {CROWD, *ATTACKS}
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    model_dir = demo_model_dir()
    for name in args.names or [*ATTACKS, CROWD]:
        if name == CROWD:
            for kind in ("grpc", "rest"):
                measure_crowd(kind, model_dir)
        else:
            measure(name, model_dir)
    return int(args.strict and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
