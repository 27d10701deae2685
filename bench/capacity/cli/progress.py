"""How far a sweep is: a bar with the time left on a terminal, lines anywhere else."""

import time
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class SweepProgress:
    """A bar over the seconds that a sweep should take, and a line for each step.

    Args:
        out: where lines go.
        err: the bar is drawn there if it is a terminal.
        expected: seconds.
    """

    def __init__(self, out: TextIO, err: TextIO, expected: float) -> None:
        self._out = out
        self._console = Console(file=err)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=expected)
        self._expected = expected
        self._begun = time.monotonic()

    def __enter__(self) -> "SweepProgress":
        self._bar.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.stop()

    def step(self, title: str) -> None:
        """A step begins."""
        self._bar.update(self._task, description=title)

    def longer(self, seconds: float) -> None:
        """The sweep takes so much longer than was expected."""
        self._expected += seconds
        self._bar.update(self._task, total=self._expected)

    def tick(self) -> None:
        """Time goes by."""
        self._bar.update(self._task, completed=time.monotonic() - self._begun)

    def line(self, text: str) -> None:
        """A line for people."""
        if self._console.is_terminal:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=self._out, flush=True)
