"""Counts of events by second, in columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROOM = 64


class SecondTable:
    """Numbers of events, by second since the run began and by column.

    Args:
        columns: names of the columns.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._index = {name: index for index, name in enumerate(columns)}
        self._counts = np.zeros((_ROOM, len(columns)), np.int64)
        self.length = 0

    def add(self, name: str, seconds: NDArray[np.int64], codes: NDArray[np.int64] | None = None) -> None:
        """Counts one event in each of `seconds` `[N]`, each 0 or more.

        Args:
            name: the column.
            seconds: when.
            codes: how many columns after `name` each event is counted, `[N]`; None for 0.
        """
        if not seconds.size:
            return
        low, high = int(seconds.min()), int(seconds.max()) + 1
        self._reserve(high)
        width = self._counts.shape[1]
        keys = (seconds - low) * width + self._index[name] + (0 if codes is None else codes)
        self._counts[low:high] += np.bincount(keys, minlength=(high - low) * width).reshape(-1, width)

    def merge(self, other: "SecondTable") -> None:
        """Adds the counts of another table of the same columns."""
        self._reserve(other.length)
        self._counts[: other.length] += other._counts[: other.length]

    def column(self, name: str, begins: int = 0, ends: int | None = None) -> NDArray[np.int64]:
        """The counts of seconds `begins` to before `ends`, of all by default; 0 where nothing was counted."""
        ends = self.length if ends is None else ends
        found = self._counts[begins : min(ends, self.length), self._index[name]]
        return np.pad(found, (0, max(ends - begins - found.size, 0)))

    def total(self, name: str) -> int:
        """The count of all seconds."""
        return int(self._counts[: self.length, self._index[name]].sum())

    def _reserve(self, seconds: int) -> None:
        rows = self._counts.shape[0]
        if seconds > rows:
            more = max(2 * rows, seconds) - rows
            self._counts = np.concatenate((self._counts, np.zeros((more, self._counts.shape[1]), np.int64)))
        self.length = max(self.length, seconds)
