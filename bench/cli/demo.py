"""`bertbench demo`: all steps once, small: export, serve, score, verify, compare speeds, load, report."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.scoring import ScoredSentence, Scorer
from bench.bert.text.sentence import EncodedSentence
from bench.bert.tf_logging import log_errors_only
from bench.cli import report
from bench.cli.common.options import add_model_options, exported_model
from bench.cli.common.values import number
from bench.cli.run import run_scenario
from bench.cli.verify import verify_server
from bench.core.atomic_files import make_folder
from bench.core.errors import ExitCode
from bench.core.extras import require
from bench.core.units import ABSENT, format_number, format_seconds
from bench.server.clients import served_scorer
from bench.server.lifecycle import RunningServer, embedded

TEXTS: Final = (
    "There is a book on the desk.",
    "There is a plane on the desk.",
    "She told him that she would come back in the morning.",
)
WORDS: Final = 14
# Serving refuses more gRPC calls in flight, by default 4 per core: too few on a small busy machine.
SERVER_FLAGS: Final = ("--grpc_max_threads=64",)
COLD_CALLS: Final = 20
WARM_CALLS: Final = 300


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each call of a scorer."""

    name: str
    seconds: tuple[float, ...]

    def quantile(self, fraction: float) -> float:
        """A quantile of the calls, in seconds."""
        return float(np.quantile(self.seconds, fraction, method="inverted_cdf"))

    @property
    def throughput(self) -> float:
        """Sentences/s of one caller."""
        return len(self.seconds) / sum(self.seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_model_options(parser)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the runs (default: results)")
    parser.add_argument("--seconds", type=number(1, 86400), default=12.0, help="length of each load run (default: 12)")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Runs all steps on the embedded server and prints the results.

    Raises:
        BenchError: a step failed.
    """
    require("tensorflow", "the demo")
    make_folder(args.out, "", "give another --out")
    log_errors_only()
    began = time.monotonic()
    _say(out, "1. Export: Estimator -> SavedModel, with golden answers")
    model = exported_model(args)
    _say(out, f"   {model.version_dir}: {len(model.golden.sentences)} golden sentences\n")
    with embedded(model.model_dir, args.model_name, SERVER_FLAGS) as server:
        _say(out, f"2. Serve: REST {server.rest}, gRPC {server.grpc}\n")
        _say(out, "3. Score: the probability of each word, the others given")
        with served_scorer(server, model, "grpc", "score", 60.0) as scorer:
            _print_scores(scorer, model, out)
        _say(out, "4. Verify: served answers against the Estimator's")
        code = verify_server(server, model, out, err)
        if code != ExitCode.OK:
            return code
        _say(out, f"\n5. Race: one sentence of {WORDS} words, one caller")
        _print_race(_race(server, model), out)
        _say(out, f"6. Load: {args.seconds:g} s of Poisson arrivals over each protocol")
        runs = [run_scenario(protocol, server, model, args.seconds, args.out, out) for protocol in ("rest", "grpc")]
    _say(out, "\n7. Report")
    report.write_reports(runs, None, out)
    _say(out, f"Done in {format_seconds(time.monotonic() - began)}.")
    return ExitCode.OK


def _say(out: TextIO, text: str) -> None:
    print(text, file=out, flush=True)


def _print_scores(scorer: Scorer, model: ExportedModel, out: TextIO) -> None:
    sentences = [model.tokenizer.encode(text) for text in TEXTS]
    for sentence, log_prob in zip(sentences, scorer.score(sentences), strict=True):
        scored = ScoredSentence(0, sentence, log_prob)
        words = zip(sentence.words, np.exp(scored.word_log_prob), strict=True)
        _say(out, "   " + "  ".join(f"{word} {format_number(prob, 2)}" for word, prob in words))
        _say(out, f"   pseudo-perplexity {ABSENT if scored.ppl is None else format_number(scored.ppl)}\n")


def _race(server: RunningServer, model: ExportedModel) -> list[Timing]:
    """Times four scorers on one sentence; the fast ones are interleaved, so that drift affects all alike."""
    from bench.bert.graph.reference_scorers import ColdPredict, EstimatorModel, SavedModelSession

    sentence = _fourteen_words(model)
    estimator = EstimatorModel.of_export(model)
    with (
        ColdPredict(estimator) as cold,
        SavedModelSession(model.version_dir, model.golden.special) as session,
        served_scorer(server, model, "rest", "score", 60.0) as rest,
        served_scorer(server, model, "grpc", "score", 60.0) as grpc,
    ):
        slow = _time([("Estimator (cold predict)", cold)], sentence, COLD_CALLS, warm=1)
        quick: list[tuple[str, Scorer]] = [("in-process SavedModel", session), ("REST", rest), ("gRPC", grpc)]
        return slow + _time(quick, sentence, WARM_CALLS, warm=20)


def _fourteen_words(model: ExportedModel) -> EncodedSentence:
    """The golden sentence whose length is nearest to 14 words."""
    return min((entry.sentence for entry in model.golden.sentences), key=lambda entry: abs(entry.num_words - WORDS))


def _time(scorers: Sequence[tuple[str, Scorer]], sentence: EncodedSentence, calls: int, warm: int) -> list[Timing]:
    """Seconds of `calls` calls of each scorer, alternating, after `warm` warm-up calls."""
    taken: dict[str, list[float]] = {name: [] for name, _ in scorers}
    for call in range(-warm, calls):
        for name, scorer in scorers:
            seconds = _seconds(lambda scorer=scorer: scorer.score([sentence]))  # type: ignore[misc]
            if call >= 0:
                taken[name].append(seconds)
    return [Timing(name, tuple(seconds)) for name, seconds in taken.items()]


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _print_race(timings: Sequence[Timing], out: TextIO) -> None:
    base = timings[0].quantile(0.5)
    _say(out, f"   {'':<26}{'calls':>6}{'p50':>10}{'p95':>10}{'sentences/s':>13}{'speed-up':>10}")
    for timing in timings:
        p50, p95 = timing.quantile(0.5), timing.quantile(0.95)
        _say(
            out,
            f"   {timing.name:<26}{len(timing.seconds):>6}{format_seconds(p50):>10}{format_seconds(p95):>10}"
            f"{format_number(timing.throughput):>13}{format_number(base / p50) + 'x':>10}",
        )
    _say(out, "")
