"""The progress of a long command: a bar on a terminal, a line every few seconds elsewhere."""

import contextlib
import io
import threading
import time
from typing import Any, Final, Protocol, Self, TextIO, cast

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TextColumn
from rich.progress_bar import ProgressBar

from bench.cli.common.time_left import TimeLeft
from bench.core import interrupts
from bench.core.output import legible
from bench.core.units import format_percent, format_seconds

EVERY: Final = 5.0
"""Seconds between lines; a command that takes long writes one each twentieth of its time so far."""
THREAD: Final = "progress lines"


class Lines(Protocol):
    """Where lines go that stay."""

    def write(self, text: str, /) -> object:
        """Writes text."""

    def flush(self) -> None:
        """Writes it out."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""


class ProgressDisplay:
    """What a command is doing and how far it is. Nothing is written before `__enter__` and after `__exit__`.

    Args:
        err: the bar or the lines go there; what cannot be written is dropped.
        name: what is in progress.
        total: all there is to do, in any unit; seconds with `limit`; None if unknown.
        limit: `at most` or `about`: `total` is a time, and the bar follows the clock.
        state: what is being done.
    """

    def __init__(self, err: TextIO, name: str, total: float | None, limit: str = "", state: str = "") -> None:
        self._stream = LenientStream(err)
        # Console alone honours NO_COLOR and TERM=dumb; FORCE_COLOR would make a terminal of a file.
        self._console = Console(
            file=cast(TextIO, self._stream), force_terminal=err.isatty(), highlight=False, markup=False, soft_wrap=True
        )
        self._limit = limit
        self._bar = Progress(
            TextColumn(name, markup=False),
            _BarColumn(bool(limit)),
            _PositionColumn(limit),
            console=self._console,
            disable=not self._console.is_terminal or self._console.is_dumb_terminal,
            transient=True,
        )
        self._left = TimeLeft()
        self._bar.add_task(name, total=total, state=state, left=self._left)
        (self._task,) = self._bar.tasks
        self._over = threading.Event()
        self._lines = threading.Thread(target=self._write_lines, name=THREAD, daemon=True)

    def __enter__(self) -> Self:
        with interrupts.held():
            if self._bar.disable:
                self._lines.start()
            else:
                self._bar.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._over.set()
        if self._bar.disable:
            self._lines.join()
        else:
            with interrupts.held():
                self._bar.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since the display was made."""
        return self._task.elapsed or 0.0

    def show(self, state: str) -> None:
        """Notes what is being done."""
        self._bar.update(self._task.id, state=state)

    def reach(self, completed: float, state: str, total: float | None = None) -> None:
        """Notes that `completed` of the total is done; `total` replaces the former one."""
        self._left.reach(completed, time.monotonic())
        self._bar.update(self._task.id, completed=completed, total=total, state=state)

    def extend(self, more: float) -> None:
        """There is so much more to do than was expected."""
        self._bar.update(self._task.id, total=(self._task.total or 0.0) + more)

    def print_line(self, text: str, out: "Lines | None" = None) -> None:
        """Writes a line that stays, above the bar.

        Args:
            text: the line.
            out: where it goes; None is where the bar is.

        Raises:
            OSError: `out` cannot be written.
        """
        if out is None or (not self._bar.disable and out.isatty()):
            self._console.print(legible(text))
        else:
            print(legible(text), file=out, flush=True)

    def _write_lines(self) -> None:
        while not self._over.wait(max(EVERY, self.elapsed / 20)):
            print(f"{self._task.description}: {_position(self._task, self._limit)}", file=self._stream, flush=True)


def _position(task: Task, limit: str) -> str:
    """`12 s of at most 5 m 00 s, 3 pairs`, or `34 %, 1,200 words/s, 20 s left`."""
    elapsed = format_seconds(round(task.elapsed or 0))
    if limit:
        parts = [f"{elapsed} of {limit} {format_seconds(task.total or 0)}", task.fields["state"]]
    else:
        left = task.fields["left"].seconds(task.total, time.monotonic())
        parts = [
            elapsed if task.total is None else format_percent(task.percentage / 100, 2),
            task.fields["state"],
            "" if left is None else f"{format_seconds(round(left))} left",
        ]
    return ", ".join(part for part in parts if part)


class _PositionColumn(ProgressColumn):
    """The text beside the bar."""

    def __init__(self, limit: str) -> None:
        super().__init__()
        self._limit = limit

    def render(self, task: Task) -> str:
        return _position(task, self._limit)


class _BarColumn(ProgressColumn):
    """The bar; it follows the clock if `timed`."""

    def __init__(self, timed: bool) -> None:
        super().__init__()
        self._timed = timed

    def render(self, task: Task) -> ProgressBar:
        completed = (task.elapsed or 0.0) if self._timed else task.completed
        return ProgressBar(total=task.total, completed=completed, width=40, pulse=task.total is None)


class LenientStream(io.TextIOBase):
    """Passes text on to a stream, and drops what it does not take, since its reader has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._to = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return self._to.encoding or "utf-8"

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._to.isatty()

    def fileno(self) -> int:
        """The stream's; its terminal's width is asked by it."""
        return self._to.fileno()

    def write(self, text: str) -> int:
        """Writes what can be written."""
        with contextlib.suppress(OSError, ValueError):
            self._to.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes what can be flushed."""
        with contextlib.suppress(OSError, ValueError):
            self._to.flush()
