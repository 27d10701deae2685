"""Drives two servers in alternating slices: pairs of short runs, in an order drawn at random.

A pair is one run of each arm on the same requests. In closed loop each run is cut into slices of a few requests that
alternate with the other arm's, first-second-second-first and then the other way round, so that a slow spell of the
machine and a drift affect both. Which arm is the first is drawn at random, and the gate's test needs nothing else.
Both servers stay up; one is driven while the other idles.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.analysis.start_delay import all_waiting, late_by, own_delays, start_delay_limit
from bench.analysis.validity import WORKER_CPU
from bench.core.seeds import Stream, generator
from bench.gate.arm import Arm
from bench.gate.metrics import run_metrics
from bench.gate.types import ARMS, Pair, RunMetrics
from bench.load.setup.run_spec import RunSpec
from bench.workload.due_times import OpenLoop

_SLICE_REQUESTS: Final = 5
"""Requests of a slice for each user: the shorter a slice, the shorter the slow spells that affect both arms."""
_BALANCED: Final = 4
"""Slices of a run are a multiple of this: eight of both arms are the fewest in which a curved drift cancels."""
_SLOWEST: Final = 5.0
"""A run of a given number of requests is cut off when it takes this many times as long as expected."""
_WARMUP_BATCHES: Final = 4
_RESTART_WARMUP: Final = 0.5
"""Seconds of load on each arm before fresh processes count."""
_REQUESTS_FOR_P99: Final = 330
_SHORTEST: Final = 1.0
_LONGEST: Final = 5.0
_LONGEST_FOR_P99: Final = 7.5
_PAIRS_WANTED: Final = 30
"""A gate should have time for so many pairs..."""
_PAIRS_FOR_P99: Final = 20
"""...or for so many, if their runs then have a p99."""
_OPEN_LOOP_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 3.0
"""An arm that does not answer gets requests for so long before it counts as failed."""
LAST_REQUESTS: Final = 2.5
"""Seconds past the end of the gate in which requests that were sent before may still be answered."""
_WARM_UP: Final = -1
"""The index of the pair that requests outside the pairs are drawn for."""


@dataclass(frozen=True, slots=True)
class RunSize:
    """How long one run of an arm is.

    Args:
        requests: requests of a run; 0 in open loop.
        seconds: how long it should take.
        slices: how many slices it is cut into.
    """

    requests: int
    seconds: float
    slices: int = 1

    @classmethod
    def sliced(cls, requests: float, seconds: float, users: int) -> "RunSize":
        """About `requests` requests in equal slices of about `_SLICE_REQUESTS` for each user."""
        slices = _BALANCED * max(math.floor(requests / (_SLICE_REQUESTS * users * _BALANCED) + 0.5), 1)
        return cls(slices * max(math.ceil(requests / slices), 1), seconds, slices)


def slice_order(slices: int) -> tuple[int, ...]:
    """Which arm each slice belongs to, with `slices` of each arm and arm 0 as the first: the Thue-Morse sequence."""
    return tuple(index.bit_count() % 2 for index in range(2 * slices))


def run_length(rate: float, max_time: float) -> float:
    """Seconds of a closed-loop run: the shortest that has a p99, or short ones where that would take too long.

    Args:
        rate: requests/s of the slower arm.
        max_time: seconds that the gate may take.
    """
    for_p99 = max(_REQUESTS_FOR_P99 / rate, _SHORTEST)
    if for_p99 <= min(max_time / (2 * _PAIRS_FOR_P99), _LONGEST_FOR_P99):
        return for_p99
    return min(max(max_time / (2 * _PAIRS_WANTED), _SHORTEST), _LONGEST)


class Interleaving:
    """Drives two arms in alternating slices.

    Each method that sends requests raises `ArmsFailed` where a server process has ended.

    Args:
        arms: baseline and candidate.
        load: the load that both get.
        check: raises if a server process has ended.
        until: reading of `time.monotonic` at which the gate's time is over.
    """

    def __init__(
        self, arms: tuple[Arm, Arm], load: RunSpec, check: Callable[[], None], until: float = math.inf
    ) -> None:
        self._arms = arms
        self._check = check
        self._until = until
        for arm in arms:
            arm.deadline = until + LAST_REQUESTS
        self._open_loop = isinstance(load.arrivals, OpenLoop)
        self._users = load.users
        self._order = generator(load.seed, Stream.ORDER)
        self._size = RunSize(0, _OPEN_LOOP_SECONDS)
        self._warm_requests = 0
        self._pair = 0
        self._cut = False

    @property
    def size(self) -> RunSize:
        """How long a run is; known after the warm-up."""
        return self._size

    def warm_up(self, seconds: float, run: float | None = None, max_time: float = math.inf) -> Pair:
        """Sends load that does not count, `seconds` to each arm, and then sets the length of a run.

        An arm that does not answer gets requests for longer, if need be.

        Args:
            seconds: for each arm.
            run: length of a run in seconds; None takes `run_length`.
            max_time: seconds that the gate may take.

        Returns:
            What each arm answered.
        """
        began = [arm.clock for arm in self._arms]
        rate = 0.0
        if self._open_loop:
            for arm in self._arms:
                arm.send_scheduled_slice(_WARM_UP, seconds)
        else:
            rate = min(self._warm_up_closed(seconds))
        found = self._metrics_since(began)
        for arm in self._arms:
            arm.end_warm_up()
        if self._open_loop:
            self._size = RunSize(0, run or _OPEN_LOOP_SECONDS)
        else:
            self._warm_requests = max(4 * self._users, round(rate * _RESTART_WARMUP))
            length = run or run_length(rate, max_time)
            self._size = RunSize.sliced(rate * length, length, self._users)
        self._check()
        return found

    def warm_up_restarted(self) -> None:
        """Sends load that does not count to fresh processes of both arms."""
        for arm in self._arms:
            if self._open_loop:
                arm.send_scheduled_slice(_WARM_UP, _RESTART_WARMUP)
            else:
                arm.send_counted_slice(_WARM_UP, 0, self._warm_requests, arm.clock + _SLOWEST * _RESTART_WARMUP)
            arm.end_warm_up()

    def run_pair(self) -> Pair:
        """Drives one run of each arm and measures both."""
        first = int(self._order.integers(2))
        began = [(arm.clock, arm.usage()) for arm in self._arms]
        cpu, wall = time.process_time(), time.perf_counter()
        self._send_pair(first)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found: list[RunMetrics] = []
        requests: list[Mapping[str, NDArray[Any]]] = []
        for arm, (clock, usage) in zip(self._arms, began, strict=True):
            columns, used, seconds = arm.take(), arm.usage(), arm.clock - clock
            cores = None if used.cpu is None or usage.cpu is None or not seconds else (used.cpu - usage.cpu) / seconds
            arm.samples.append((arm.clock, cores, used.memory))
            found.append(run_metrics(columns, seconds, None if cores is None else cores * seconds, used.memory))
            requests.append(columns)
        reasons = late_reasons(requests, found, self._users) if self._open_loop else []
        if cpu > WORKER_CPU * wall:
            less = "a lower rate" if self._open_loop else "fewer users"
            reasons.append(
                f"the load generator used {cpu / wall:.0%} of a core: it was the limit; give --arrivals {less}"
            )
        if self._cut:
            reasons.append("--max-time was over before it was complete")
        self._pair += 1
        self._check()
        return Pair(found[0], found[1], baseline_first=first == 0, invalid=tuple(reasons))

    def probe(self) -> Pair:
        """Sends requests to each arm until it answers, for a few seconds at most; they do not count."""
        with self._not_counted() as began:
            for arm in self._arms:
                if self._open_loop:
                    arm.send_scheduled_slice(_WARM_UP, _PROBE_SECONDS)
                    continue
                answered, ends = arm.answered, arm.clock + _PROBE_SECONDS
                while arm.answered == answered and arm.clock < ends and time.monotonic() < arm.deadline:
                    arm.send_counted_slice(_WARM_UP, 0, self._users, ends)
            found = self._metrics_since(began)
        self._check()
        return found

    def soak(self, seconds: float) -> Pair:
        """Drives only the candidate, so that its process lives for longer than a pair; the requests do not count."""
        with self._not_counted() as began:
            arm = self._arms[1]
            ends = arm.clock + seconds
            if self._open_loop:
                arm.send_scheduled_slice(_WARM_UP, seconds)
            while arm.clock < ends and not arm.ended and not self._open_loop and time.monotonic() < self._until:
                arm.send_counted_slice(_WARM_UP, 0, max(self._size.requests, 1), ends)
            found = self._metrics_since(began)
        self._check()
        return found

    @contextlib.contextmanager
    def _not_counted(self) -> Iterator[list[float]]:
        """Requests outside the pairs; gives the arms' clocks at the start."""
        for arm in self._arms:
            arm.begin_warm_up()
        yield [arm.clock for arm in self._arms]
        for arm in self._arms:
            arm.end_warm_up()

    def _warm_up_closed(self, seconds: float) -> list[float]:
        """Requests/s of each arm at the end; failed ones count too, so that each arm always gets some."""
        # The first requests go to both arms before the rest: one may not live for long.
        rates = [self._warm_batch(arm, 4 * self._users, arm.clock + _PROBE_SECONDS) for arm in self._arms]
        for index, arm in enumerate(self._arms):
            batch = 4 * self._users
            while arm.clock < (seconds if arm.answered else max(seconds, _PROBE_SECONDS)):
                left = self._until - time.monotonic()
                if left <= 0:
                    break
                rates[index] = self._warm_batch(arm, batch, arm.clock + min(_SLOWEST * seconds, left))
                batch = max(4 * self._users, min(round(rates[index] * seconds / _WARMUP_BATCHES), 100_000))
        return rates

    def _warm_batch(self, arm: Arm, count: int, ends: float) -> float:
        """Sends `count` more requests, and gives how many ended per second."""
        start, asked = arm.clock, arm.asked
        arm.send_counted_slice(_WARM_UP, asked, count, ends)
        return max(arm.asked - asked, 1) / max(arm.clock - start, 1e-6)

    def _metrics_since(self, began: Sequence[float]) -> Pair:
        """Metrics of the requests since the clocks were `began`."""
        baseline, candidate = (
            run_metrics(arm.take(), arm.clock - start) for arm, start in zip(self._arms, began, strict=True)
        )
        return Pair(baseline, candidate)

    def _send_pair(self, first: int) -> None:
        """Sends the requests of a pair, as long as both processes live and there is time."""
        self._cut = False
        if self._open_loop:
            # One slice a run: a queue needs time to build up.
            for index in (first, 1 - first):
                self._cut = self._cut or time.monotonic() > self._until
                self._arms[index].send_scheduled_slice(self._pair, self._size.seconds)
            self._cut = self._cut or time.monotonic() > self._arms[0].deadline
            return
        size = self._size
        count = size.requests // size.slices
        ends = [arm.clock + _SLOWEST * size.seconds for arm in self._arms]
        sent = [0, 0]
        for position in slice_order(size.slices):
            index = position ^ first
            self._cut = time.monotonic() > self._until
            if self._cut or any(arm.ended for arm in self._arms):
                return
            self._arms[index].send_counted_slice(self._pair, sent[index], count, ends[index])
            sent[index] += count
        self._cut = time.monotonic() > self._arms[0].deadline


