"""Counts of events by second, in columns; their memory does not grow with the length of a run."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

MOST_BATCHES: Final = 64
"""Batches of a longer run are put together in pairs."""
_ROOM: Final = 64

Counts = NDArray[np.int64]


class SecondTable:
    """Numbers of events, by second since the run began and by column.

    Args:
        columns: names of the columns.
        least: how many of the newest seconds are known one by one, at least; of older ones only the sum is.

    Attributes:
        first: the first second that is known by itself.
        length: one more than the newest second.
    """

    def __init__(self, columns: Sequence[str], least: int) -> None:
        self._index = {name: index for index, name in enumerate(columns)}
        self._least = least
        # The first row has the sum of the seconds before `first`, the next one that of `first`.
        self._counts = np.zeros((_ROOM, len(columns)), np.int64)
        self._totals = np.zeros(len(columns), np.int64)
        self.first = 0
        self.length = 0

    def add(self, name: str, seconds: Counts, codes: Counts | None = None) -> None:
        """Counts one event in each of `seconds` `[N]`, each 0 or more.

        Args:
            name: the column.
            seconds: when.
            codes: how many columns after `name` each event is counted, `[N]`; None for 0.
        """
        if not seconds.size:
            return
        self._reserve(int(seconds.max()) + 1)
        rows = np.maximum(seconds - self.first, -1) + 1
        low, high = int(rows.min()), int(rows.max()) + 1
        width = self._counts.shape[1]
        keys = (rows - low) * width + self._index[name] + (0 if codes is None else codes)
        found = np.bincount(keys, minlength=(high - low) * width).reshape(-1, width)
        self._counts[low:high] += found
        self._totals += found.sum(axis=0)

    def merge(self, other: "SecondTable") -> None:
        """Adds the counts of another table of the same columns."""
        self._reserve(other.length)
        self._forget(other.first)
        early = 1 + self.first - other.first
        rows = other._counts[early : 1 + other.length - other.first]
        self._counts[0] += other._counts[:early].sum(axis=0)
        self._counts[1 : 1 + len(rows)] += rows
        self._totals += other._totals

    def column(self, name: str, begins: int = 0, ends: int | None = None) -> Counts:
        """The counts of seconds `begins` to before `ends`, of all by default.

        They are 0 where nothing was counted, and in seconds before `first`.
        """
        ends = self.length if ends is None else ends
        found = np.zeros(max(ends - begins, 0), np.int64)
        low, high = max(begins, self.first), min(ends, self.length)
        if low < high:
            rows = slice(1 + low - self.first, 1 + high - self.first)
            found[low - begins : high - begins] = self._counts[rows, self._index[name]]
        return found

    def before(self, name: str, second: int) -> int:
        """The count of all seconds before `second`; of those before `first` where that is later."""
        return int(self._counts[: 1 + max(second - self.first, 0), self._index[name]].sum())

    def total(self, name: str) -> int:
        """The count of all seconds."""
        return int(self._totals[self._index[name]])

    def _reserve(self, length: int) -> None:
        self.length = max(self.length, length)
        if self.length - self.first > 2 * self._least:
            self._forget(self.length - self._least)
        rows, needed = self._counts.shape[0], 1 + self.length - self.first
        if needed > rows:
            more = max(min(2 * rows, 1 + 2 * self._least), needed) - rows
            self._counts = np.concatenate((self._counts, np.zeros((more, self._counts.shape[1]), np.int64)))

    def _forget(self, first: int) -> None:
        """Puts the seconds before `first` together."""
        gone = first - self.first
        if gone <= 0:
            return
        former = self._counts
        self._counts = np.zeros_like(former)
        self._counts[0] = former[: 1 + gone].sum(axis=0)
        rest = former[1 + gone :]
        self._counts[1 : 1 + len(rest)] = rest
        self.first = first


class SecondBatches:
    """Numbers of events from a second on, by column and by batches of equally many seconds.

    Args:
        begins: the first second that counts.
        columns: number of columns.

    Attributes:
        seconds: length of a batch: 1 s, or 2, 4, 8... s when there are more than `MOST_BATCHES`.
    """

    def __init__(self, begins: int, columns: int) -> None:
        self._begins = begins
        self._counts = np.zeros((columns, MOST_BATCHES), np.int64)
        self.seconds = 1

    def add(self, column: int, seconds: Counts) -> None:
        """Counts one event in each of `seconds` `[N]`."""
        batches = (seconds[seconds >= self._begins] - self._begins) // self.seconds
        while batches.size and batches.max() >= MOST_BATCHES:
            self._coarsen()
            batches //= 2
        self._counts[column] += np.bincount(batches, minlength=MOST_BATCHES)

    def merge(self, other: "SecondBatches") -> None:
        """Adds the counts of another one with the same first second."""
        while self.seconds < other.seconds:
            self._coarsen()
        counts, seconds = other._counts, other.seconds
        while seconds < self.seconds:
            counts, seconds = _in_pairs(counts), 2 * seconds
        self._counts += counts

    def complete(self, column: int, seconds: int) -> Counts:
        """The counts of the batches that end within the first `seconds`, `[B]`."""
        return self._counts[column, : seconds // self.seconds]

    def total(self, column: int) -> int:
        """The count of all batches."""
        return int(self._counts[column].sum())

    def _coarsen(self) -> None:
        self._counts, self.seconds = _in_pairs(self._counts), 2 * self.seconds


def _in_pairs(counts: Counts) -> Counts:
    pairs = counts.reshape(len(counts), -1, 2).sum(axis=2)
    return np.concatenate((pairs, np.zeros_like(pairs)), axis=1)
