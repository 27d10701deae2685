"""Waits for due times to within tens of microseconds, without busy-waiting.

libev rounds its timers up to whole milliseconds, the unit of `epoll_wait`, so that a request sent after `gevent.sleep`
is half a millisecond late on average. A timerfd (timerfd_create(2)) is a file descriptor of the event loop, with the
precision of the kernel's timers. Where there is none, a timer of the event loop is used.
"""

import ctypes
import errno
import os
import struct
import time
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple

import gevent
from gevent.hub import Waiter

_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK_CLOEXEC: Final = 0o4000 | 0o2000000
# So many waits that were ended, and as many as go on, may be left in a heap.
_ENDED: Final = 64
_SPEC: Final = struct.Struct("@llll")


def _timerfd(libc: Any) -> int:
    """A new timerfd; -1 where the operating system or a sandbox has none.

    Raises:
        OSError: it has them, and this one cannot be opened.
    """
    if not hasattr(libc, "timerfd_create"):
        return -1
    number = int(libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC))
    if number >= 0:
        return number
    error = ctypes.get_errno()
    if error in (errno.ENOSYS, errno.EPERM):
        return -1
    raise OSError(error, f"timerfd_create: {os.strerror(error)}")


class _Wait(NamedTuple):
    """A greenlet's wait for a moment; `number` orders those for the same one."""

    moment: float
    number: int
    waiter: Any
    greenlet: Any


def _latest_first(entry: _Wait) -> tuple[float, int, _Wait]:
    return -entry.moment, -entry.number, entry


class Pacer:
    """Lets greenlets wait for moments.

    Times are those of `time.perf_counter`, which on Linux is CLOCK_MONOTONIC.

    Attributes:
        stopped: whether `stop` was called.
    """

    def __init__(self) -> None:
        # A heap by moment; who began to wait first wakes first. Waits that were ended stay in it until they come first.
        self._waiting: list[_Wait] = []
        self._going: dict[Any, _Wait] = {}
        # The same by the latest moment, from the first time that it is asked for until most of its waits have ended.
        self._latest: list[tuple[float, int, _Wait]] | None = None
        self._numbers = count()
        self.stopped = False
        self._loop = gevent.get_hub().loop
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._fd = _timerfd(self._libc)
        self._watcher: Any = None
        if self._fd >= 0:
            self._watcher = self._loop.io(self._fd, 1)
            self._watcher.start(self._wake)

    def wait_until(self, moment: float) -> bool:
        """Returns True at `moment`, or at once if it has passed; False as soon as `stop` or `release` ends the wait."""
        if moment <= time.perf_counter():
            return True
        if self.stopped:
            return False
        waiter = Waiter()
        entry = _Wait(moment, next(self._numbers), waiter, gevent.getcurrent())
        self._going[entry.greenlet] = entry
        heappush(self._waiting, entry)
        if self._latest is not None:
            heappush(self._latest, _latest_first(entry))
        if self._waiting[0] is entry:
            self._arm()
        try:
            return bool(waiter.get())
        except BaseException:
            # The greenlet was killed.
            if self._is_going(entry):
                self._remove(entry)
            raise

    def pause(self, seconds: float) -> bool:
        """Waits for `seconds`; False as soon as `stop` or `release` ends the wait."""
        return self.wait_until(time.perf_counter() + seconds)

    def release(self, greenlet: Any) -> None:
        """Ends the wait of a greenlet, if it waits."""
        if (entry := self._going.get(greenlet)) is not None:
            self._end_wait(entry)

    def release_latest(self, after: float) -> None:
        """Ends the wait for the latest moment, if that is later than `after`."""
        if self.stopped:
            return
        if self._latest is None:
            self._latest = [_latest_first(entry) for entry in self._going.values()]
            heapify(self._latest)
        while self._latest and not self._is_going(self._latest[0][-1]):
            heappop(self._latest)
        if self._latest and self._latest[0][-1].moment > after:
            self._end_wait(heappop(self._latest)[-1])

    def stop(self) -> None:
        """Ends all waits, present and future."""
        self.stopped = True
        if self._waiting:
            # From the event loop: a waiter may only be switched to from there.
            self._loop.run_callback(self._end_waits)

    def close(self) -> None:
        """Frees the timer; no greenlet may wait."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _wake(self) -> None:
        if self._fd >= 0:
            try:
                os.read(self._fd, 8)
            except BlockingIOError:
                return
        now = time.perf_counter()
        while self._waiting and self._waiting[0].moment <= now:
            self._take_first().waiter.switch(True)
        if self._waiting:
            self._arm()

    def _end_wait(self, entry: _Wait) -> None:
        self._remove(entry)
        self._loop.run_callback(entry.waiter.switch, False)

    def _is_going(self, entry: _Wait) -> bool:
        return self._going.get(entry.greenlet) is entry

    def _take_first(self) -> _Wait:
        first = self._waiting[0]
        self._remove(first)
        return first

    def _remove(self, entry: _Wait) -> None:
        """Forgets a wait that is going on; the first one in the heap goes on afterwards too."""
        del self._going[entry.greenlet]
        while self._waiting and not self._is_going(self._waiting[0]):
            heappop(self._waiting)
        most = 2 * len(self._going) + _ENDED
        if len(self._waiting) > most:
            self._waiting = [*self._going.values()]
            heapify(self._waiting)
        if self._latest is not None and len(self._latest) > most:
            self._latest = None

    def _end_waits(self) -> None:
        while self._waiting:
            wait = self._take_first()
            wait.waiter.switch(wait.moment <= time.perf_counter())

    def _arm(self) -> None:
        """Sets the timer to the first moment.

        It gets the time from now on: a process may see another clock than the kernel's (libfaketime).
        """
        seconds = self._waiting[0].moment - time.perf_counter()
        if self._fd < 0:
            if self._watcher is not None:
                self._watcher.stop()
                self._watcher.close()
            self._watcher = self._loop.timer(max(seconds, 0.0))
            self._watcher.start(self._wake, update=True)
            return
        nanoseconds = max(int(seconds * 1e9), 1)
        spec = _SPEC.pack(0, 0, nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
        if self._libc.timerfd_settime(self._fd, 0, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
