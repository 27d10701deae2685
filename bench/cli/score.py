"""`bertbench score`: word-level probabilities of each line of a file, through any target, of one model or of two."""

import argparse
import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TextIO

from msgspec import Meta, to_builtins

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.masked_requests import COMPACT_SIGNATURE
from bench.bert.contract.preflight import Preflight, export_name
from bench.bert.contract.scoring import ComparedSentence, ScoredSentence, Scorer, TopKScorer, score_stream
from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.text.text_file import STDIN, Line, input_name, read_sentences
from bench.bert.tf_logging import limit_tensorflow_log
from bench.cli.arguments.score import TEXTS
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document, Event
from bench.cli.common.model_server import exported_model, running_server
from bench.cli.common.options import is_estimator, target_of
from bench.cli.common.output_files import refuse_overlaps
from bench.cli.common.progress import ProgressDisplay
from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.extras import require
from bench.core.journal import journal_of
from bench.core.output import to_json
from bench.report.score_output import ResumableOutput, ScoreOutput, StreamOutput, text_size
from bench.report.score_page import Html, ScoredModel
from bench.report.scores import ScoreFormat, SentenceValue, sentence_value
from bench.server.clients import connect, protocols, served_scorer, top_k_scorer
from bench.serving.access import Access


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


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Scores the file.

    Raises:
        UsageError: bad input or options; the message names the line.
        TargetError: the target failed.
    """
    target_of(args)
    require("tokenizers", "tokenizing sentences")
    lines = _with_first_read(read_sentences(args.file))
    sides = [_Side.of(each) for each in ([args] if args.compare_with is None else [args, _second(args)])]
    form = _format(args, sides, out)
    with contextlib.ExitStack() as stack:
        output = _open_output(args, sides, form, out)
        if args.out is not None:
            stack.enter_context(interrupts.noting(lambda: f"--resume continues {args.out}" if output.done else ""))
        stack.callback(output.close)
        skipped = output.skip(lines, input_name(args.file))
        streams = [
            stack.enter_context(side.scored(copy))
            for side, copy in zip(sides, itertools.tee(lines, len(sides)), strict=True)
        ]
        scored = streams[0] if len(streams) == 1 else _compared(*streams)
        total = None if args.file == STDIN else Path(args.file).stat().st_size
        before = output.done
        with ProgressDisplay(out.progress, "scoring", total) as progress:
            words = _write_all(scored, output, progress, skipped)
        output.finish()
    file = None if args.out is None else str(args.out)
    out.result(ScoreDocument(sentences=output.done, scored=output.done - before, words=words, out=file), "")
    return ExitCode.OK


def _second(args: argparse.Namespace) -> argparse.Namespace:
    """The options for the model of `--compare-with`: on a server like the first one's, where that is started here."""
    changed: dict[str, Any] = {"model_dir": args.compare_with}
    if target_of(args).remote:
        # What reaches the first server, its secrets included, is not for this one.
        changed |= {"target": "embedded", "access": Access(ready_timeout=args.ready_timeout)}
    return argparse.Namespace(**(vars(args) | changed))


@dataclass(frozen=True)
class _Side:
    """A model, and the options with which it is scored.

    Args:
        args: the command's options.
        model: the export.
        top_k: likeliest WordPieces that it is asked for too; 0 for none.
    """

    args: argparse.Namespace
    model: ExportedModel
    top_k: int

    @classmethod
    def of(cls, args: argparse.Namespace) -> "_Side":
        """The model of `args`; it is asked for what it finds likeliest where a page shows that and it can tell.

        Raises:
            UsageError: it cannot be read.
        """
        model = exported_model(args)
        shown = args.format == Html.name and args.signature == COMPACT_SIGNATURE and not is_estimator(args.target)
        return cls(args, model, model.golden.top_k if shown else 0)

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the answers; the checkpoint, precision and tokenizer are for people."""
        golden = self.model.golden
        top_k = {"top-k": self.top_k} if self.top_k else {}
        return top_k | {
            "model": golden.identity,
            "checkpoint": golden.checkpoint_digest,
            "precision": golden.precision,
            "tokenizer": self.model.tokenizer.digest,
        }

    @property
    def shown(self) -> ScoredModel:
        """As a page has it."""
        name = "the demo model" if self.args.model_dir is None else str(self.args.model_dir)
        return ScoredModel(name, self.model.tokenizer.vocabulary, self.top_k)

    @contextlib.contextmanager
    def scored(self, lines: Iterable[Line]) -> Iterator[Iterator[ScoredSentence]]:
        """The sentences with the model's answers."""
        encoded = ((line.number, self.model.tokenizer.encode(line.text)) for line in lines)
        windows, golden = self.args.long == "window", self.model.golden
        # The Estimator pads to no fixed shape.
        limits = SentenceLimits.of(golden.max_pieces, None if is_estimator(self.args.target) else golden.fixed)
        with _scorer(self.args, self.model, self.top_k > 0) as (scorer, in_flight):
            name = input_name(self.args.file)
            yield score_stream(encoded, scorer, limits, name=name, long_windows=windows, in_flight=in_flight)


