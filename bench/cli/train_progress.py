"""The progress of `bertbench train`, and a line for each evaluation."""

import time
from typing import TYPE_CHECKING, Final, TextIO

from bench.cli.common.progress import ProgressDisplay
from bench.core.units import format_percent

if TYPE_CHECKING:
    from bench.bert.training.training import Evaluation

# A step's loss is noisy; the display shows an average with this weight on the past.
_SMOOTHING: Final = 0.98


class TrainingProgress(ProgressDisplay):
    """Listens to `bench.bert.training.training.train`.

    Args:
        err: where the progress and the lines go.
    """

    def __init__(self, err: TextIO) -> None:
        super().__init__(err, "training", None, state="reading the text")
        self._loss: float | None = None
        self._pieces = 0
        self._steps = 0
        self._since = time.monotonic()

    def started(self, step: int, steps: int, trained: int, held_out: int) -> None:
        """Training starts or resumes."""
        how = f"resuming at step {step}" if step else "training"
        self.print_line(f"{how}: {steps} steps on {trained} lines, {held_out} held out")
        self._steps, self._since = steps, time.monotonic()
        self.reach(step, "", steps)

    def stepped(self, step: int, loss: float, pieces: int) -> None:
        """A batch is done."""
        self._loss = loss if self._loss is None else _SMOOTHING * self._loss + (1 - _SMOOTHING) * loss
        self._pieces += pieces
        self.reach(step, f"step {step} of {self._steps}, {self._state()}")

    def evaluated(self, evaluation: "Evaluation") -> None:
        """An evaluation is done."""
        trained = f"training {self._state()}; " if self._loss is not None else ""
        self.print_line(
            f"step {evaluation.step}: {trained}held-out loss {evaluation.loss:.3f}, accuracy "
            f"{format_percent(evaluation.accuracy)}"
        )

    def _state(self) -> str:
        rate = self._pieces / max(time.monotonic() - self._since, 1e-9)
        return f"loss {self._loss:.3f}, {rate:,.0f} pieces/s"
