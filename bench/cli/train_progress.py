"""How `bertbench train` shows where it is: a bar on a terminal, a line an evaluation everywhere."""

import time
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.core.units import format_percent

if TYPE_CHECKING:
    from bench.bert.training.training import Evaluation

# A step's loss is noisy; the bar shows an average with this weight on the past.
_SMOOTHING = 0.98


class TrainingProgress:
    """Listens to `bench.bert.training.training.train`.

    Args:
        err: where the bar and the lines go; the bar only if it is a terminal.
    """

    def __init__(self, err: TextIO) -> None:
        console = Console(file=err, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._console = console
        self._task: TaskID | None = None
        self._loss: float | None = None
        self._pieces = 0
        self._since = time.monotonic()

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.stop()

    def started(self, step: int, steps: int, trained: int, held_out: int) -> None:
        """Training begins or goes on."""
        how = f"going on at step {step}" if step else "training"
        self._console.print(f"{how}: {steps} steps on {trained} lines, {held_out} held out")
        self._task = self._bar.add_task("train", total=steps, completed=step, state="")
        self._since = time.monotonic()

    def stepped(self, step: int, loss: float, pieces: int) -> None:
        """A batch is done."""
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        self._pieces += pieces
        if self._task is not None:
            self._bar.update(self._task, completed=step, state=self._state())

    def evaluated(self, evaluation: "Evaluation") -> None:
        """The held-out lines have been looked at."""
        trained = f"training {self._state()}; " if self._loss is not None else ""
        self._console.print(
            f"step {evaluation.step}: {trained}held-out loss {evaluation.loss:.3f}, accuracy "
            f"{format_percent(evaluation.accuracy)}"
        )

    def _state(self) -> str:
        rate = self._pieces / max(time.monotonic() - self._since, 1e-9)
        return f"loss {self._loss:.3f}, {rate:,.0f} pieces/s"
