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
from numpy.typing import NDArray

from bench.analysis.validity import START_DELAY, START_DELAY_SHARE, WORKER_CPU
from bench.core.seeds import Stream, generator
from bench.gate.arm import Side
from bench.gate.metrics import figures
from bench.gate.types import Figures, Pair
from bench.stats.quantiles import nearest_rank
from bench.workload.schedules import Arrivals, OpenLoop

_TURN_REQUESTS: Final = 5
"""Requests of a turn, for each user: the shorter a turn, the shorter a slow spell may be to fall on both sides."""
_BALANCED: Final = 4
"""Turns of a run are a multiple of this: eight of the pattern, the fewest in which a curved drift cancels."""
_SLOWEST: Final = 5.0
"""A run of so many requests is cut off when it takes this many times as long as expected."""
_WARMUP_TURNS: Final = 4
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
class Size:
    """How long one run of a side is.

    Args:
        requests: requests of a run; 0 in open loop.
        seconds: how long it should take.
        turns: how many turns it is cut into.
    """

    requests: int
    seconds: float
    turns: int = 1

    @classmethod
    def counted(cls, requests: float, seconds: float, users: int) -> "Size":
        """So many requests or a few more, in equal turns of about `_TURN_REQUESTS` for each user."""
        turns = _BALANCED * max(math.floor(requests / (_TURN_REQUESTS * users * _BALANCED) + 0.5), 1)
        return cls(turns * max(math.ceil(requests / turns), 1), seconds, turns)


def turn_pattern(turns: int) -> tuple[int, ...]:
    """Which side has each of `turns` turns of both, if side 0 is the first: Thue and Morse's sequence."""
    return tuple(index.bit_count() % 2 for index in range(2 * turns))


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


