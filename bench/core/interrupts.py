"""Signals that end a command: one exception in the main thread, the same exit code everywhere, cleaning up undisturbed.

The first signal raises `Interrupted` in the main thread, so that context managers end in order; it is raised again
where it was lost, as in a callback of C code that drops what Python raises. Others within a second are the same one
sent twice, as `timeout` does. A later one kills the processes that were started here, so that nothing is waited for
any longer; one more ends the process at once.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Final

from bench.core.errors import BenchError, ExitCode, TargetError, exit_code_of, line_of_error

SIGNALS: Final = tuple(one for one in signal.Signals if one.name in ("SIGINT", "SIGTERM", "SIGHUP"))
"""What ends a command: Ctrl-C, `kill`, a terminal that is closed."""

# PR_SET_PDEATHSIG, prctl(2): the process gets SIGTERM when its parent dies, even by SIGKILL; it exits at once if the
# parent has died already. Outside Linux only a parent that ends in order ends it.
_LAUNCHER: Final = """import ctypes, os, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
prctl and prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"cannot run {sys.argv[2]}: {error.strerror}")
"""

_SAME_SECONDS: Final = 1.0
# So long after an interrupt was raised it is looked at whether something handles it.
_LOOK_SECONDS: Final = 0.1


class Interrupted(KeyboardInterrupt):
    """A signal ended the command.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Received:
    """The signals that this process has received."""

    number: int | None = None
    at: float = 0.0
    times: int = 0
    held: int = 0
    pending: bool = False
    accepted: bool = False
    over: bool = False
    # Of SIGALRM, before the first interrupt.
    alarm: Any = None
    timer: tuple[float, float] = (0.0, 0.0)


_received: Final = _Received()


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Blocks signals in a process that is started inside, until it calls `let_in`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_in() -> None:
    """Unblocks the signals that `waiting` has blocked."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def over() -> None:
    """Ignores signals from now on: the command has ended and reported its result.

    Raises:
        Interrupted: a signal came, and its interrupt was lost.
    """
    if _received.number is not None and not _received.accepted:
        raise Interrupted(_received.number)
    _received.over = True


def received() -> int | None:
    """The signal that ends the running command; None if there was none."""
    return _received.number


def accept() -> int:
    """Says that the caller, who has caught an interrupt, ends the command in order; the signal behind the interrupt."""
    _received.accepted = True
    return signal.SIGINT if _received.number is None else _received.number


def exit_code(number: int) -> int:
    """128 and the signal's number, as in shells: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number


def name_of(number: int) -> str:
    """`SIGINT`; the number of a signal without a name on this system."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def signal_of(error: KeyboardInterrupt) -> int:
    """The number of the signal behind an interrupt."""
    if (number := received()) is not None:
        return number
    return error.number if isinstance(error, Interrupted) else signal.SIGINT


def line_of(error: KeyboardInterrupt) -> str:
    """The line about an interrupt, with its notes."""
    return "; ".join([f"bertbench: interrupted by {name_of(signal_of(error))}", *getattr(error, "__notes__", ())])


def ending(error: KeyboardInterrupt | BenchError | OSError) -> tuple[int, str]:
    """The exit code of a command that a signal or an error ends, and its line on standard error."""
    if isinstance(error, BenchError | OSError):
        if (number := received()) is None:
            return exit_code_of(error), line_of_error(error)
        # A signal came before, and has brought the error about.
        error = Interrupted(number)
    return exit_code(signal_of(error)), line_of(error)


def how_it_ended(status: int) -> str:
    """A process's return code for people: `exit status 1`, `killed by SIGKILL (out of memory?)`."""
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {name_of(-status)}" + (" (out of memory?)" if status == -signal.SIGKILL else "")


