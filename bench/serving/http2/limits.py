"""What a client may cost a server on one connection, beside the requests that it makes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.serving.http2.frames import (
    CONTINUATION,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    H2Error,
)

# Frames that a client may send at once and, beyond those, in a second, without a request that is complete.
_FRAMES, _FRAMES_PER_SECOND = 10_000, 200.0
# A client whose deadlines all pass resets as many requests as it makes; only more than a server answers are a flood.
_RESETS, _RESETS_PER_SECOND = 20_000, 5_000.0
# A SETTINGS frame may change the windows of all streams.
_SETTINGS_COST: Final = 20
# Data in smaller frames, except in a request's last one, costs more than it brings.
_SMALL_DATA: Final = 16
# Headers of a block beyond those of a call with metadata: each takes some microseconds and three bytes.
_MANY_HEADERS, _COST_OF_HEADER = 64, 0.25
# Frames that a client sends for a request, and for a frame of an answer that it reads.
_EARNED_BY_REQUEST, _EARNED_BY_DATA = 8, 3
_IGNORED_COST = 0.25


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of one connection.

    Args:
        streams: requests at a time, also those that are reset but still run; announced to the client.
        held_bytes: bytes of all requests that are incomplete or not answered.
    """

    streams: int = 1000
    held_bytes: int = 64 << 20


class Allowance:
    """Something that a client may do so often at once, and so often in a second beyond that.

    Args:
        most: how often at once.
        per_second: how often in a second.
        what: its name in errors.
        clock: seconds.
    """

    def __init__(self, most: float, per_second: float, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = self._left = most
        self._per_second = per_second
        self._what = what
        self._clock = clock
        self._last = clock()

    def spend(self, amount: float) -> None:
        """Takes an amount.

        Raises:
            H2Error: nothing is left.
        """
        self._left -= amount
        if self._left < 0:
            now = self._clock()
            self._left = min(self._left + (now - self._last) * self._per_second, self._most)
            self._last = now
            if self._left < 0:
                raise H2Error(ENHANCE_YOUR_CALM, f"too many {self._what}")

    def earn(self, amount: float) -> None:
        """Adds an amount."""
        self._left = min(self._left + amount, self._most)


class FrameBudget:
    """The frames of one client that are not part of a request."""

    def __init__(self) -> None:
        self._frames = Allowance(_FRAMES, _FRAMES_PER_SECOND, "frames without a request")
        self._resets = Allowance(_RESETS, _RESETS_PER_SECOND, "resets")
        self._data_sent = 0

    def spend(self, kind: int, flags: int, size: int) -> None:
        """Counts a frame.

        Raises:
            H2Error: there were too many.
        """
        if kind == DATA:
            if size < _SMALL_DATA and not flags & END_STREAM:
                self._frames.spend(1)
        elif kind == RST_STREAM:
            self._resets.spend(1)
        elif kind not in (HEADERS, CONTINUATION):
            self._frames.spend(_SETTINGS_COST if kind == SETTINGS else 1)

    def decoded(self, headers: int) -> None:
        """Counts the headers of a block; raises as `spend`."""
        if headers > _MANY_HEADERS:
            self._frames.spend((headers - _MANY_HEADERS) * _COST_OF_HEADER)

    def ignored(self, size: int) -> None:
        """Counts data of a request that is over, beyond `spend`: a client learns late of that; raises as `spend`."""
        if size >= _SMALL_DATA:
            self._frames.spend(_IGNORED_COST)

    def refused(self) -> None:
        """Counts a request above the limit of streams; raises as `spend`."""
        self._frames.spend(1)

    def completed(self) -> None:
        """Counts a complete request."""
        self._frames.earn(_EARNED_BY_REQUEST)

    def sent(self, data_frames: int) -> None:
        """Counts the frames of data sent so far."""
        self._frames.earn(_EARNED_BY_DATA * (data_frames - self._data_sent))
        self._data_sent = data_frames