class Pairing:
    """Drives two sides in turns.

    Args:
        baseline: one side.
        candidate: the other.
        arrivals: closed or open loop, the same for both.
        seed: of the coins.
        until: reading of `time.monotonic` at which the gate's time is over.
    """

    def __init__(self, baseline: Side, candidate: Side, arrivals: Arrivals, seed: int, until: float = math.inf) -> None:
        self._sides = (baseline, candidate)
        self._until = until
        for side in self._sides:
            side.deadline = until + LAST_REQUESTS
        self._arrivals = arrivals
        self._coins = generator(seed, Stream.ORDER)
        self._size = Size(0, _OPEN_LOOP_SECONDS)
        self._warm_requests = 0
        self._pair = 0
        self._cut = False

    @property
    def size(self) -> Size:
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
        began = [side.clock for side in self._sides]
        if self._open_loop:
            for side in self._sides:
                side.scheduled_turn(-1, seconds)
        else:
            rate = min(self._warm_up_closed(seconds))
        found = self._given(began)
        for side in self._sides:
            side.end_warm_up()
        if self._open_loop:
            self._size = Size(0, run or _OPEN_LOOP_SECONDS)
            return found
        users = self._sides[0].workload.users
        self._warm_requests = max(4 * users, round(rate * _WARM_AGAIN))
        length = run or run_length(rate, max_time)
        self._size = Size.counted(rate * length, length, users)
        return found

    def warm_up_again(self) -> None:
        """Load that does not count, on fresh processes of both sides."""
        for side in self._sides:
            if self._open_loop:
                side.scheduled_turn(-1, _WARM_AGAIN)
            else:
                side.counted_turn(-1, 0, self._warm_requests, side.clock + _SLOWEST * _WARM_AGAIN)
            side.end_warm_up()

    def probe(self) -> Pair:
        """What each side gives when it is asked until it answers, for a few seconds at most; nothing of it counts."""
        with self._beside() as began:
            for side in self._sides:
                if self._open_loop:
                    side.scheduled_turn(-1, _PROBE_SECONDS)
                    continue
                answered, ends = side.answered, side.clock + _PROBE_SECONDS
                while side.answered == answered and side.clock < ends and time.monotonic() < side.deadline:
                    side.counted_turn(-1, 0, side.workload.users, ends)
            return self._given(began)

    def endure(self, seconds: float) -> Pair:
        """Drives the candidate alone, so that its process lives for longer than a pair; nothing of it counts."""
        with self._beside() as began:
            side = self._sides[1]
            ends = side.clock + seconds
            if self._open_loop:
                side.scheduled_turn(-1, seconds)
            while side.clock < ends and not side.ended and not self._open_loop and time.monotonic() < self._until:
                side.counted_turn(-1, 0, max(self._size.requests, 1), ends)
            return self._given(began)

    @contextlib.contextmanager
    def _beside(self) -> Iterator[list[float]]:
        """Requests beside the pairs, which do not count; gives the sides' clocks at the start."""
        for side in self._sides:
            side.begin_warm_up()
        yield [side.clock for side in self._sides]
        for side in self._sides:
            side.end_warm_up()

    def _warm_up_closed(self, seconds: float) -> list[float]:
        """Requests a second of each side at the end; failed ones count too, lest nothing is ever asked again."""
        users = self._sides[0].workload.users
        # The first requests go to both sides before the rest: one may not live for long.
        rates = [self._warm_batch(side, 4 * users, side.clock + _PROBE_SECONDS) for side in self._sides]
        for index, side in enumerate(self._sides):
            batch = 4 * users
            while side.clock < (seconds if side.answered else max(seconds, _PROBE_SECONDS)):
                left = self._until - time.monotonic()
                if left <= 0:
                    break
                rates[index] = self._warm_batch(side, batch, side.clock + min(_SLOWEST * seconds, left))
                batch = max(4 * users, min(round(rates[index] * seconds / _WARMUP_TURNS), 100_000))
        return rates

    def _warm_batch(self, side: Side, count: int, ends: float) -> float:
        """Sends so many requests more, and gives how many a second ended."""
        start, asked = side.clock, side.asked
        side.counted_turn(-1, asked, count, ends)
        return max(side.asked - asked, 1) / max(side.clock - start, 1e-6)

    def _given(self, began: Sequence[float]) -> Pair:
        """What the requests since then gave, with `began` the clocks at their start."""
        baseline, candidate = (
            figures(side.take(), side.clock - start) for side, start in zip(self._sides, began, strict=True)
        )
        return Pair(baseline, candidate)

    def run_pair(self) -> Pair:
        """One run of each side, and what they gave."""
        first = int(self._coins.integers(2))
        began = [(side.clock, side.usage()) for side in self._sides]
        cpu, wall = time.process_time(), time.perf_counter()
        self._take_turns(first)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found: list[Figures] = []
        reasons: list[str] = []
        for name, side, (clock, usage) in zip(("baseline", "candidate"), self._sides, began, strict=True):
            columns, used, seconds = side.take(), side.usage(), side.clock - clock
            cores = None if used.cpu is None or usage.cpu is None or not seconds else (used.cpu - usage.cpu) / seconds
            side.samples.append((side.clock, cores, used.memory))
            found.append(figures(columns, seconds, None if cores is None else cores * seconds, used.memory))
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

    def _take_turns(self, first: int) -> None:
        """The turns of a pair, as long as both processes live and there is time."""
        self._cut = False
        if self._open_loop:
            # One turn a run: a queue needs time to build up.
            for index in (first, 1 - first):
                self._cut = self._cut or time.monotonic() > self._until
                self._sides[index].scheduled_turn(self._pair, self._size.seconds)
            self._cut = self._cut or time.monotonic() > self._sides[0].deadline
            return
        size = self._size
        count = size.requests // size.turns
        ends = [side.clock + _SLOWEST * size.seconds for side in self._sides]
        done = [0, 0]
        for turn in turn_pattern(size.turns):
            index = turn ^ first
            self._cut = time.monotonic() > self._until
            if self._cut or any(side.ended for side in self._sides):
                return
            self._sides[index].counted_turn(self._pair, done[index], count, ends[index])
            done[index] += count
        self._cut = time.monotonic() > self._sides[0].deadline


def _late(name: str, delays: NDArray[np.float64], found: Figures) -> Sequence[str]:
    """Why an open-loop run cannot be believed: requests that went out late."""
    limit = max(START_DELAY, START_DELAY_SHARE * found.values.get("p50", 0.0))
    late = nearest_rank(delays, [0.99])[0] if delays.size else 0.0
    return [f"requests to the {name} went out up to {late * 1e3:.1f} ms late; give more users"] if late > limit else []
