"""What the language model's bars ask: `python -m benchmarks.bench_model [exact] [size] [demo] [base]`.

- exact: the same sentences through all four reference scorers, both signatures, REST and gRPC, alone and in a batch
  of 64, padded and not: within 1e-4 of the golden answers; and those against a BERT in numpy.
- size: bytes of a 14-word sentence's REST request and answer, both signatures.
- demo: the demo model over gRPC against a cold `Estimator.predict`.
- base: BERT-base, a 14-word sentence: `score` against the article's fixed-128 export and a cold `Estimator.predict`,
  and against what this machine's matrix products allow.

Ratios are taken within one run, the ways in turn, so that the machine's drift meets all alike, and between the quickest
calls, which other work on the machine disturbs least: a long call suffers more from it than a short one, so medians on
a busy machine would flatter the quick way. Exit code 1 if a bar is missed.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.bert.tf_logging import limit_tensorflow_log

limit_tensorflow_log()

from bench.bert.checkpoints.huggingface import to_hugging_face  # noqa: E402
from bench.bert.checkpoints.resolve import open_checkpoint  # noqa: E402
from bench.bert.checkpoints.types import Checkpoint  # noqa: E402
from bench.bert.contract.exported_model import ExportedModel  # noqa: E402
from bench.bert.contract.golden import FixedExport  # noqa: E402
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE, FixedShape, score_request  # noqa: E402
from bench.bert.contract.scoring import Scorer, ServedScorer  # noqa: E402
from bench.bert.contract.sentence_limits import SentenceLimits  # noqa: E402
from bench.bert.export.export import ExportOptions, export_model  # noqa: E402
from bench.bert.export.golden_sentences import DEFAULT_SENTENCES, read_golden_sentences  # noqa: E402
from bench.bert.graph.reference_scorers import (  # noqa: E402
    ColdPredict,
    EstimatorModel,
    PredictGenerator,
    SavedModelFunction,
    SavedModelSession,
)
from bench.bert.text.sentence import EncodedSentence  # noqa: E402
from bench.server.lifecycle import RunningServer, embedded  # noqa: E402
from bench.serving.grpc_client import GrpcClient  # noqa: E402
from bench.serving.rest import RestClient  # noqa: E402
from benchmarks.arithmetic import ProductRate, score_operations  # noqa: E402
from tests.support.bert_oracle import Oracle  # noqa: E402

WORDS = 14
ARTICLE = FixedShape()
missed = 0


def bar(good: bool, text: str) -> None:
    """Prints a bar's verdict."""
    global missed
    missed += not good
    print(f"  {'PASS' if good else 'MISS'}  {text}", flush=True)


def sentences_of(checkpoint: Checkpoint) -> list[EncodedSentence]:
    """The package's sentences."""
    limits = SentenceLimits.of(checkpoint.config.max_pieces, None)
    return read_golden_sentences(DEFAULT_SENTENCES, checkpoint.tokenizer, limits)


def fourteen_words(sentences: Sequence[EncodedSentence]) -> EncodedSentence:
    """The first sentence of 14 words of one piece each."""
    return next(entry for entry in sentences if entry.num_words == entry.num_pieces == WORDS)


@contextlib.contextmanager
def export(name: str, sentences: int | None = None, fixed: FixedExport | None = None) -> Iterator[ExportedModel]:
    """A checkpoint exported into a folder of its own; golden answers of the 14-word sentence or of all."""
    checkpoint = open_checkpoint(name)
    chosen = sentences_of(checkpoint)
    chosen = [fourteen_words(chosen)] if sentences == 1 else chosen[:sentences]
    with tempfile.TemporaryDirectory() as folder:
        export_model(checkpoint, Path(folder), chosen, ExportOptions(fixed))
        del checkpoint
        yield ExportedModel.open(Path(folder))


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def served(server: RunningServer, model: ExportedModel, protocol: str, signature: str) -> ServedScorer:
    """Scores over one protocol and signature."""

    def connect() -> RestClient | GrpcClient:
        assert server.rest
        assert server.grpc
        return RestClient(server.rest) if protocol == "REST" else GrpcClient(server.grpc)

    return ServedScorer(connect, model.golden.special, signature)


