"""How far a gate is: a bar on a terminal, a line every few seconds anywhere else."""

import threading
import time
from typing import Any, Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.core.units import format_seconds

EVERY: Final = 5.0
"""Seconds between lines."""
THREAD: Final = "gate's lines"


class GateProgress:
    """What a gate does and for how long it has been at work.

    Args:
        err: the bar is drawn there if it is a terminal, else lines are written there.
        most: seconds that the gate may take.
        name: what it is, for people.
    """

    def __init__(self, err: TextIO, most: float, name: str = "gate") -> None:
        console = Console(file=err)
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._state = "starting both servers"
        self._task = self._bar.add_task(self._state, total=most)
        self._err, self._name, self._most = err, name, most
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._lines = (
            None if console.is_terminal else threading.Thread(target=self._write_lines, name=THREAD, daemon=True)
        )

    def __enter__(self) -> "GateProgress":
        self._bar.start()
        if self._lines is not None:
            self._lines.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.stop()
        self._over.set()
        if self._lines is not None:
            self._lines.join()

    def show(self, state: str) -> None:
        """Notes what is being done."""
        self._state = state
        self._bar.update(self._task, completed=time.monotonic() - self._begun, description=state)

    def _write_lines(self) -> None:
        while not self._over.wait(EVERY):
            elapsed = format_seconds(round(time.monotonic() - self._begun))
            try:
                print(
                    f"{self._name}: {elapsed} of at most {format_seconds(self._most)}, {self._state}",
                    file=self._err,
                    flush=True,
                )
            except (OSError, ValueError):
                # Nobody reads them any more.
                return
