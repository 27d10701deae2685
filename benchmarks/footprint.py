"""What a process and the files of a run take up, sampled over a long run, and whether it grows."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

LEAST_GROWTH: Final = 10 << 20
GROWTH: Final = 0.05
"""Memory may grow by the larger of both between the first third of a run and the last. The allocators of Python and of
the C library give freed memory back late and in pieces: the medians of two thirds of a run that holds nothing differ by
a few megabytes. In half an hour at 10 requests/s, 12,000 requests lie between the middles of the thirds: what is kept
of each of them shows from 0.9 kB on."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """A process at one time.

    Args:
        time: seconds since the load began.
        rss: resident memory, bytes.
        pss: the same with shared pages divided among the processes that share them.
        threads: number of threads.
        descriptors: number of open descriptors.
    """

    time: float
    rss: int
    pss: int
    threads: int
    descriptors: int


class Observed:
    """A process and its samples.

    Args:
        name: for people.
        pid: the process.
    """

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.samples: list[Footprint] = []
        self._process = psutil.Process(pid)

    def look(self, moment: float) -> None:
        """Samples the process, `moment` seconds after the load began.

        Raises:
            psutil.Error: it has ended.
        """
        process = self._process
        with process.oneshot():
            memory = process.memory_full_info()
            self.samples.append(Footprint(moment, memory.rss, memory.pss, process.num_threads(), process.num_fds()))


@dataclass(frozen=True, slots=True)
class Thirds:
    """The first and the last third of a run's samples.

    Args:
        first: samples of the first third, without the warm-up.
        last: samples of the last third.
    """

    first: Sequence[Footprint]
    last: Sequence[Footprint]

    @classmethod
    def of(cls, samples: Sequence[Footprint], begins: float, ends: float) -> "Thirds":
        """The thirds of the seconds from 0 to `ends`, the first one without those before `begins`."""
        first = [one for one in samples if begins <= one.time < ends / 3]
        return cls(first, [one for one in samples if 2 * ends / 3 <= one.time <= ends])

    def medians(self, field: str) -> tuple[float, float]:
        """The medians of a field in both.

        Raises:
            ValueError: a third has no sample.
        """
        if not self.first or not self.last:
            raise ValueError("a third of the run has no sample; run longer")
        first, last = (statistics.median(getattr(one, field) for one in part) for part in (self.first, self.last))
        return float(first), float(last)

    def most(self, field: str) -> tuple[int, int]:
        """The largest values of a field in both."""
        first, last = (max(getattr(one, field) for one in part) for part in (self.first, self.last))
        return first, last


def within_growth(first: float, last: float) -> bool:
    """Whether memory grew by no more than is allowed."""
    return last - first <= max(GROWTH * first, LEAST_GROWTH)


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder; of one that is being written, about."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            # Replaced meanwhile.
            continue
    return total


def sleep_until(moment: float) -> None:
    """Waits until a moment of `time.monotonic`."""
    time.sleep(max(moment - time.monotonic(), 0.0))
