"""`bertbench score`: word-level probabilities of each line of a file, through any target."""

import argparse
import contextlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE
from bench.bert.contract.scoring import READ_AHEAD, ScoredSentence, Scorer, score_stream
from bench.bert.text.text_file import STDIN, Line, read_sentences
from bench.bert.tf_logging import log_errors_only
from bench.cli.common.options import (
    add_target_options,
    exported_model,
    is_estimator,
    protocols,
    running_server,
    served_scorer,
)
from bench.cli.common.progress import ProgressDisplay
from bench.cli.common.values import DURATION, whole
from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.journal import ResumableFile
from bench.core.output import ESCAPED, accept_all
from bench.report.scores import FORMATS, ScoreFormat


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("file", metavar="FILE.tsv", help="one sentence a line, UTF-8; - is standard input")
    add_target_options(parser, estimator=True)
    parser.add_argument("--format", choices=tuple(FORMATS), default="tsv", help="(default: tsv)")
    parser.add_argument("--out", type=Path, metavar="F", help="output file (default: standard output)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted --out file")
    parser.add_argument(
        "--long", choices=("error", "window"), default="error", help="sentences beyond the model's positions"
    )
    parser.add_argument("--protocol", choices=("grpc", "rest"), help="(default: gRPC where its address is known)")
    parser.add_argument("--signature", choices=(COMPACT_SIGNATURE, ARTICLE_SIGNATURE), default=COMPACT_SIGNATURE)
    parser.add_argument("--in-flight", type=whole(1, 1000), default=3, help="requests under way at once (default: 3)")
    parser.add_argument("--timeout", type=DURATION, default=60.0, help="for one request (default: 60s)")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Scores the file.

    Raises:
        UsageError: bad input or options; the message names the line.
        TargetError: the target failed.
    """
    if args.resume and args.out is None:
        raise UsageError("--resume goes on with a file; name it with --out")
    lines = _begun(read_sentences(args.file))
    model = exported_model(args)
    form = FORMATS[args.format]
    with contextlib.ExitStack() as stack:
        if args.out is not None:
            stack.enter_context(interrupts.noting(lambda: f"--resume goes on with {args.out}"))
        sink = _open_sink(args, model, form, out)
        stack.callback(sink.close)
        sink.skip(lines, "standard input" if args.file == STDIN else args.file)
        remaining = ((line.number, model.tokenizer.encode(line.text)) for line in lines)
        scorer, in_flight = stack.enter_context(_scorer(args, model))
        scored = score_stream(
            remaining, scorer, model.golden.max_pieces, long_windows=args.long == "window", in_flight=in_flight
        )
        total = None if args.file == STDIN else Path(args.file).stat().st_size
        with ProgressDisplay(err, "scoring", total) as progress:
            _write_all(scored, sink, progress)
        sink.finish()
    return ExitCode.OK


def _begun(lines: Iterator[Line]) -> Iterator[Line]:
    """The same lines with the first one read, so that a file without a sentence is told before a server is started."""
    first = next(lines)
    return itertools.chain([first], lines)


def _write_all(scored: Iterable[ScoredSentence], sink: "_Sink", progress: ProgressDisplay) -> None:
    words = size = 0
    for entry in scored:
        sink.write(entry)
        words += entry.sentence.num_words
        size += len(entry.sentence.text.encode()) + 1
        progress.reach(size, f"{words / max(progress.elapsed, 1e-9):,.0f} words/s")


def _job(args: argparse.Namespace, model: ExportedModel) -> dict[str, Any]:
    """What determines the bytes of the output, beside the sentences."""
    return {
        "input": "-" if args.file == STDIN else str(Path(args.file).resolve()),
        "--format": args.format,
        "--long": args.long,
        "--target": args.target,
        "--server-flag": args.server_flag,
        "--protocol": args.protocol,
        "--signature": args.signature,
        "checkpoint": model.golden.checkpoint_digest,
        "precision": model.golden.precision,
        "tokenizer": model.tokenizer.digest,
    }


def _open_sink(args: argparse.Namespace, model: ExportedModel, form: ScoreFormat, out: TextIO) -> "_Sink":
    """Where the output goes: a file that can be resumed, or standard output."""
    if args.out is None:
        return _StreamSink(out, form)
    if args.out.exists() and not args.out.is_file():
        raise UsageError(f"{args.out} is not a regular file; leave --out away and redirect the output")
    if args.file != STDIN and args.out.exists() and args.out.samefile(args.file):
        raise UsageError(f"{args.out} is the input too, which --out would overwrite; name another file")
    return _FileSink(args.out, form, _job(args, model), args.resume)


@contextlib.contextmanager
def _scorer(args: argparse.Namespace, model: ExportedModel) -> Iterator[tuple[Scorer, int]]:
    """The scorer of `--target`, and how many calls it takes at once."""
    if is_estimator(args.target):
        log_errors_only()
        from bench.bert.graph.reference_scorers import open_estimator

        with open_estimator(model) as estimator:
            yield estimator, 1
        return
    with running_server(args, model) as server:
        protocol = args.protocol or protocols(server)[0]
        with served_scorer(server, model, protocol, args.signature, args.timeout) as scorer:
            yield scorer, args.in_flight


def _source(number: int, text: str) -> bytes:
    """A line of the input as the journal's digest has it."""
    return f"{number}\t{text}\n".encode()


class _Sink:
    """Where scored sentences go."""

    done = 0

    def __init__(self, form: ScoreFormat) -> None:
        self._form = form

    def skip(self, lines: Iterator[Line], name: str) -> None:
        """Leaves out the sentences that the output holds already."""

    def write(self, scored: ScoredSentence) -> None:
        """Adds one sentence."""
        text = (self._form.head if not self.done else self._form.separator) + self._form.sentence(scored)
        self.done += 1
        self._put(text, scored)

    def finish(self) -> None:
        """Ends the output."""
        raise NotImplementedError

    def close(self) -> None:
        """Leaves it as it is."""

    def _put(self, text: str, scored: ScoredSentence) -> None:
        raise NotImplementedError


class _StreamSink(_Sink):
    """Standard output."""

    def __init__(self, stream: TextIO, form: ScoreFormat) -> None:
        super().__init__(form)
        # Data, of which nothing may be put by something like it.
        accept_all(stream, ESCAPED)
        self._stream = stream

    def _put(self, text: str, scored: ScoredSentence) -> None:
        self._stream.write(text)

    def finish(self) -> None:
        self._stream.write(self._form.tail)
        self._stream.flush()


class _FileSink(_Sink):
    """A file that survives a kill."""

    def __init__(self, path: Path, form: ScoreFormat, job: dict[str, Any], resume: bool) -> None:
        super().__init__(form)
        self._file = ResumableFile(path, job, resume)
        self.done = self._file.items

    def skip(self, lines: Iterator[Line], name: str) -> None:
        """Leaves out the sentences that the file holds already.

        Raises:
            UsageError: they are not those that it was made of.
        """
        skipped = 0
        for line in itertools.islice(lines, self.done):
            self._file.skip(_source(line.number, line.text))
            skipped += 1
        self._file.check_input(name, skipped)

    def _put(self, text: str, scored: ScoredSentence) -> None:
        self._file.write(text.encode(), _source(scored.line, scored.sentence.text))
        if self.done % READ_AHEAD == 0:
            self._file.checkpoint()

    def finish(self) -> None:
        self._file.write(self._form.tail.encode())
        self._file.finish()

    def close(self) -> None:
        self._file.close()
