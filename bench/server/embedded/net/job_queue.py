"""Jobs that wait for a thread."""

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from bench.server.embedded.base.status import PrintedFaults

Work = Callable[[], None]

# Brief jobs that a thread runs before it looks at others.
_BRIEF_PER_TURN: Final = 16


class JobQueue:
    """Jobs in their order, and a descriptor that an epoll can wait on.

    Brief ones run one at a time: more of them gain nothing, and their threads would keep others from Python's lock.

    Attributes:
        number: the descriptor, readable while there are jobs.
    """

    def __init__(self) -> None:
        self._jobs: deque[Work] = deque()
        self._brief: deque[Work] = deque()
        # Held by the job that runs the brief ones.
        self._running_brief = threading.Lock()
        self.number = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)

    def put(self, job: Work, brief: bool = False) -> None:
        """Adds a job; a brief one takes less than a millisecond, and must not raise."""
        if not brief:
            self._jobs.append(job)
            os.eventfd_write(self.number, 1)
            return
        self._brief.append(job)
        if self._running_brief.acquire(blocking=False):
            self.put(self._run_brief)

    def run_next(self) -> None:
        """Runs the oldest job, if there is one."""
        try:
            os.eventfd_read(self.number)
        except BlockingIOError:
            return
        self._jobs.popleft()()

    def _run_brief(self) -> None:
        for _ in range(_BRIEF_PER_TURN):
            if not self._brief:
                break
            with PrintedFaults():
                self._brief.popleft()()
        if self._brief:
            self.put(self._run_brief)
            return
        self._running_brief.release()
        # One that was added before the release.
        if self._brief and self._running_brief.acquire(blocking=False):
            self.put(self._run_brief)
