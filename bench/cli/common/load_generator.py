"""Locust processes that a command starts for its runs: their output, their figures and how they end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Final, TextIO

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.live_view import LiveView
from bench.core import interrupts
from bench.core.logs import child_log_environment
from bench.core.output import legible
from bench.load.live.snapshot_pipe import read_snapshots
from bench.load.setup.catalog import scenario_path
from bench.load.setup.run_spec import RunSpec
from bench.server.running import free_ports

# A child of the load generator that outlives it may keep its standard error open.
_ERRORS_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Driven:
    """How a run of the load generator ended.

    Args:
        code: its exit code, that of a signal too.
        line: its last line on standard error about that; "" without one.
    """

    code: int
    line: str


def drive_once(
    spec: RunSpec,
    out: CommandOutput | None,
    err: TextIO,
    processes: int | None = None,
    view: LiveView | None = None,
) -> Driven:
    """Runs Locust once.

    Args:
        spec: the run; of a scenario of `SCENARIOS`.
        out: gets the output of Locust; None drops it.
        err: gets its errors and log.
        processes: load-generating processes; None is Locust's own process alone.
        view: shows the newest figures each second; None if nobody looks.

    Raises:
        TargetError: the process was killed, or ended with an unknown exit code.
        Interrupted: a signal ended the process itself.
    """
    file = str(scenario_path(spec.scenario))
    command = [sys.executable, "-m", "locust", "-f", file, "--headless", "--skip-log-setup", "--only-summary"]
    if processes is not None:
        # Not Locust's default port, which a second run would use too.
        (port,) = map(str, free_ports(1))
        command += ["--processes", str(processes), "--master-bind-port", port, "--master-port", port]
    stack = contextlib.ExitStack()
    with interrupts.held(), interrupts.waiting():
        descriptors = stack.enter_context(_shown(view)) if view is not None else ()
        if descriptors:
            spec = replace(spec, live_fd=descriptors[0])
        # In its own session it gets one signal from here instead of a second one from the terminal.
        child = subprocess.Popen(
            interrupts.launched(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=spec.child_environment() | child_log_environment(),
            start_new_session=True,
            pass_fds=descriptors,
        )
        for descriptor in descriptors:
            os.close(descriptor)
        assert child.stderr is not None
        errors = _Errors(child.stderr, partial(_print, err, view))
        errors.start()
        stack.callback(errors.finish)
        stack.callback(_end, child, out)
    with stack:
        code = interrupts.exit_code_of_child(_listen(child, out, view), "load generator")
        errors.finish()
        return Driven(code, errors.last)


@contextlib.contextmanager
def _shown(view: LiveView) -> Iterator[tuple[int, ...]]:
    """A pipe whose snapshots are shown: the end for the child, which the caller closes after the start."""
    reading, writing = os.pipe()

    def show() -> None:
        for snapshot in read_snapshots(reading):
            view.show(snapshot)

    thread = threading.Thread(target=show, name="figures of the load generator", daemon=True)
    thread.start()
    yield (writing,)
    thread.join(_ERRORS_SECONDS)


def _print(stream: TextIO | CommandOutput, view: LiveView | None, text: str) -> None:
    """Prints a line, above the view if there is one."""
    text = legible(text)
    if view is not None:
        view.print_line(text, stream)
    else:
        print(text, file=stream, flush=True)


class _Errors(threading.Thread):
    """Passes on what a process writes to its standard error.

    Args:
        source: the process's stream.
        write: prints a line.
    """

    def __init__(self, source: IO[str], write: Callable[[str], None]) -> None:
        super().__init__(name="errors of the load generator", daemon=True)
        self._source = source
        self._write = write
        self.last = ""
        """The last line about an error."""

    def run(self) -> None:
        """Works until the process and its children have closed the stream."""
        for line in self._source:
            with contextlib.suppress(OSError, ValueError):
                self._write(line.rstrip("\n"))
            if line.startswith("bertbench: "):
                self.last = line.rstrip("\n")

    def finish(self) -> None:
        """Waits for the last lines of a process that has ended."""
        self.join(_ERRORS_SECONDS)
        if not self.is_alive():
            self._source.close()


def _listen(child: "subprocess.Popen[str]", out: CommandOutput | None, view: LiveView | None = None) -> int:
    """Prints the output of the process, above the view if there is one; returns its return code."""
    assert child.stdout is not None
    for line in child.stdout:
        if out is not None:
            _print(out, view, f"  {line.rstrip()}")
    return child.wait()


def _end(child: "subprocess.Popen[str]", out: CommandOutput | None) -> None:
    """Interrupts a process that is still running, which then stores its run, and prints its output."""
    assert child.stdout is not None
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
        try:
            _listen(child, out)
        except BrokenPipeError:
            _listen(child, None)
    child.stdout.close()
    child.wait()