def check() -> None:
    """For loops of other threads: ends them too once the main thread is interrupted.

    Raises:
        Interrupted: it is.
    """
    if _received.number is not None and threading.current_thread() is not threading.main_thread():
        raise Interrupted(_received.number)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Defers a signal that arrives inside to the end, for steps that must not be interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.held += 1
    try:
        yield
    finally:
        _received.held -= 1
        if not _received.held and _received.pending:
            _raise()


@contextlib.contextmanager
def noting(note: Callable[[], str]) -> Iterator[None]:
    """Adds `note()`, what was saved and how to resume, to the message of an interrupt; "" adds nothing."""
    try:
        yield
    except KeyboardInterrupt as error:
        if text := note():
            error.add_note(text)
        raise


@contextlib.contextmanager
def watched(to_the_end: bool = False) -> Iterator[None]:
    """Signals end the commands inside as `Interrupted`; without effect in other threads than the main one.

    Args:
        to_the_end: the process ends with what is inside, so that signals are answered until then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.number, _received.times, _received.held = None, 0, 0
    _received.pending, _received.accepted, _received.over, _received.alarm = False, False, False, None
    # `nohup` ignores SIGHUP.
    numbers = [one for one in SIGNALS if one.name != "SIGHUP" or signal.getsignal(one) != signal.SIG_IGN]
    before = {number: signal.signal(number, _on_signal) for number in numbers}
    hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = _on_unraisable, _on_thread_exception
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks
        if _received.alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, *_received.timer)
            before[signal.SIGALRM] = _received.alarm
        for number, handler in before.items() if not to_the_end else ():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _raise() -> None:
    _received.pending = False
    assert _received.number is not None
    alarm = signal.signal(signal.SIGALRM, _on_alarm)
    timer = signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)
    if _received.alarm is None:
        _received.alarm, _received.timer = alarm, timer
    raise Interrupted(_received.number)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _received.over:
        return
    if _received.number is None:
        _received.number, _received.at = number, time.monotonic()
        _hold_or_raise()
    elif time.monotonic() - _received.at > _SAME_SECONDS:
        _received.at = time.monotonic()
        _received.times += 1
        if _received.times > 1:
            os._exit(exit_code(_received.number))
        _kill_children()


def _hold_or_raise() -> None:
    if _received.held:
        _received.pending = True
    else:
        _raise()


def _on_alarm(number: int, frame: FrameType | None) -> None:
    """Raises an interrupt again that nothing handles: C code or a destructor has dropped it."""
    if _received.number is None or _received.accepted or _received.over:
        return
    if _is_handled(sys.exc_info()[1]):
        signal.setitimer(signal.ITIMER_REAL, _LOOK_SECONDS)
    else:
        _hold_or_raise()


def _is_handled(error: BaseException | None) -> bool:
    """Whether what is being handled is an interrupt, or came up while one was handled."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return error is not None


def _kill_children() -> None:
    # Here and not above: hardly any command ever needs it.
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def _on_unraisable(unraisable: Any) -> None:
    """Suppresses errors that an interrupt causes in destructors and callbacks of C."""
    if _received.number is None:
        sys.__unraisablehook__(unraisable)


def _on_thread_exception(found: Any) -> None:
    """Suppresses errors of threads whose connections an interrupt has closed."""
    if _received.number is None:
        threading.__excepthook__(found)


def exit_code_of_child(status: int, name: str) -> ExitCode:
    """The exit code of the command after a child process.

    Args:
        status: return code of the process; negative after a signal.
        name: of the process in messages.

    Raises:
        TargetError: it was killed, or ended with an unknown exit code.
        Interrupted: a signal ended it.
    """
    try:
        return ExitCode(status)
    except ValueError:
        pass
    for number in SIGNALS:
        if status == exit_code(number):
            raise Interrupted(number)
    raise TargetError(f"the {name} ended by itself ({how_it_ended(status)}); run again")


def launched(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` as a process that ends with this one."""
    return [sys.executable, "-c", _LAUNCHER, str(os.getpid()), *command]
