"""`score` of a file through the embedded server against the in-process TF2 signature fed with the same buckets.

Prints words/s of both, alternating within one run, and the client's memory on files of one and of five lengths.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.scoring import READ_AHEAD, Scorer, batches, score_stream
from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.demo.demo_model import demo_model_dir
from bench.bert.text.sentence import EncodedSentence
from bench.bert.tf_logging import limit_tensorflow_log
from bench.server.clients import served_scorer
from bench.server.lifecycle import RunningServer, embedded

SENTENCES = 2000
GOAL = 0.85
MEMORY_GOAL = 1.1


def mixed_sentences(model: ExportedModel, count: int) -> list[EncodedSentence]:
    """`count` sentences drawn from the golden ones."""
    golden = [entry.sentence for entry in model.golden.sentences]
    return [golden[index] for index in np.random.default_rng(0).integers(0, len(golden), count)]


def seconds_served(scorer: Scorer, sentences: list[EncodedSentence], max_pieces: int) -> float:
    """Seconds of the whole stream through a server."""
    began = time.perf_counter()
    found = sum(1 for _ in score_stream(enumerate(sentences, 1), scorer, SentenceLimits(max_pieces), name=""))
    assert found == len(sentences)
    return time.perf_counter() - began


def seconds_in_process(scorer: Scorer, sentences: list[EncodedSentence]) -> float:
    """Seconds of the same buckets, one after the other, in this process."""
    began = time.perf_counter()
    for begin in range(0, len(sentences), READ_AHEAD):
        chunk = sentences[begin : begin + READ_AHEAD]
        for group in batches([(sentence.num_words, sentence.num_pieces) for sentence in chunk]):
            scorer.score([chunk[index] for index in group])
    return time.perf_counter() - began


def race(model: ExportedModel, server: RunningServer, rounds: int) -> float:
    """The median ratio of words/s, served over in-process."""
    from bench.bert.graph.reference_scorers import SavedModelFunction

    sentences = mixed_sentences(model, SENTENCES)
    words = sum(sentence.num_words for sentence in sentences)
    ratios = []
    with (
        served_scorer(server, model, "grpc", "score", 60.0) as served,
        SavedModelFunction(model.version_dir, model.golden.special) as function,
    ):
        seconds_in_process(function, sentences[:200])
        seconds_served(served, sentences[:200], model.golden.max_pieces)
        for number in range(rounds):
            inside = words / seconds_in_process(function, sentences)
            outside = words / seconds_served(served, sentences, model.golden.max_pieces)
            ratios.append(outside / inside)
            print(
                f"  round {number + 1}: in-process {inside:,.0f} words/s, served {outside:,.0f}, ratio {ratios[-1]:.2f}"
            )
    return float(np.median(ratios))


def peak_memory(server: RunningServer, model: ExportedModel, lines: int, folder: Path) -> float:
    """Peak resident memory of a `bertbench score` process in MB: VmHWM, since ru_maxrss survives an exec."""
    path = folder / f"{lines}.tsv"
    path.write_text("".join(sentence.text + "\n" for sentence in mixed_sentences(model, lines)))
    code = (
        "import pathlib, sys\nfrom bench.cli import main\nrc = main(sys.argv[1:])\n"
        "print(pathlib.Path('/proc/self/status').read_text(), file=sys.stderr)\nsys.exit(rc)"
    )
    words = ["score", str(path), f"--target=grpc://{server.grpc}", f"--out={folder / 'out.tsv'}"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1000


def main() -> int:
    """Prints both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--strict", action="store_true", help="exit 1 on a miss")
    args = parser.parse_args()
    limit_tensorflow_log()
    model = ExportedModel.open(demo_model_dir())
    print(f"score: {SENTENCES} mixed sentences, demo model, served over gRPC against the TF2 signature")
    with embedded(model.model_dir) as server, tempfile.TemporaryDirectory() as folder:
        ratio = race(model, server, args.rounds)
        small, large = (peak_memory(server, model, lines, Path(folder)) for lines in (4000, 20000))
    good = ratio >= GOAL
    print(f"  {'PASS' if good else 'MISS'}: served/in-process {ratio:.2f} (goal {GOAL} or more)")
    flat = large / small <= MEMORY_GOAL
    print(f"  {'PASS' if flat else 'MISS'}: peak memory {small:.0f} MB at 4,000 lines, {large:.0f} MB at 20,000")
    return int(args.strict and not (good and flat))


if __name__ == "__main__":
    sys.exit(main())
