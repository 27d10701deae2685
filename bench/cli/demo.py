"""`bertbench demo`: all steps once, small: export, serve, score, verify, compare speeds, load, report."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, TextIO

import numpy as np
from msgspec import Meta, Struct

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.scoring import ScoredSentence, Scorer
from bench.bert.text.sentence import EncodedSentence
from bench.bert.tf_logging import limit_tensorflow_log
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.model_server import exported_model
from bench.cli.report import ReportsValue, report_lines, write_reports
from bench.cli.run import run_scenario
from bench.cli.verify import WRONG_LINE, VerificationValue, verdict_line, verify_server
from bench.core.atomic_files import make_folder
from bench.core.errors import ExitCode
from bench.core.extras import require
from bench.core.shown_path import shown_path
from bench.core.units import ABSENT, format_number, format_seconds
from bench.report.scores import SentenceValue, sentence_value
from bench.results.run_paths import SIDE_BY_SIDE
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
INVALID_LINE: Final = (
    "INVALID: answers and race count, the latency under load does not: server and load generator share this machine's "
    "processors with other work, so requests were late through no fault of the server; a quieter machine, or a load "
    "generator of its own, gives VALID runs."
)
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


class TimingValue(Struct, frozen=True, kw_only=True):
    """Calls of one scorer on one sentence, by one caller."""

    name: str
    calls: int
    p50: Annotated[float, Meta(description="seconds")]
    p95: Annotated[float, Meta(description="seconds")]
    sentence_rate: Annotated[float, Meta(description="sentences/s")]
    speed_up: Annotated[float, Meta(description="p50 of the first scorer over this one's")]


class DemoDocument(Document, frozen=True, kw_only=True):
    """All steps; after wrong answers those up to the verification."""

    command: str = "demo"
    version_dir: Annotated[str, Meta(description="the export")]
    golden_sentences: int
    rest: Annotated[str | None, Meta(description="URL of the server")]
    grpc: Annotated[str | None, Meta(description="HOST:PORT of the server")]
    scores: Sequence[SentenceValue]
    verification: VerificationValue
    race: Sequence[TimingValue]
    reports: ReportsValue | None
    seconds: Annotated[float, Meta(description="that the demo took")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Runs all steps on the embedded server and prints the results.

    Returns:
        0; 1 if an answer is wrong.

    Raises:
        BenchError: a step failed.
    """
    require("tensorflow", "the demo")
    make_folder(args.out, "", "give another --out")
    limit_tensorflow_log()
    began = time.monotonic()
    _say(out, "1. Export: Estimator -> SavedModel, with golden answers")
    model = exported_model(args)
    out.part(f"   {shown_path(model.version_dir)}: {len(model.golden.sentences)} golden sentences\n")
    race: list[TimingValue] = []
    with embedded(model.model_dir, args.model_name, SERVER_FLAGS) as server:
        out.part(f"2. Serve: REST {server.rest}, gRPC {server.grpc}\n")
        _say(out, "3. Score: the probability of each word, the others given")
        with served_scorer(server, model, "grpc", "score", 60.0) as scorer:
            scores = _scores(scorer, model, out)
        _say(out, "4. Verify: served answers against the Estimator's")
        verification = verify_server(server, model, out)
        out.part(verdict_line(verification))
        right = verification.verdict == "PASS"
        if right:
            _say(out, f"\n5. Race: one sentence of {WORDS} words, one caller")
            race = timing_values(_race(server, model))
            out.part(race_table(race))
            _say(out, f"6. Load: {args.seconds:g} s of Poisson arrivals over each protocol")
            runs = [
                run_scenario(protocol, server, model, args.seconds, args.out, out, err) for protocol in ("rest", "grpc")
            ]
    reports = None
    if right:
        _say(out, "\n7. Report")
        reports = write_reports(runs, None, out)
        plot = _plot_race(race, args.out)
        out.part(f"race: {shown_path(plot)}\n")
        _say(out, "8. In short")
        out.part(in_short(verification, race, reports))
    code, message = (ExitCode.OK, None) if right else (ExitCode.REGRESSION, WRONG_LINE)
    document = DemoDocument(
        version_dir=str(model.version_dir),
        golden_sentences=len(model.golden.sentences),
        rest=server.rest,
        grpc=server.grpc,
        scores=scores,
        verification=verification,
        race=race,
        reports=reports,
        seconds=time.monotonic() - began,
        exit_code=code,
        message=message,
    )
    done = f"Done in {format_seconds(document.seconds)}."
    short = "\n".join((verdict_line(verification).strip(), report_lines(reports) if reports else ""))
    out.result(document, done if right else "", short)
    if message is not None:
        print(message, file=err)
    return code


