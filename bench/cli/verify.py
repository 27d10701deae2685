"""`bertbench verify`: served probabilities against the Estimator's, all signatures, both protocols."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import GoldenSentence
from bench.bert.contract.requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE
from bench.bert.contract.scoring import LogProbs, Scorer
from bench.cli.common.options import (
    add_target_options,
    exported_model,
    protocols,
    running_server,
    served_scorer,
)
from bench.cli.common.values import DURATION, number, whole
from bench.core.errors import ExitCode, UsageError
from bench.server.lifecycle import RunningServer

BATCH = 16


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference found on one way: |Δ log p| of a word, and where."""

    value: float
    sentence: int
    word: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_target_options(parser)
    parser.add_argument(
        "--tolerance", type=number(0, 100), help="largest |Δ log p| of a word (default: the golden file's)"
    )
    parser.add_argument(
        "--sentences", type=whole(), metavar="N", help="check the first N golden sentences (default: all)"
    )
    parser.add_argument("--timeout", type=DURATION, default=60.0, help="for one request (default: 60s)")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Prints the largest difference on each way, and where it is.

    Returns:
        0, or 1 if an answer lies outside the tolerance.

    Raises:
        UsageError: bad options or an unreadable model folder.
        TargetError: the server does not answer.
    """
    model = exported_model(args)
    with running_server(args, model) as server:
        return verify_server(server, model, out, err, args.sentences, args.tolerance, args.timeout)


def verify_server(
    server: RunningServer,
    model: ExportedModel,
    out: TextIO,
    err: TextIO,
    sentences: int | None = None,
    tolerance: float | None = None,
    timeout: float = 60.0,
) -> int:
    """Prints the largest difference on each way to a running server, and where it is; see `run`."""
    golden = model.golden.sentences[:sentences]
    if not golden:
        raise UsageError("there is no golden sentence to check; export with --sentences FILE.tsv")
    tolerance = model.golden.tolerance if tolerance is None else tolerance
    words = sum(entry.sentence.num_words for entry in golden)
    print(f"   {len(golden)} sentences, {words} words; the Estimator's answers from {model.version_dir}", file=out)
    worst: Difference | None = None
    for way, found in _differences(server, model, golden, timeout):
        print(f"   {way:<32} max |Δ log p| {found.value:.2e}  {_where(found)}", file=out, flush=True)
        if worst is None or not found.value <= worst.value:
            worst = found
    assert worst is not None
    good = worst.value <= tolerance
    verdict = "PASS" if good else "WRONG"
    print(f"   {verdict}: largest |Δ log p| {worst.value:.2e} (tolerance {tolerance:g}) {_where(worst)}", file=out)
    if not good:
        print(
            "bertbench: answers differ from the Estimator's; if the server holds another model, name its export with "
            "--model-dir",
            file=err,
        )
    return ExitCode.OK if good else ExitCode.REGRESSION


def _where(found: Difference) -> str:
    return f"in sentence {found.sentence}, word {found.word!r}"


def _differences(
    server: RunningServer, model: ExportedModel, golden: Sequence[GoldenSentence], timeout: float
) -> Iterator[tuple[str, Difference]]:
    """Each protocol and signature, one sentence a request and several."""
    for protocol in protocols(server):
        for signature in (ARTICLE_SIGNATURE,) if model.golden.fixed else (COMPACT_SIGNATURE, ARTICLE_SIGNATURE):
            with served_scorer(server, model, protocol, signature, timeout) as scorer:
                yield f"{protocol} {signature}, alone", largest_difference(scorer, golden, 1)
                yield f"{protocol} {signature}, {BATCH} together", largest_difference(scorer, golden, BATCH)


def largest_difference(scorer: Scorer, golden: Sequence[GoldenSentence], batch: int) -> Difference:
    """The largest |Δ log p| over all words; an answer that is not finite counts as infinitely far."""
    worst = Difference(0.0, 1, "")
    for begin in range(0, len(golden), batch):
        group = golden[begin : begin + batch]
        answers = scorer.score([entry.sentence for entry in group])
        for offset, (entry, answer) in enumerate(zip(group, answers, strict=True)):
            found = _sentence_difference(entry, answer, begin + offset + 1)
            if found.value > worst.value or not worst.word:
                worst = found
    return worst


def _sentence_difference(entry: GoldenSentence, answer: LogProbs, number: int) -> Difference:
    words = np.asarray(entry.sentence.word_ids, np.intp)
    delta = np.bincount(words, answer - entry.log_prob, entry.sentence.num_words)
    distance = np.where(np.isfinite(delta), np.abs(delta), np.inf)
    word = int(distance.argmax())
    return Difference(float(distance[word]), number, entry.sentence.words[word])
