"""Jobs that wait for a thread."""

import os
from collections import deque
from collections.abc import Callable


class JobQueue:
    """Jobs in their order, and a descriptor that an epoll can wait on.

    Attributes:
        number: the descriptor, readable while there are jobs.
    """

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self.number = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_NONBLOCK)

    def put(self, job: Callable[[], None]) -> None:
        """Adds a job."""
        self._jobs.append(job)
        os.eventfd_write(self.number, 1)

    def run_next(self) -> None:
        """Runs the oldest job, if there is one."""
        try:
            os.eventfd_read(self.number)
        except BlockingIOError:
            return
        self._jobs.popleft()()
