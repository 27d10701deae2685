"""Two servers in turns, pair after pair: short runs beside each other, in an order that a coin decides.

A pair is one run of each side on the same requests. In closed loop each run is cut into turns of a few requests that
alternate with the other side's, first-second-second-first and then the other way round, so that a slow spell of the
machine and a drift fall on both. A coin decides which side is the first, which is all that the gate's test rests on.
Both servers stay up; the one that does not have the turn is idle.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.validity import START_DELAY, START_DELAY_SHARE, WORKER_CPU
from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.gate.arm import Arm
from bench.gate.metrics import run_metrics
from bench.gate.types import Pair, RunMetrics
from bench.stats.quantiles import nearest_rank
from bench.workload.schedules import Arrivals, OpenLoop

_SLICE_REQUESTS: Final = 5
"""Requests of a turn, for each user: the shorter a turn, the shorter a slow spell may be to fall on both sides."""
_BALANCED: Final = 4
"""Turns of a run are a multiple of this: eight of the pattern, the fewest in which a curved drift cancels."""
_SLOWEST: Final = 5.0
"""A run of so many requests is cut off when it takes this many times as long as expected."""
_WARMUP_BATCHES: Final = 4
_WARM_AGAIN: Final = 0.5
"""Seconds of load on each side before fresh processes count."""
_REQUESTS_FOR_P99: Final = 330
_SHORTEST: Final = 1.0
_LONGEST: Final = 5.0
_LONGEST_FOR_P99: Final = 7.5
_PAIRS_WANTED: Final = 30
"""A gate should have time for so many pairs..."""
_PAIRS_FOR_P99: Final = 20
"""...or for so many, where their runs are then long enough for a p99."""
_OPEN_LOOP_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 3.0
"""A side that does not answer is asked this long before it counts as one that does not."""
LAST_REQUESTS: Final = 2.5
"""Seconds past the end of the gate in which requests that were sent before may still be answered."""


@dataclass(frozen=True, slots=True)
class RunSize:
    """How long one run of a side is.

    Args:
        requests: requests of a run; 0 in open loop.
        seconds: how long it should take.
        slices: how many turns it is cut into.
    """

    requests: int
    seconds: float
    slices: int = 1

    @classmethod
    def counted(cls, requests: float, seconds: float, users: int) -> "RunSize":
        """So many requests or a few more, in equal turns of about `_SLICE_REQUESTS` for each user."""
        slices = _BALANCED * max(math.floor(requests / (_SLICE_REQUESTS * users * _BALANCED) + 0.5), 1)
        return cls(slices * max(math.ceil(requests / slices), 1), seconds, slices)


def slice_order(slices: int) -> tuple[int, ...]:
    """Which side has each of `slices` turns of both, if side 0 is the first: Thue and Morse's sequence."""
    return tuple(index.bit_count() % 2 for index in range(2 * slices))


def run_length(rate: float, max_time: float) -> float:
    """Seconds of a closed-loop run: the shortest that carries a p99, or short ones where that would take too long.

    Args:
        rate: requests a second of the slower side.
        max_time: seconds that the gate may take.
    """
    carrying = max(_REQUESTS_FOR_P99 / rate, _SHORTEST)
    if carrying <= min(max_time / (2 * _PAIRS_FOR_P99), _LONGEST_FOR_P99):
        return carrying
    return min(max(max_time / (2 * _PAIRS_WANTED), _SHORTEST), _LONGEST)


