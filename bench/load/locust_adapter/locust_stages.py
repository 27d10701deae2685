"""Ctrl-C, SIGTERM and SIGHUP in a process of Locust: the same end at each stage of its life, 130, 143 or 129.

    loading     until Locust fires `init`: the process ends at once
    preparing   until Locust's main greenlet waits for the test: what was opened is closed, then the process ends
    running     Locust's own way out, with its tables; the run is stored first
    ending      a signal is noted; one more ends the process without waiting

The worker processes of `--processes` end with their master, without a word: it has said what there is to say.
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
# A signal that came while something was computed is delivered once the loop runs.
_DELIVERED_SECONDS: Final = 0.001
_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_LIBC: Final = ctypes.CDLL(None)
# One that is forgotten gives the signal its default action back, while the interpreter still cleans up.
_watchers: Final[list[Any]] = []


def _guard_loading() -> None:
    """From here on a signal ends the process with one line, and its forks end when it does."""
    for number in interrupts.SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end_loading)
    parent = os.getpid()
    os.register_at_fork(after_in_child=lambda: _end_with(parent))
    interrupts.let_in()


def _end_loading(number: int, frame: FrameType | None) -> None:
    say(number)
    os._exit(interrupts.exit_code(number))


def _end_with(parent: int) -> None:
    _LIBC.prctl(_DEATH_SIGNAL, int(signal.SIGTERM))
    if os.getppid() != parent:
        os._exit(interrupts.exit_code(signal.SIGTERM))


def say(number: int, note: str = "") -> None:
    """The one line, unless `bertbench run` started this process and says it itself.

    Written past the buffers of Python's streams, which the signal may have found in use.
    """
    if not started_by_bertbench():
        rest = f"; {note}" if note else ""
        os.write(2, f"bertbench: interrupted by {interrupts.name_of(number)}{rest}\n".encode("ascii", "replace"))


class Stages:
    """Follows the process through its life; made in Locust's `init`, in the main greenlet.

    Args:
        environment: Locust's.
        close: ends what was opened for the run.

    Attributes:
        number: the signal that ends the process; None if none came.
        note: what to add to the line on it.
    """

    def __init__(self, environment: Any, close: Callable[[], None]) -> None:
        self._environment = environment
        self._close = close
        self._main = gevent.getcurrent()
        self._forked = isinstance(environment.runner, WorkerRunner) and bool(environment.parsed_options.processes)
        self._prepared = False
        self._waits = False
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

    def prepared(self) -> None:
        """All that is done in `init` is done; to be called last of all."""
        self._prepared = True
        self._environment.events.quitting.add_listener(self._on_quitting)
        self._environment.events.quit.add_listener(self._on_quit)
        if not (isinstance(self._environment.runner, MasterRunner) and self._environment.parsed_options.headless):
            gevent.spawn(self._on_main_waits)

    def _on_main_waits(self, **_: Any) -> None:
        self._waits = True

    def _on_signal(self, number: int) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._at = number, now
            if self._waits or not self._prepared:
                gevent.get_hub().loop.run_callback(self._interrupt)
            else:
                self._give_up()
        elif now - self._at > _SAME_SECONDS:
            self._at = now
            self._close()
            self.leave()

    def _interrupt(self) -> None:
        """Ends what the main greenlet does: `init`, or Locust's wait for the test."""
        if not self._ending:
            self._main.throw(KeyboardInterrupt)

    def _give_up(self) -> None:
        """Before there is a test: nothing is stored yet, workers may wait."""
        self._ending = True
        self._close()
        self._environment.runner.quit()
        self.leave()

    def leave(self) -> None:
        """Ends the process."""
        assert self.number is not None
        if not self._forked:
            say(self.number, self.note)
        os._exit(interrupts.exit_code(self.number))

    def _on_quitting(self, **_: Any) -> None:
        """First of all listeners. Locust's own handler of SIGTERM runs beside the main greenlet, which comes by too."""
        if self.number is not None and gevent.getcurrent() is not self._main:
            Event().wait()
        self._ending = True

    def _set_exit_code(self, **_: Any) -> None:
        """Last of all listeners: whatever the run showed, it was ended before its time."""
        gevent.sleep(_DELIVERED_SECONDS)
        if self.number is not None and not self._forked:
            self._environment.process_exit_code = interrupts.exit_code(self.number)

    def _on_quit(self, **_: Any) -> None:
        """After Locust's tables."""
        gevent.sleep(_DELIVERED_SECONDS)
        # All is said and done; what comes from now on would only replace the exit code.
        for number in interrupts.SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if self.number is not None and not self._forked:
            say(self.number, self.note)
            # Where the signal came after Locust had made up its mind.
            raise SystemExit(interrupts.exit_code(self.number))


# As soon as this is loaded, and only in a process of Locust's command: what a scenario loads takes a while.
if "locust.main" in sys.modules:
    _guard_loading()