def bench_exact() -> None:
    """Every way against the golden answers, and those against numpy."""
    print("exact: largest |Δ log p| of a piece against the golden answers, 64 sentences alone and together")
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(export("demo"))
        estimator, special = EstimatorModel.of_export(model), model.golden.special
        server = stack.enter_context(embedded(model.model_dir))
        ways: dict[str, Scorer] = {
            "cold predict": stack.enter_context(ColdPredict(estimator)),
            "cold predict, padded 128 x 20": stack.enter_context(ColdPredict(estimator, ARTICLE)),
            "predict generator": stack.enter_context(PredictGenerator(estimator)),
        }
        for signature in (COMPACT_SIGNATURE, ARTICLE_SIGNATURE):
            session = stack.enter_context(SavedModelSession(model.version_dir, special, signature))
            ways[f"session, {signature}"] = session
            ways[f"TF2 signature, {signature}"] = SavedModelFunction(model.version_dir, special, signature)
            for protocol in ("REST", "gRPC"):
                way = stack.enter_context(served(server, model, protocol, signature))
                ways[f"{protocol}, {signature}"] = way
        ways["session, padded 128 x 20"] = stack.enter_context(
            SavedModelSession(model.version_dir, special, ARTICLE_SIGNATURE, shape=ARTICLE)
        )
        step = max(1, len(model.golden.sentences) // 64)
        golden = model.golden.sentences[::step][:64]
        sentences = [entry.sentence for entry in golden]
        for name, way in ways.items():  # type: ignore[assignment]
            alone = sentences[:4] if "cold" in name else sentences
            given = [way.score([sentence])[0] for sentence in alone] + way.score(sentences)
            expected = [entry.log_prob for entry in (*golden[: len(alone)], *golden)]
            worst = max(float(np.abs(a - b).max()) for a, b in zip(given, expected, strict=True))
            bar(worst <= 1e-4, f"{name:<40} {worst:.1e}")
        checkpoint = open_checkpoint("demo")
        config = checkpoint.config
        oracle = Oracle(to_hugging_face(checkpoint.variables), config.num_attention_heads, config.hidden_act)
        exact = [
            oracle.sentence(entry.token_ids, entry.word_ids, special.cls, special.sep, special.mask)
            for entry in sentences
        ]
        worst = max(float(np.abs(a - entry.log_prob).max()) for a, entry in zip(exact, golden, strict=True))
        bar(worst <= 1e-4, f"{'a BERT in numpy, float64':<40} {worst:.1e}")


def bench_size() -> None:
    """Bytes of a 14-word sentence over REST, a vocabulary of 30,522."""
    print("size: REST, a 14-word sentence, vocabulary of 30,522")
    with export("tiny", 1) as model, embedded(model.model_dir) as server:
        assert server.rest
        sentence, special = model.golden.sentences[0].sentence, model.golden.special
        # The longest ids there are, not those that the demo's vocabulary happens to give.
        wide = EncodedSentence("", sentence.pieces, tuple(30_521 - i for i in range(WORDS)), sentence.word_ids)
        with RestClient(server.rest) as client:
            compact = client.predict(score_request([wide], special), 60)
            article = client.predict(score_request([wide], special, ARTICLE_SIGNATURE, ARTICLE), 60)
        bar(compact.bytes_out <= 700, f"compact request {compact.bytes_out} bytes (at most 700)")
        bar(compact.bytes_in <= 600, f"compact answer {compact.bytes_in} bytes (at most 600)")
        print(f"        the article's: request {article.bytes_out:,} bytes, answer {article.bytes_in:,}")


def bench_demo() -> None:
    """The demo model over gRPC against a cold predict, one caller."""
    print("demo: a 14-word sentence, one caller")
    with export("demo", 1) as model, embedded(model.model_dir) as server:
        sentence = [model.golden.sentences[0].sentence]
        cold = ColdPredict(EstimatorModel.of_export(model))
        with served(server, model, "gRPC", COMPACT_SIGNATURE) as grpc:
            for _ in range(20):
                grpc.score(sentence)
            slow, quick = [], []
            for _ in range(5):
                slow.append(seconds(lambda: cold.score(sentence)))
                quick += [seconds(lambda: grpc.score(sentence)) for _ in range(20)]
        p50, base = statistics.median(quick), statistics.median(slow)
        bar(
            base / p50 >= 20,
            f"gRPC {p50 * 1e3:.1f} ms, cold predict {base * 1e3:.0f} ms: {base / p50:.0f}x (at least 20)",
        )


def bench_base(rounds: int = 7) -> None:
    """BERT-base: the article's export, a cold predict, and the machine's matrix products."""
    print("base: BERT-base, a 14-word sentence, in this process", flush=True)
    with (
        export("base", 1) as model,
        export("base", 1, FixedExport(ARTICLE, "prob")) as article,
        SavedModelSession(model.version_dir, model.golden.special) as score,
        SavedModelSession(article.version_dir, article.golden.special, fixed=article.golden.fixed) as fixed,
    ):
        sentence = [model.golden.sentences[0].sentence]
        estimator = EstimatorModel.of_export(model)
        product = ProductRate(estimator.config, WORDS * (WORDS + 2))
        for warm in (score, fixed):
            warm.score(sentence)
            warm.score(sentence)
        product.measure()
        rates: dict[str, list[float]] = {}
        ways: dict[str, Callable[[], object]] = {
            "score": lambda: score.score(sentence),
            "fixed-128": lambda: fixed.score(sentence),
            "cold predict, padded": lambda: ColdPredict(estimator, ARTICLE).score(sentence),
            "cold predict, unpadded": lambda: ColdPredict(estimator).score(sentence),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, call in ways.items():
                if "cold" not in name or number < 3:
                    taken[name] += [seconds(call) for _ in range(3 if name == "score" else 1)]
                for kind, rate in product.measure().items():
                    rates.setdefault(kind, []).append(rate)
    _print_base(taken, rates, score_operations(estimator.config, WORDS))


def _print_base(taken: dict[str, list[float]], rates: dict[str, list[float]], operations: float) -> None:
    score = min(taken["score"])
    busy = statistics.median(taken["score"]) / score
    print(f"        score {score * 1e3:.0f} ms, {operations / 1e9:.1f} GFLOP in its matrix products")
    if busy > 1.2:
        print(f"        the machine is busy: half of the calls took {busy:.1f} times that or longer")
    needed = {"fixed-128": 5, "cold predict, padded": 10}
    for name, times in taken.items():
        ratio = min(times) / score
        text = f"{name} {min(times) * 1e3:.0f} ms: {ratio:.1f}x"
        if name in needed:
            bar(ratio >= needed[name], f"{text} (at least {needed[name]})")
        elif name != "score":
            print(f"        {text}")
    for kind, values in rates.items():
        fraction = operations / max(values) / score
        bar(
            fraction >= 0.7,
            f"{fraction:.0%} of what {max(values) / 1e9:.0f} GFLOP/s allow, the machine's rate in products of {kind} "
            "(at least 70 %)",
        )


def main(names: Sequence[str]) -> int:
    """Runs the parts named, or all."""
    parts = {"exact": bench_exact, "size": bench_size, "demo": bench_demo, "base": bench_base}
    for name in names or parts:
        parts[name]()
    print(f"{missed} bars missed" if missed else "all bars hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