class Interleaving:
    """Drives two sides in turns.

    Args:
        baseline: one side.
        candidate: the other.
        arrivals: closed or open loop, the same for both.
        seed: of the coins.
        until: reading of `time.monotonic` at which the gate's time is over.
    """

    def __init__(self, baseline: Arm, candidate: Arm, arrivals: Arrivals, seed: int, until: float = math.inf) -> None:
        self._arms = (baseline, candidate)
        self._until = until
        for arm in self._arms:
            arm.deadline = until + LAST_REQUESTS
        self._arrivals = arrivals
        self._coins = generator(seed, Stream.ORDER)
        self._size = RunSize(0, _OPEN_LOOP_SECONDS)
        self._warm_requests = 0
        self._pair = 0
        self._cut = False

    @property
    def size(self) -> RunSize:
        """How long a run is; known after the warm-up."""
        return self._size

    def warm_up(self, seconds: float, run: float | None = None, max_time: float = math.inf) -> Pair:
        """Load that does not count, `seconds` on each side; then the length of a run is set.

        A side that does not answer is asked for longer, if need be.

        Args:
            seconds: on each side.
            run: length of a run in seconds; None takes `run_length`.
            max_time: seconds that the gate may take.

        Returns:
            What each side gave.
        """
        began = [arm.clock for arm in self._arms]
        if self._open_loop:
            for arm in self._arms:
                arm.send_scheduled_slice(-1, seconds)
        else:
            rate = min(self._warm_up_closed(seconds))
        found = self._given(began)
        for arm in self._arms:
            arm.end_warm_up()
        if self._open_loop:
            self._size = RunSize(0, run or _OPEN_LOOP_SECONDS)
            return found
        users = self._arms[0].workload.users
        self._warm_requests = max(4 * users, round(rate * _WARM_AGAIN))
        length = run or run_length(rate, max_time)
        self._size = RunSize.counted(rate * length, length, users)
        return found

    def warm_up_restarted(self) -> None:
        """Load that does not count, on fresh processes of both sides."""
        for arm in self._arms:
            if self._open_loop:
                arm.send_scheduled_slice(-1, _WARM_AGAIN)
            else:
                arm.send_counted_slice(-1, 0, self._warm_requests, arm.clock + _SLOWEST * _WARM_AGAIN)
            arm.end_warm_up()

    def probe(self) -> Pair:
        """What each side gives when it is asked until it answers, for a few seconds at most; nothing of it counts."""
        with self._beside() as began:
            for arm in self._arms:
                if self._open_loop:
                    arm.send_scheduled_slice(-1, _PROBE_SECONDS)
                    continue
                answered, ends = arm.answered, arm.clock + _PROBE_SECONDS
                while arm.answered == answered and arm.clock < ends and time.monotonic() < arm.deadline:
                    arm.send_counted_slice(-1, 0, arm.workload.users, ends)
            return self._given(began)

    def soak(self, seconds: float) -> Pair:
        """Drives the candidate alone, so that its process lives for longer than a pair; nothing of it counts."""
        with self._beside() as began:
            arm = self._arms[1]
            ends = arm.clock + seconds
            if self._open_loop:
                arm.send_scheduled_slice(-1, seconds)
            while arm.clock < ends and not arm.ended and not self._open_loop and time.monotonic() < self._until:
                arm.send_counted_slice(-1, 0, max(self._size.requests, 1), ends)
            return self._given(began)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[list[float]]:
        """Requests beside the pairs, which do not count; gives the sides' clocks at the start."""
        for arm in self._arms:
            arm.begin_warm_up()
        yield [arm.clock for arm in self._arms]
        for arm in self._arms:
            arm.end_warm_up()

    def _warm_up_closed(self, seconds: float) -> list[float]:
        """Requests a second of each side at the end; failed ones count too, lest nothing is ever asked again."""
        users = self._arms[0].workload.users
        # The first requests go to both sides before the rest: one may not live for long.
        rates = [self._warm_batch(arm, 4 * users, arm.clock + _PROBE_SECONDS) for arm in self._arms]
        for index, arm in enumerate(self._arms):
            batch = 4 * users
            while arm.clock < (seconds if arm.answered else max(seconds, _PROBE_SECONDS)):
                left = self._until - time.monotonic()
                if left <= 0:
                    break
                rates[index] = self._warm_batch(arm, batch, arm.clock + min(_SLOWEST * seconds, left))
                batch = max(4 * users, min(round(rates[index] * seconds / _WARMUP_BATCHES), 100_000))
        return rates

    def _warm_batch(self, arm: Arm, count: int, ends: float) -> float:
        """Sends so many requests more, and gives how many a second ended."""
        start, asked = arm.clock, arm.asked
        arm.send_counted_slice(-1, asked, count, ends)
        return max(arm.asked - asked, 1) / max(arm.clock - start, 1e-6)

    def _given(self, began: Sequence[float]) -> Pair:
        """What the requests since then gave, with `began` the clocks at their start."""
        baseline, candidate = (
            run_metrics(arm.take(), arm.clock - start) for arm, start in zip(self._arms, began, strict=True)
        )
        return Pair(baseline, candidate)

    def run_pair(self) -> Pair:
        """One run of each side, and what they gave."""
        first = int(self._coins.integers(2))
        began = [(arm.clock, arm.usage()) for arm in self._arms]
        cpu, wall = time.process_time(), time.perf_counter()
        self._send_slices(first)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found: list[RunMetrics] = []
        reasons: list[str] = []
        for name, arm, (clock, usage) in zip(("baseline", "candidate"), self._arms, began, strict=True):
            columns, used, seconds = arm.take(), arm.usage(), arm.clock - clock
            cores = None if used.cpu is None or usage.cpu is None or not seconds else (used.cpu - usage.cpu) / seconds
            arm.samples.append((arm.clock, cores, used.memory))
            found.append(run_metrics(columns, seconds, None if cores is None else cores * seconds, used.memory))
            delays = columns["sent"] - columns["due"]
            reasons += _late(name, delays[~np.isnan(delays)], found[-1]) if self._open_loop else []
        if cpu > WORKER_CPU * wall:
            reasons.append(f"the load generator used {cpu / wall:.0%} of a core: it was the limit; use fewer users")
        if self._cut:
            reasons.append("--max-time was over before it was complete")
        self._pair += 1
        return Pair(found[0], found[1], baseline_first=first == 0, invalid=tuple(reasons))

    @property
    def _open_loop(self) -> bool:
        return isinstance(self._arrivals, OpenLoop)

    def _send_slices(self, first: int) -> None:
        """The turns of a pair, as long as both processes live and there is time."""
        self._cut = False
        if self._open_loop:
            # One turn a run: a queue needs time to build up.
            for index in (first, 1 - first):
                self._cut = self._cut or time.monotonic() > self._until
                self._arms[index].send_scheduled_slice(self._pair, self._size.seconds)
            self._cut = self._cut or time.monotonic() > self._arms[0].deadline
            return
        size = self._size
        count = size.requests // size.slices
        ends = [arm.clock + _SLOWEST * size.seconds for arm in self._arms]
        done = [0, 0]
        for slice_index in slice_order(size.slices):
            index = slice_index ^ first
            self._cut = time.monotonic() > self._until
            if self._cut or any(arm.ended for arm in self._arms):
                return
            self._arms[index].send_counted_slice(self._pair, done[index], count, ends[index])
            done[index] += count
        self._cut = time.monotonic() > self._arms[0].deadline


def _late(name: str, delays: Floats, found: RunMetrics) -> Sequence[str]:
    """Why an open-loop run cannot be believed: requests that went out late."""
    limit = max(START_DELAY, START_DELAY_SHARE * found.values.get("p50", 0.0))
    late = nearest_rank(delays, [0.99])[0] if delays.size else 0.0
    return [f"requests to the {name} went out up to {late * 1e3:.1f} ms late; give more users"] if late > limit else []
