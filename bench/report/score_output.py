"""Where scored sentences are written: a stream, or a file that can be resumed."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from bench.bert.contract.scoring import READ_AHEAD, ScoredSentence
from bench.bert.text.text_file import Line
from bench.core.journal import ResumableFile
from bench.core.output import ESCAPED, accept_all
from bench.report.scores import ScoreFormat


class ScoreOutput:
    """Writes scored sentences in a format.

    Args:
        form: the format.
    """

    done = 0
    """Sentences written."""

    def __init__(self, form: ScoreFormat) -> None:
        self._form = form

    def skip(self, lines: Iterator[Line], name: str) -> int:
        """Leaves out the sentences that the output holds already, and returns their size in bytes."""
        return 0

    def write(self, scored: ScoredSentence) -> None:
        """Adds one sentence."""
        text = (self._form.head if not self.done else self._form.separator) + self._form.sentence(scored)
        self.done += 1
        self._put(text, scored)

    def finish(self) -> None:
        """Writes the end of the format."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes it, finished or not."""

    def _put(self, text: str, scored: ScoredSentence) -> None:
        raise NotImplementedError


class StreamOutput(ScoreOutput):
    """Writes to a stream.

    Args:
        stream: for example standard output; what its encoding lacks is written as an escape.
        form: the format.
    """

    def __init__(self, stream: TextIO, form: ScoreFormat) -> None:
        super().__init__(form)
        accept_all(stream, ESCAPED)
        self._stream = stream

    def _put(self, text: str, scored: ScoredSentence) -> None:
        self._stream.write(text)

    def finish(self) -> None:
        self._stream.write(self._form.tail)
        self._stream.flush()


class ResumableOutput(ScoreOutput):
    """Writes a file that survives a kill; see `ResumableFile` for the arguments and errors."""

    def __init__(self, path: Path, form: ScoreFormat, job: dict[str, Any], resume: bool) -> None:
        super().__init__(form)
        self._file = ResumableFile(path, job, resume)
        self.done = self._file.items

    def skip(self, lines: Iterator[Line], name: str) -> int:
        """Leaves out the sentences that the file holds already, and returns their size in bytes.

        Raises:
            UsageError: they are not those that it was made from.
        """
        skipped = size = 0
        for line in itertools.islice(lines, self.done):
            self._file.skip(_source(line.number, line.text))
            skipped += 1
            size += text_size(line.text)
        self._file.check_input(name, skipped)
        return size

    def _put(self, text: str, scored: ScoredSentence) -> None:
        self._file.write(text.encode(), _source(scored.line, scored.sentence.text))
        if self.done % READ_AHEAD == 0:
            self._file.checkpoint()

    def finish(self) -> None:
        self._file.write(self._form.tail.encode())
        self._file.finish()

    def close(self) -> None:
        self._file.close()


def text_size(text: str) -> int:
    """Bytes of a sentence in the input, with the end of its line."""
    return len(text.encode()) + 1


def _source(number: int, text: str) -> bytes:
    """A line of the input as the journal's digest has it."""
    return f"{number}\t{text}\n".encode()
