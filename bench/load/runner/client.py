"""The client of a runner process, which does runs one after the other."""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench.core import interrupts
from bench.core.errors import BenchError, ExitCode, InconclusiveError, TargetError, UsageError, WrongAnswerError
from bench.load.runner.protocol import Reply
from bench.load.setup.run_spec import RunSpec

_TICK: Final = 0.25
_END_SECONDS: Final = 20.0

_ERRORS: Final[dict[int, type[BenchError]]] = {
    ExitCode.REGRESSION: WrongAnswerError,
    ExitCode.USAGE: UsageError,
    ExitCode.INCONCLUSIVE: InconclusiveError,
    ExitCode.TARGET_FAILED: TargetError,
}


class Runner:
    """Requests runs from the process, one at a time; created by `open_runner`."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self._child.pid

    def run(self, spec: RunSpec, tick: Callable[[], None] = lambda: None) -> Path:
        """One run.

        Args:
            spec: the run; its servers are ready.
            tick: called a few times per second during the run.

        Returns:
            Its folder, finished.

        Raises:
            BenchError: the run cannot start, or the process ended.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(spec.to_json() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error
        reply = Reply.from_line(self._line(tick))
        if reply.error:
            raise _ERRORS.get(reply.code, TargetError)(reply.error)
        return Path(reply.folder)

    def _line(self, tick: Callable[[], None]) -> bytes:
        assert self._child.stdout is not None
        while b"\n" not in self._buffer:
            tick()
            if not select.select([self._child.stdout], [], [], _TICK)[0]:
                continue
            data = os.read(self._child.stdout.fileno(), 1 << 16)
            if not data:
                raise self._gone()
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _gone(self) -> TargetError:
        how = interrupts.how_it_ended(self._child.wait())
        return TargetError(f"the load generator ended by itself ({how}); run again")


@contextlib.contextmanager
def open_runner() -> Iterator[Runner]:
    """Starts a runner process, and ends it at exit; a run in progress is then stored as stopped early."""
    command = [sys.executable, "-m", "bench.load.runner.main"]
    with contextlib.ExitStack() as stack:
        with interrupts.held():
            # In a separate session: Ctrl-C in the terminal reaches only this process, which closes the child's input.
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            stack.callback(_end, child)
        yield Runner(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