def late_reasons(requests: Sequence[Mapping[str, NDArray[Any]]], runs: Sequence[RunMetrics], users: int) -> list[str]:
    """Why an open-loop pair is INVALID as requests were sent late; empty if none were, or by the doing of one server.

    Latency from the due time has the wait for a server that keeps all users waiting, so that such a run counts. Where
    both servers do, the pair shows the rate more than their difference. The rule treats both arms alike.

    Args:
        requests: of baseline and candidate, `due`, `sent` and `done`.
        runs: the metrics of both.
        users: of each.
    """
    reasons, waiting = [], 0
    for name, columns, run in zip(ARMS, requests, runs, strict=True):
        due, sent, done = (columns[key] for key in ("due", "sent", "done"))
        delays, limit = sent - due, start_delay_limit(run.values.get("p50", 0.0)).value
        if late_by(delays[~np.isnan(delays)]) <= limit:
            continue
        own = late_by(own_delays(due, sent, done, users))
        if own <= limit:
            waiting += 1
            continue
        late = f"requests to the {name} were sent up to {own * 1e3:.1f} ms late although users were free"
        reasons.append(f"{late}: the load generator was starved of CPU; use a less busy machine")
    if waiting == len(ARMS):
        reasons.append(
            f"{all_waiting(users)} of both servers: the rate is too high for them; give --arrivals a lower rate"
        )
    return reasons