def _compared(first: Iterable[ScoredSentence], second: Iterable[ScoredSentence]) -> Iterator[ScoredSentence]:
    """Each sentence with both models' answers."""
    for one, other in zip(first, second, strict=True):
        yield ComparedSentence(one.line, one.sentence, one.log_prob, one.likeliest, other=other)


def _format(args: argparse.Namespace, sides: Sequence[_Side], out: CommandOutput) -> ScoreFormat:
    """The format of the scores: that of `--json`, if they go to standard output.

    Raises:
        UsageError: `--format` contradicts `--json`.
    """
    if not out.options.json or args.out is not None:
        return Html([side.shown for side in sides]) if args.format == Html.name else TEXTS[args.format or "tsv"]()
    if args.format is not None:
        raise UsageError("--json and --format are two formats of standard output; give one, or --out for the scores")
    return JsonEvents()


def _with_first_read(lines: Iterator[Line]) -> Iterator[Line]:
    """The same lines, the first one read: a file without a sentence fails before a server is started."""
    first = next(lines)
    return itertools.chain([first], lines)


def _write_all(scored: Iterable[ScoredSentence], output: ScoreOutput, progress: ProgressDisplay, size: int) -> int:
    """Writes all sentences, and returns the number of their words; `size` bytes of the input were done before."""
    words = 0
    for entry in scored:
        output.write(entry)
        words += entry.sentence.num_words
        size += text_size(entry.sentence.text)
        progress.reach(size, f"{words / max(progress.elapsed, 1e-9):,.0f} words/s")
    return words


def _job(args: argparse.Namespace, sides: Sequence[_Side]) -> dict[str, Any]:
    """What determines the bytes of the output, beside the sentences.

    A header or the client's certificate may choose the model behind a proxy.
    """
    access = target_of(args).access
    headers, certificate = access.headers.names, access.tls.cert
    others = {"--compare-with": [side.identity for side in sides[1:]]} if len(sides) > 1 else {}
    return (
        ({"--header": headers} if headers else {})
        | ({"--client-cert": str(certificate.resolve())} if certificate is not None else {})
        | others
        | {
            "input": "-" if args.file == STDIN else str(Path(args.file).resolve()),
            "--format": args.format or "tsv",
            "--long": args.long,
            "--target": args.target,
            "--model-name": args.model_name,
            "--server-flag": args.server_flag,
            "--protocol": args.protocol,
            "--signature": args.signature,
            **sides[0].identity,
        }
    )


def _open_output(
    args: argparse.Namespace, sides: Sequence[_Side], form: ScoreFormat, out: CommandOutput
) -> ScoreOutput:
    """Where the output goes: a file that can be resumed, or standard output."""
    if args.out is None:
        return StreamOutput(out.data, form)
    if args.out.exists() and not args.out.is_file():
        raise UsageError(f"{args.out} is not a regular file; leave out --out and redirect the output")
    outputs = {"--out": args.out, "the journal of --out": journal_of(args.out)}
    others = [Path(args.file)] if args.file != STDIN else []
    refuse_overlaps(outputs, others=others, in_place=("--out",))
    return ResumableOutput(args.out, form, _job(args, sides), args.resume)


@contextlib.contextmanager
def _scorer(
    args: argparse.Namespace, model: ExportedModel, likeliest: bool
) -> Iterator[tuple[Scorer | TopKScorer, int]]:
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
                preflight.require_same_model(client, args.target, args.timeout, accepted=True)
        with (
            top_k_scorer(server, model, protocol, args.timeout)
            if likeliest
            else served_scorer(server, model, protocol, args.signature, args.timeout)
        ) as scorer:
            yield scorer, args.in_flight
