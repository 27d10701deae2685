"""`bertbench score`: word-level probabilities of each line of a file, through any target."""

import argparse
import contextlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, TextIO

from msgspec import Meta, to_builtins

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE
from bench.bert.contract.preflight import Preflight, export_name
from bench.bert.contract.scoring import ScoredSentence, Scorer, score_stream
from bench.bert.text.text_file import STDIN, Line, read_sentences
from bench.bert.tf_logging import limit_tensorflow_log
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document, Event
from bench.cli.common.options import (
    add_preflight_option,
    add_target_options,
    exported_model,
    is_estimator,
    running_server,
    target_of,
)
from bench.cli.common.progress import ProgressDisplay
from bench.cli.common.values import DURATION, whole
from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.extras import require
from bench.core.output import to_json
from bench.report.score_output import ResumableOutput, ScoreOutput, StreamOutput
from bench.report.scores import FORMATS, ScoreFormat, SentenceValue, sentence_value
from bench.server.clients import connect, protocols, served_scorer


class ScoreEvent(Event, frozen=True, kw_only=True):
    """A scored sentence; printed where the scores go to standard output."""

    command: str = "score"
    event: str = "sentence"
    sentence: SentenceValue


class ScoreDocument(Document, frozen=True, kw_only=True):
    """The end of a scoring, after its sentences."""

    command: str = "score"
    event: str = "end"
    sentences: Annotated[int, Meta(description="in the output, with those of an earlier call that was resumed")]
    scored: Annotated[int, Meta(description="sentences scored by this call")]
    words: Annotated[int, Meta(description="words scored by this call")]
    out: Annotated[str | None, Meta(description="file with the scores; null for standard output")]


class JsonEvents(ScoreFormat):
    """A line of JSON a sentence, as `--json` prints it."""

    name = "json events"

    def sentence(self, scored: ScoredSentence) -> str:
        return to_json(to_builtins(ScoreEvent(sentence=sentence_value(scored)))).decode() + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("file", metavar="FILE.tsv", help="one sentence a line, UTF-8; - is standard input")
    add_target_options(parser, estimator=True)
    add_preflight_option(parser)
    parser.add_argument("--format", choices=tuple(FORMATS), help="(default: tsv)")
    parser.add_argument("--out", type=Path, metavar="F", help="output file (default: standard output)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted --out file")
    parser.add_argument(
        "--long",
        choices=("error", "window"),
        default="error",
        help="sentences that are too long for the model (default: error)",
    )
    parser.add_argument("--protocol", choices=("grpc", "rest"), help="(default: gRPC where its address is known)")
    parser.add_argument("--signature", choices=(COMPACT_SIGNATURE, ARTICLE_SIGNATURE), default=COMPACT_SIGNATURE)
    parser.add_argument("--in-flight", type=whole(1, 1000), default=3, help="requests under way at once (default: 3)")
    parser.add_argument("--timeout", type=DURATION, default="60s", help="for one request (default: 60s)")


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Scores the file.

    Raises:
        UsageError: bad input or options; the message names the line.
        TargetError: the target failed.
    """
    if args.resume and args.out is None:
        raise UsageError("--resume continues a file; name it with --out")
    target_of(args)
    require("tokenizers", "tokenizing sentences")
    lines = _with_first_read(read_sentences(args.file))
    model = exported_model(args)
    form = _format(args, out)
    with contextlib.ExitStack() as stack:
        if args.out is not None:
            stack.enter_context(interrupts.noting(lambda: f"--resume continues {args.out}"))
        output = _open_output(args, model, form, out)
        stack.callback(output.close)
        output.skip(lines, "standard input" if args.file == STDIN else args.file)
        remaining = ((line.number, model.tokenizer.encode(line.text)) for line in lines)
        scorer, in_flight = stack.enter_context(_scorer(args, model))
        scored = score_stream(
            remaining, scorer, model.golden.max_pieces, long_windows=args.long == "window", in_flight=in_flight
        )
        total = None if args.file == STDIN else Path(args.file).stat().st_size
        before = output.done
        with ProgressDisplay(out.progress, "scoring", total) as progress:
            words = _write_all(scored, output, progress)
        output.finish()
    file = None if args.out is None else str(args.out)
    out.result(ScoreDocument(sentences=output.done, scored=output.done - before, words=words, out=file), "")
    return ExitCode.OK


def _format(args: argparse.Namespace, out: CommandOutput) -> ScoreFormat:
    """The format of the scores: that of `--json`, if they go to standard output.

    Raises:
        UsageError: `--format` contradicts `--json`.
    """
    if not out.options.json or args.out is not None:
        return FORMATS[args.format or "tsv"]
    if args.format is not None:
        raise UsageError("--json and --format are two formats of standard output; give one, or --out for the scores")
    return JsonEvents()


def _with_first_read(lines: Iterator[Line]) -> Iterator[Line]:
    """The same lines, the first one read: a file without a sentence fails before a server is started."""
    first = next(lines)
    return itertools.chain([first], lines)


def _write_all(scored: Iterable[ScoredSentence], output: ScoreOutput, progress: ProgressDisplay) -> int:
    """Writes all sentences, and returns the number of their words."""
    words = size = 0
    for entry in scored:
        output.write(entry)
        words += entry.sentence.num_words
        size += len(entry.sentence.text.encode()) + 1
        progress.reach(size, f"{words / max(progress.elapsed, 1e-9):,.0f} words/s")
    return words


def _job(args: argparse.Namespace, model: ExportedModel) -> dict[str, Any]:
    """What determines the bytes of the output, beside the sentences; a header may choose the model behind a proxy."""
    headers = target_of(args).access.headers.names
    return ({"--header": headers} if headers else {}) | {
        "input": "-" if args.file == STDIN else str(Path(args.file).resolve()),
        "--format": args.format or "tsv",
        "--long": args.long,
        "--target": args.target,
        "--server-flag": args.server_flag,
        "--protocol": args.protocol,
        "--signature": args.signature,
        "checkpoint": model.golden.checkpoint_digest,
        "precision": model.golden.precision,
        "tokenizer": model.tokenizer.digest,
    }


def _open_output(args: argparse.Namespace, model: ExportedModel, form: ScoreFormat, out: CommandOutput) -> ScoreOutput:
    """Where the output goes: a file that can be resumed, or standard output."""
    if args.out is None:
        return StreamOutput(out.data, form)
    if args.out.exists() and not args.out.is_file():
        raise UsageError(f"{args.out} is not a regular file; leave out --out and redirect the output")
    if args.file != STDIN and args.out.exists() and args.out.samefile(args.file):
        raise UsageError(f"{args.out} is the input too, which --out would overwrite; name another file")
    return ResumableOutput(args.out, form, _job(args, model), args.resume)


@contextlib.contextmanager
def _scorer(args: argparse.Namespace, model: ExportedModel) -> Iterator[tuple[Scorer, int]]:
    """The scorer of `--target`, and how many calls it takes at once."""
    if is_estimator(args.target):
        limit_tensorflow_log()
        from bench.bert.graph.reference_scorers import open_estimator

        with open_estimator(model) as estimator:
            yield estimator, 1
        return
    with running_server(args, model) as server:
        protocol = args.protocol or protocols(server)[0]
        if server.backend == "remote" and not args.no_preflight:
            preflight = Preflight(model.golden, args.signature, server.model, export_name(args.model_dir))
            with connect(server, protocol) as client:
                preflight.require_same_model(client, args.target, args.timeout)
        with served_scorer(server, model, protocol, args.signature, args.timeout) as scorer:
            yield scorer, args.in_flight
