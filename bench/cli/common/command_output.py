"""What a command prints: text for people, or JSON documents.

    print("4. Verify", file=out)         # a remark: on standard output, or with --json on standard error
    out.part("rest, batch 1  1.2e-06")   # of the result, in text only
    out.result(document, "PASS: ...")    # the document or the text

With `--quiet` only the text of `result` is left, or what its `short` gives for it.
"""

import io
from typing import Final, TextIO, cast

import msgspec

from bench.cli.common.json_document import Document, ErrorDocument, Event, Failure, kind_of
from bench.cli.common.output_options import OutputOptions
from bench.core.output import ESCAPED, accept_all, legible, to_json


class CommandOutput:
    """The output of a command. For `print` it is a stream, which takes remarks.

    Args:
        out: receives results.
        err: receives progress, and with `--json` remarks.
        options: of the command line.
        command: the command and its action.
    """

    def __init__(self, out: TextIO, err: TextIO, options: OutputOptions, command: str) -> None:
        self._out: Final = out
        self._err: Final = err
        self.options: Final = options
        self.command: Final = command
        self._answered = False

    @property
    def progress(self) -> TextIO:
        """Receives progress, and notes that are not part of a result."""
        return cast(TextIO, _Nowhere()) if self.options.quiet else self._err

    @property
    def answered(self) -> bool:
        """Whether the result or an error was printed."""
        return self._answered

    @property
    def data(self) -> TextIO:
        """Standard output itself, for results that are written as they come."""
        return self._out

    def part(self, text: str) -> None:
        """Prints lines of the result while others are still worked on; nothing with `--json` or `--quiet`."""
        if not self.options.json and not self.options.quiet:
            self._out.write(f"{legible(text)}\n")
            self._out.flush()

    def result(self, document: Document, text: str, short: str = "") -> None:
        """Prints the result, once.

        Args:
            document: printed with `--json`, on one line.
            text: for people: what was not printed in parts, with or without a line feed at its end.
            short: what `--quiet` leaves of the result, such as its verdict; "" leaves all of `text`.
        """
        self._answered = True
        self.event(document, text, short)

    def event(self, document: Event, text: str, short: str = "") -> None:
        """Prints what others will follow; with `--json` the output is a stream of JSON Lines. See `result`."""
        shown = short if self.options.quiet and short else text
        if self.options.json:
            self._print_json(document)
        elif shown:
            self._out.write(legible(shown if shown.endswith("\n") else f"{shown}\n"))
            self._out.flush()

    def error(self, line: str, exit_code: int) -> None:
        """Prints the document of an error, unless that of a result was printed; nothing without `--json`.

        Args:
            line: the one on standard error.
            exit_code: the command's.
        """
        if self.options.json and not self._answered:
            self._answered = True
            error = Failure(kind=kind_of(exit_code), text=line.partition(": ")[2])
            self._print_json(ErrorDocument(command=self.command, exit_code=exit_code, message=line, error=error))

    def write(self, text: str) -> int:
        """Prints a remark."""
        return (_Nowhere() if self.options.quiet else self._remarks).write(legible(text))

    def flush(self) -> None:
        """Flushes remarks and results."""
        self._out.flush()
        self._remarks.flush()

    def isatty(self) -> bool:
        """Whether remarks go to a terminal."""
        return self._remarks.isatty()

    @property
    def _remarks(self) -> TextIO:
        return self._err if self.options.json else self._out

    def _print_json(self, document: Event) -> None:
        accept_all(self._out, ESCAPED)
        self._out.write(to_json(msgspec.to_builtins(document)).decode() + "\n")
        self._out.flush()


class _Nowhere(io.TextIOBase):
    """Drops text."""

    def write(self, text: str) -> int:
        return len(text)
