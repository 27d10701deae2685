"""A server whose queue is known: it holds each right answer back until its place in an exact queue is served.

    python -m tests.support.queue_server MODEL_DIR --servers 4 --mean 0.01 --cv 1.5

Departures are computed from arrivals (first come first served, Kiefer and Wolfowitz), so that a timer that fires late
delays one answer and not the queue. Service times are gamma distributed for a coefficient of variation up to 1, else
log-normal. Speaks as much REST as the load generator uses; lives until its standard input closes.
"""

import argparse
import asyncio
import contextlib
import ctypes
import heapq
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from bench.core.types import Floats
from bench.load.selftest.null_server import Answers, NullRest, _response
from bench.serving.types import DEFAULT_MODEL_NAME


def service_times(mean: float, cv: float, size: int, rng: np.random.Generator) -> Floats:
    """Service times, seconds, with coefficient of variation `cv`."""
    if cv <= 1:
        return rng.gamma(1 / cv**2, mean * cv**2, size)
    variance = np.log(1 + cv**2)
    return rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance), size)


class ExactTimers:
    """Calls at moments of CLOCK_MONOTONIC, exact to the kernel's timer: asyncio rounds its own up to milliseconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(1, 0o4000 | 0o2000000)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        loop.add_reader(self._fd, self._wake)

    def call_at(self, moment: float, callback: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, callback))
        if self._heap[0][1] == self._count:
            self._arm()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 8)
        while self._heap and self._heap[0][0] <= time.monotonic():
            heapq.heappop(self._heap)[2]()
        if self._heap:
            self._arm()

    def _arm(self) -> None:
        nanoseconds = max(int(self._heap[0][0] * 1e9), 1)
        spec = struct.pack("@llll", 0, 0, nanoseconds // 10**9, nanoseconds % 10**9)
        self._libc.timerfd_settime(self._fd, 1, spec, None)


class Queue:
    """The queue, and what goes wrong with it.

    Args:
        args: the command line.
        timers: lets answers go.
        others: whole right answers, for wrong ones.
    """

    def __init__(self, args: argparse.Namespace, timers: ExactTimers, others: list[bytes]) -> None:
        self._rng = np.random.default_rng(args.seed)
        self._args = args
        self._timers = timers
        self._others = others
        self._free = [0.0] * args.servers
        self._drawn: list[float] = []
        self._served = 0

    def serve(self, answer: bytes, write: Callable[[bytes], None]) -> None:
        """Writes `answer` when its turn is over."""
        now = time.monotonic()
        self._served += 1
        if self._args.die_after and self._served > self._args.die_after:
            os._exit(1)
        if not self._drawn:
            self._drawn = service_times(self._args.mean, self._args.cv, 4096, self._rng).tolist()
        chance = float(self._rng.random()) if self._args.errors or self._args.wrong else 1.0
        if chance < self._args.errors:
            write(_response(503, b'{"error": "overloaded"}'))
            return
        if chance < self._args.errors + self._args.wrong:
            answer = next(other for other in self._others if other != answer)
        end = max(now, heapq.heappop(self._free)) + self._drawn.pop()
        heapq.heappush(self._free, end)
        self._timers.call_at(end, lambda: write(answer))


class QueueRest(NullRest):
    """One connection to it."""

    queue: Queue

    def _answer(self, line: bytes, body: bytes) -> None:
        answer = self._posts.get(body)
        if not line.startswith(b"POST") or answer is None:
            super()._answer(line, body)
            return
        transport = self._transport
        assert transport is not None
        self.queue.serve(answer, transport.write)


async def _serve(args: argparse.Namespace) -> None:
    answers = Answers(args.model_dir, "score", 1)
    posts = {body: _response(200, reply) for body, reply in answers.rest.items()}
    gets = {f"/v1/models/{DEFAULT_MODEL_NAME}".encode(): _response(200, answers.state()[0])}
    loop = asyncio.get_running_loop()
    queue = Queue(args, ExactTimers(loop), list(posts.values()))

    def connection() -> QueueRest:
        found = QueueRest(posts, gets)
        found.queue = queue
        return found

    server = await loop.create_server(connection, "127.0.0.1", 0)
    print(json.dumps({"rest": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def queue_server(
    model_dir: Path,
    servers: int = 1,
    mean: float = 0.01,
    cv: float = 1.0,
    seed: int = 0,
    errors: float = 0.0,
    wrong: float = 0.0,
    die_after: int = 0,
) -> Iterator[str]:
    """The server in a process of its own; its base URL."""
    command = [sys.executable, "-m", "tests.support.queue_server", str(model_dir)]
    for name, value in (
        ("servers", servers),
        ("mean", mean),
        ("cv", cv),
        ("seed", seed),
        ("errors", errors),
        ("wrong", wrong),
        ("die-after", die_after),
    ):
        command += [f"--{name}", str(value)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield str(json.loads(child.stdout.readline())["rest"])
        finally:
            child.stdin.close()
            child.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--mean", type=float, default=0.01)
    parser.add_argument("--cv", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--errors", type=float, default=0.0, help="share answered with 503")
    parser.add_argument("--wrong", type=float, default=0.0, help="share answered with another's answer")
    parser.add_argument("--die-after", type=int, default=0, help="end after so many requests")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
