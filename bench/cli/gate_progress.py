"""How far a gate is, on a terminal only."""

from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.analysis.gate import Alarm


class GateProgress:
    """A bar over the time that the gate may take, with the pairs so far.

    Args:
        err: drawn there if it is a terminal.
        most: seconds that the gate may take.
    """

    def __init__(self, err: TextIO, most: float) -> None:
        console = Console(file=err)
        self._bar = Progress(
            TextColumn("gate"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("warming up", total=most)

    def __enter__(self) -> "GateProgress":
        self._bar.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.stop()

    def show(self, elapsed: float, pairs: int, alarm: Alarm | None) -> None:
        """Notes the time and the pairs so far, and an alarm that waits for confirmation."""
        state = f", confirming {', '.join(alarm.metrics)}" if alarm else ""
        self._bar.update(self._task, completed=elapsed, description=f"{pairs} pairs{state}")
