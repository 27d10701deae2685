"""Which threads of a server wait for events."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Polling:
    """Lets few threads wait for events, and others only while all of these run jobs.

    The system gives an event to the thread that has waited the shortest. If all threads waited, the jobs of one client
    would go to whichever thread was the last to finish when there were many.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Threads that wait for an event or read one.
        self._polling = 0
        # One lock for each other thread, held until its turn comes; the one used last is at the end.
        self._reserve: list[threading.Lock] = []
        self._ended = False

    def begin(self) -> None:
        """A thread starts to wait for events."""
        with self._lock:
            self._polling += 1

    def stand_by(self) -> None:
        """Holds a thread of the reserve that would wait for an event, until no other thread does."""
        with self._lock:
            if self._polling == 1 or self._ended:
                return
            self._polling -= 1
            turn = threading.Lock()
            turn.acquire()
            self._reserve.append(turn)
        turn.acquire()

    @contextmanager
    def job(self) -> Iterator[None]:
        """A thread runs a job; if no other waits for events, one of the reserve does."""
        turn = None
        with self._lock:
            self._polling -= 1
            if not self._polling and self._reserve:
                turn = self._called()
        if turn is not None:
            turn.release()
        try:
            yield
        finally:
            self.begin()

    def end(self) -> None:
        """Holds no thread any longer."""
        with self._lock:
            self._ended = True
            turns = [self._called() for _ in range(len(self._reserve))]
        for turn in turns:
            turn.release()

    def _called(self) -> threading.Lock:
        """The next thread of the reserve, which polls from now on; needs the lock."""
        self._polling += 1
        return self._reserve.pop()
