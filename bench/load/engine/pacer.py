"""Waits for due times to within tens of microseconds, without busy-waiting.

libev rounds its timers up to whole milliseconds, the unit of `epoll_wait`, so that a request sent after `gevent.sleep`
is half a millisecond late on average. A timerfd (timerfd_create(2)) is a file descriptor of the event loop, with the
precision of the kernel's timers. Where there is none, the event loop's own timers are used.
"""

import ctypes
import errno
import os
import struct
import time
from collections import deque
from typing import Any, Final

import gevent
from gevent.event import Event
from gevent.hub import Waiter

_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK_CLOEXEC: Final = 0o4000 | 0o2000000
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


class Pacer:
    """Lets greenlets wait for moments, which must not decrease from one call to the next.

    Times are those of `time.perf_counter`, which on Linux is CLOCK_MONOTONIC.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Any]] = deque()
        self._stopped = Event()
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._fd = _timerfd(self._libc)
        self._watcher: Any = None
        if self._fd >= 0:
            self._watcher = gevent.get_hub().loop.io(self._fd, 1)
            self._watcher.start(self._wake)

    def wait_until(self, moment: float) -> bool:
        """Returns True at `moment`, or at once if it has passed; False as soon as `stop` is called."""
        if moment <= time.perf_counter():
            return True
        if self._stopped.is_set():
            return False
        if self._watcher is None:
            return self.pause(moment - time.perf_counter())
        waiter = Waiter()
        self._waiting.append((moment, waiter))
        if len(self._waiting) == 1:
            self._arm()
        return bool(waiter.get())

    def pause(self, seconds: float) -> bool:
        """Waits for `seconds`, to the precision of the event loop; False as soon as `stop` is called."""
        return not self._stopped.wait(seconds)

    def stop(self) -> None:
        """Ends all waits, present and future."""
        self._stopped.set()
        if self._watcher is not None and self._waiting:
            # From the event loop: a waiter may only be switched to from there.
            gevent.get_hub().loop.run_callback(self._end_waits)

    def close(self) -> None:
        """Frees the timer; no greenlet may wait."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            os.close(self._fd)

    def _wake(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        now = time.perf_counter()
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].switch(True)
        if self._waiting:
            self._arm()

    def _end_waits(self) -> None:
        while self._waiting:
            moment, waiter = self._waiting.popleft()
            waiter.switch(moment <= time.perf_counter())

    def _arm(self) -> None:
        """Sets the timer to the first moment in the queue.

        It gets the time from now on: a process may see another clock than the kernel's (libfaketime).
        """
        nanoseconds = max(int((self._waiting[0][0] - time.perf_counter()) * 1e9), 1)
        spec = _SPEC.pack(0, 0, nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
        if self._libc.timerfd_settime(self._fd, 0, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
