"""Progress bars, drawn on a terminal only."""

from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _WordsPerSecond(ProgressColumn):
    """Words a second since the start."""

    def render(self, task: Task) -> Text:
        words = float(task.fields.get("words", 0))
        return Text(f"{words / task.elapsed:,.0f} words/s" if task.elapsed else "")


class WordsProgress:
    """Progress through a text file, in bytes of it, with words a second and time left.

    Args:
        err: drawn there if it is a terminal.
        total: bytes of the input; None if unknown.
    """

    def __init__(self, err: TextIO, total: int | None) -> None:
        console = Console(file=err)
        self._bar = Progress(
            TextColumn("scoring"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            _WordsPerSecond(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task("score", total=total, words=0)
        self._words = 0

    def __enter__(self) -> "WordsProgress":
        self._bar.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._bar.stop()

    def advance(self, words: int, size: int) -> None:
        """One sentence of `words` words and `size` bytes is done."""
        self._words += words
        self._bar.update(self._task, advance=size, words=self._words)
