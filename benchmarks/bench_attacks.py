"""The embedded server under attack: `python -m benchmarks.bench_attacks [--strict] [NAME...]`.

For each attack on HTTP/2 (`benchmarks/fuzz/http2_attacks.py`), and for a crowd of connections that are idle, slow or do
not read: the server's memory, the p99 of another client's calls against its p99 without, and how long the server takes
to stop on SIGTERM while the attacker's connections are open. Each has a server of its own.

Timing does not decide the exit code, unless `--strict` is given.
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil

from bench.bert.demo.demo_model import demo_model_dir
from bench.server.lifecycle import RunningServer, embedded
from benchmarks.fuzz.http2_attacks import ATTACKS
from benchmarks.load_worker import Worker
from benchmarks.verdicts import goal, missed

SECONDS = 4.0
CALLS, ROUNDS = 100, 8
MEMORY, P99, STOP = 200 << 20, 3.0, 10.0
CROWD_P99 = 2.0
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


def p99(times: list[float]) -> float:
    """The 99th percentile, milliseconds."""
    return float(np.quantile(times, 0.99)) * 1e3


def attacker(name: str, server: RunningServer) -> "subprocess.Popen[str]":
    """The process that attacks."""
    module = "benchmarks.fuzz.crowd" if name == CROWD else "benchmarks.fuzz.http2_attacks"
    places = [server.grpc or "", server.rest_address] if name == CROWD else [name, server.grpc or "", str(SECONDS)]
    command = [sys.executable, "-m", module, *places]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def measure(name: str, kind: str, model_dir: Path) -> None:
    """One attack against the calls of one client of a protocol."""
    address = {"grpc": "grpc", "rest": "rest_address"}[kind]
    with embedded(model_dir, flags=FLAGS) as server:
        assert server.pid is not None
        worker = Worker(kind, model_dir, getattr(server, address))
        quiet = [each for _ in range(ROUNDS) for each in worker.calls(CALLS)]
        memory = Memory(server.pid)
        process = attacker(name, server)
        assert process.stdout is not None
        if name == CROWD:
            said = process.stdout.readline().strip()
        loud: list[float] = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            loud += worker.calls(CALLS)
        if name != CROWD:
            said = process.stdout.readline().strip()
        more = memory.stop()
        quiet += [each for _ in range(ROUNDS) for each in worker.calls(CALLS)] if name != CROWD else []
        worker.close()
        began = time.perf_counter()
    stopped = time.perf_counter() - began
    process.communicate()
    ratio, most = p99(loud) / p99(quiet), CROWD_P99 if name == CROWD else P99
    goal(
        more <= MEMORY and ratio <= most and stopped <= STOP,
        f"{name} ({said}): {more / 2**20:.0f} MiB more (at most {MEMORY >> 20}), p99 over {kind} {p99(loud):.1f} ms, "
        f"{ratio:.1f} times the {p99(quiet):.1f} ms without (at most {most:.0f}), stopped in {stopped:.1f} s (at most "
        f"{STOP:.0f})",
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
        for kind in ("grpc", "rest") if name == CROWD else ("grpc",):
            measure(name, kind, model_dir)
    return int(args.strict and bool(missed))


if __name__ == "__main__":
    sys.exit(main())