def _plot_race(race: Sequence[TimingValue], results: Path) -> Path:
    """Writes the plot of the race beside the report of both runs."""
    # Here and not above, so that only the report loads matplotlib.
    from bench.report.speed_plot import plot_speeds

    path = results / SIDE_BY_SIDE / "race.png"
    make_folder(path.parent, "", "give another --out")
    names = [f"{entry.name}, n = {entry.calls}" for entry in race]
    note = f"one sentence of {WORDS} words, one caller, one call after the other; dot: p50, line: to p95"
    plot_speeds(path, names, [entry.p50 for entry in race], [entry.p95 for entry in race], note)
    return path


def in_short(verification: VerificationValue, race: Sequence[TimingValue], reports: ReportsValue) -> str:
    """What the demo showed, and what a newcomer does next."""
    slowest, *_ = race
    largest = verification.largest.difference or 0.0
    lines = [
        f"Right: the server's probabilities are the Estimator's, up to {largest:.1g} in log p.",
        *(
            f"Fast: {entry.name} is {format_number(entry.speed_up, 2)} times as fast as the {slowest.name}."
            for entry in race
            if entry.name in ("REST", "gRPC")
        ),
    ]
    invalid = [report.run for report in reports.runs if not report.run.valid]
    if invalid:
        lines.append(INVALID_LINE)
    page = reports.side_by_side or reports.runs[0].folder
    lines.append(
        f"Next: open {shown_path(Path(page) / 'report.html')} in a browser, then read docs/guide/first-run.md."
    )
    return "".join(f"   {line}\n" for line in lines)


def _say(out: CommandOutput, text: str) -> None:
    print(text, file=out, flush=True)


def _scores(scorer: Scorer, model: ExportedModel, out: CommandOutput) -> list[SentenceValue]:
    """Scores `TEXTS`, and prints each as a part of the result."""
    found = []
    sentences = [model.tokenizer.encode(text) for text in TEXTS]
    for line, (sentence, log_prob) in enumerate(zip(sentences, scorer.score(sentences), strict=True), 1):
        value = sentence_value(ScoredSentence(line, sentence, log_prob))
        words = "  ".join(f"{entry.word} {format_number(entry.prob, 2)}" for entry in value.words)
        ppl = ABSENT if value.ppl is None else format_number(value.ppl)
        out.part(f"   {words}\n   pseudo-perplexity {ppl}\n")
        found.append(value)
    return found


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


def timing_values(timings: Sequence[Timing]) -> list[TimingValue]:
    """The timings for JSON, compared with the first."""
    base = timings[0].quantile(0.5)
    return [
        TimingValue(
            name=timing.name,
            calls=len(timing.seconds),
            p50=timing.quantile(0.5),
            p95=timing.quantile(0.95),
            sentence_rate=timing.throughput,
            speed_up=base / timing.quantile(0.5),
        )
        for timing in timings
    ]


def race_table(race: Sequence[TimingValue]) -> str:
    """The timings as a table."""
    lines = [f"   {'':<26}{'calls':>6}{'p50':>10}{'p95':>10}{'sentences/s':>13}{'speed-up':>10}"]
    lines += [
        f"   {entry.name:<26}{entry.calls:>6}{format_seconds(entry.p50):>10}{format_seconds(entry.p95):>10}"
        f"{format_number(entry.sentence_rate):>13}{format_number(entry.speed_up) + 'x':>10}"
        for entry in race
    ]
    return "\n".join((*lines, ""))
