"""What the fuzzers of both protocols share: a server, its process before and after, and what became of the requests."""

import argparse
import contextlib
import errno
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import psutil

from bench.bert.demo.demo_model import demo_model_dir
from bench.server.lifecycle import RunningServer, embedded

NUMBERS: Final = (
    *(
        b"0",
        b"1",
        b"-1",
        b"-0",
        b"00",
        b"007",
        b"+1",
        b"1_0",
        b"0x10",
        b"\xd9\xa3",
        b"1.5",
        b"1e3",
        b"1e400",
        b"NaN",
        b"",
    ),
    *(b"%d" % (2**bits + step) for bits in (7, 8, 15, 16, 31, 32, 53, 63, 64) for step in (-1, 0, 1)),
    *(
        b"99999999",
        b"100000000",
        b"9" * 19,
        b"9" * 20,
        b"9" * 308,
        b"9" * 309,
        b"9" * 4300,
        b"9" * 4301,
        b"0" * 5000 + b"1",
    ),
)
"""At and past every limit of a number that comes as text."""
MEMORY_GROWTH: Final = 1.10
_WARM_REQUESTS: Final = 3000
_SHOWN: Final = 10
_CONNECTIONS: Final = 8
_BATCH: Final = 128
"""Rounds whose seeds are handed out at once."""


@dataclass
class Tally:
    """What became of requests.

    Args:
        sent: requests.
        statuses: answers by status; connections that end otherwise by what ended them.
        unexpected: seeds of requests whose answer no contract names, with it.
    """

    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    unexpected: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Adds what became of other requests."""
        self.sent += other.sent
        self.statuses += other.statuses
        self.unexpected += other.unexpected


# Sends some requests of one seed and adds what became of them.
Round = Callable[[RunningServer, int, Tally], None]


@dataclass(frozen=True)
class Condition:
    """A server's process at one moment: threads, and resident bytes."""

    threads: int
    memory: int


def is_closed(error: OSError) -> bool:
    """Whether it says that the server has closed the connection, which it may before it has read everything."""
    # The system has the second for a connection that was reset before the client shuts it down.
    return isinstance(error, ConnectionError) or error.errno == errno.ENOTCONN


def condition(server: RunningServer) -> Condition:
    """The process now, or after a while if it has more threads than a moment ago: some end late."""
    process = psutil.Process(server.pid)
    return Condition(process.num_threads(), process.memory_info().rss)


def run(server: RunningServer, turn: Round, requests: int, seed: int) -> Tally:
    """Sends requests round by round, each with a seed of its own, several rounds at a time."""
    tally = Tally()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        while tally.sent < requests:
            parts = [pool.submit(_round, server, turn, one) for one in range(seed, seed + _BATCH)]
            for part in parts:
                tally.add(part.result())
            seed += _BATCH
    return tally


def _round(server: RunningServer, turn: Round, seed: int) -> Tally:
    tally = Tally()
    try:
        turn(server, seed, tally)
    except OSError as error:
        process = psutil.Process(server.pid)
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            raise
        raise SystemExit(f"seed {seed}, or one of the last {_BATCH} before it, ended the server: {error}") from error
    return tally


@contextlib.contextmanager
def fuzzed_server() -> Iterator[RunningServer]:
    """The embedded server on the demo model, with all services."""
    with embedded(demo_model_dir(), flags=["--enable_grpc_healthcheck_service"]) as server:
        yield server


def main(name: str, turn: Round, argv: Sequence[str]) -> int:
    """Fuzzes a server and reports.

    Returns:
        1 if the server ended, lost a thread, grew by more than a tenth, or gave an answer that no contract names.
    """
    parser = argparse.ArgumentParser(description=f"Requests over {name}, broken in every way.")
    parser.add_argument("--requests", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round (default: %(default)s)")
    args = parser.parse_args(argv)
    with fuzzed_server() as server:
        run(server, turn, min(_WARM_REQUESTS, args.requests), -args.seed * 1_000_000)
        before, started = condition(server), time.perf_counter()
        tally = run(server, turn, args.requests, args.seed)
        rate = tally.sent / (time.perf_counter() - started)
        after = condition(server)
    print(f"{name}: {tally.sent} requests, {rate:.0f}/s, seeds from {args.seed}")
    print("  " + ", ".join(f"{status} {count}" for status, count in sorted(tally.statuses.items())))
    print(
        f"  alive, threads {before.threads} -> {after.threads}, "
        f"memory {before.memory >> 20} -> {after.memory >> 20} MiB"
    )
    for found, text in tally.unexpected[:_SHOWN]:
        print(f"  seed {found}: {text}")
    print(f"  {len(tally.unexpected)} answers that the contract does not name")
    good = not tally.unexpected and after.threads >= before.threads
    return int(not good or after.memory > before.memory * MEMORY_GROWTH)


def exit_with(name: str, turn: Round) -> None:
    """Runs `main` on the command line."""
    sys.exit(main(name, turn, sys.argv[1:]))
