"""Ctrl-C, SIGTERM and SIGHUP in a Locust process end every stage of its life with exit code 130, 143 or 129.

    loading     until Locust fires `init`: the process ends at once
    preparing   until Locust's main greenlet waits for the test: resources are closed, then the process ends
    running     Locust shuts down as usual, with its tables; the run is stored first
    ending      the first signal is noted; a second one ends the process without waiting

The worker processes of `--processes` end with their master and print nothing: it reports for all.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import gevent
from gevent.event import Event
from locust.runners import MasterRunner, WorkerRunner

from bench.core import interrupts
from bench.load.setup.run_context import started_by_bertbench

_SAME_SECONDS: Final = 1.0
# A signal that arrived during a computation is delivered once the loop runs.
_DELIVERED_SECONDS: Final = 0.001
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_LIBC: Final = ctypes.CDLL(None)
# Referenced here: a collected watcher restores the signal's default action while the interpreter cleans up.
_watchers: Final[list[Any]] = []


def _guard_loading() -> None:
    """Makes a signal end the process with one line from now on, and its forks end with it."""
    for number in interrupts.SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end_loading)
    parent = os.getpid()
    os.register_at_fork(after_in_child=lambda: _end_with(parent))
    interrupts.let_in()


def _end_loading(number: int, frame: FrameType | None) -> None:
    report_signal(number)
    os._exit(interrupts.exit_code(number))


def _end_with(parent: int) -> None:
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_DEATH_SIGNAL, int(signal.SIGTERM))
    if os.getppid() != parent:
        os._exit(interrupts.exit_code(signal.SIGTERM))


def report_signal(number: int, note: str = "") -> None:
    """Prints the one line, unless `bertbench run` started this process and prints it itself.

    It bypasses the buffers of Python's streams, which the signal may have interrupted.
    """
    if not started_by_bertbench():
        rest = f"; {note}" if note else ""
        os.write(2, f"bertbench: interrupted by {interrupts.name_of(number)}{rest}\n".encode("ascii", "replace"))


class Stages:
    """Tracks the stage of the process; created in Locust's `init`, in the main greenlet.

    Args:
        environment: Locust's.
        close: closes the run's resources.

    Attributes:
        number: the signal that ends the process; None without one.
        note: addition to the line on it.
    """

    def __init__(self, environment: Any, close: Callable[[], None]) -> None:
        self._environment = environment
        self._close = close
        self._main = gevent.getcurrent()
        self._forked = isinstance(environment.runner, WorkerRunner) and bool(environment.parsed_options.processes)
        self._initialized = False
        self._main_waits = False
        self._ending = False
        self._at = 0.0
        self.number: int | None = None
        self.note = ""
        events = environment.events
        events.quitting.add_listener(self._set_exit_code)
        if isinstance(environment.runner, MasterRunner):
            events.test_start.add_listener(self._on_main_waits)
        for number in interrupts.SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                _watchers.append(gevent.signal_handler(number, self._on_signal, number))

    def initialized(self) -> None:
        """Marks the end of `init`; to be called last of all."""
        self._initialized = True
        self._environment.events.quitting.add_listener(self._on_quitting)
        self._environment.events.quit.add_listener(self._on_quit)
        if not (isinstance(self._environment.runner, MasterRunner) and self._environment.parsed_options.headless):
            gevent.spawn(self._on_main_waits)

    def _on_main_waits(self, **_: Any) -> None:
        self._main_waits = True

    def _on_signal(self, number: int) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._at = number, now
            if self._main_waits or not self._initialized:
                gevent.get_hub().loop.run_callback(self._interrupt)
            else:
                self._end_before_test()
        elif now - self._at > _SAME_SECONDS:
            self._at = now
            self._close()
            self.leave()

    def _interrupt(self) -> None:
        """Interrupts the main greenlet, in `init` or in Locust's wait for the test."""
        if not self._ending:
            self._main.throw(KeyboardInterrupt)

    def _end_before_test(self) -> None:
        """Ends the process and its waiting workers when no test has started, so that nothing needs storing."""
        self._ending = True
        self._close()
        self._environment.runner.quit()
        self.leave()

    def leave(self) -> None:
        """Ends the process."""
        assert self.number is not None
        if not self._forked:
            report_signal(self.number, self.note)
        os._exit(interrupts.exit_code(self.number))

    def _on_quitting(self, **_: Any) -> None:
        """The first listener. Locust's own handler of SIGTERM runs in another greenlet; the main one wins."""
        if self.number is not None and gevent.getcurrent() is not self._main:
            Event().wait()
        self._ending = True

    def _set_exit_code(self, **_: Any) -> None:
        """The last listener: the signal determines the exit code, whatever the outcome of the run."""
        gevent.sleep(_DELIVERED_SECONDS)
        if self.number is not None and not self._forked:
            self._environment.process_exit_code = interrupts.exit_code(self.number)

    def _on_quit(self, **_: Any) -> None:
        """Runs after Locust's tables."""
        gevent.sleep(_DELIVERED_SECONDS)
        # Everything is printed; further signals would only replace the exit code.
        for number in interrupts.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if self.number is not None and not self._forked:
            report_signal(self.number, self.note)
            # For a signal after Locust had determined the exit code.
            raise SystemExit(interrupts.exit_code(self.number))


# At import, and only in a process of the locust command, since a scenario's imports take a while.
if "locust.main" in sys.modules:
    _guard_loading()
