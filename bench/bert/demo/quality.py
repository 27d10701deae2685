"""How good the demo checkpoint is: `python -m bench.bert.demo.quality`.

Each pair is a real sentence and the same with one word replaced by a random other of similar frequency. The accuracy is
the fraction of pairs in which the model gives the real one the higher pseudo-log-likelihood (the sum of its words'
log-probabilities, each masked in turn; Salazar et al. 2020). All draws come from a seed, so that the same checkpoint
gives the same figures.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from bench.bert.demo import CHECKPOINT, default_sentences
from bench.bert.demo.corpus import FREQUENCIES_FILE, HELD_OUT_FILE, QUOTABLE_FILE
from bench.bert.demo.pairs import Frequencies, Pair, draw_pairs
from bench.bert.text.text_file import read_sentences
from bench.bert.text.tokenizer import Tokenizer
from bench.bert.tf_logging import limit_tensorflow_log
from bench.core.errors import BenchError, ExitCode

if TYPE_CHECKING:
    from bench.bert.graph.reference_scorers import ReferenceScorer

HELD_OUT: Final = Path(__file__).parent / QUOTABLE_FILE
FREQUENCIES: Final = Path(__file__).parent / FREQUENCIES_FILE
SEED: Final = 20


@dataclass(frozen=True, slots=True)
class Quality:
    """How many pairs the model got right.

    Args:
        right: pairs in which the real sentence is the likelier.
        pairs: all pairs.
    """

    right: int
    pairs: int

    @property
    def accuracy(self) -> float:
        """Fraction of pairs that the model got right."""
        return self.right / self.pairs


def evaluate(pairs: Sequence[Pair], scorer: "ReferenceScorer") -> Quality:
    """Scores both sentences of all pairs in one call."""
    answers = scorer.score([sentence for pair in pairs for sentence in (pair.real, pair.altered)])
    totals = [float(answer.astype(float).sum()) for answer in answers]
    right = sum(real > altered for real, altered in zip(totals[::2], totals[1::2], strict=True))
    return Quality(right, len(pairs))


def texts(path: Path) -> list[str]:
    """The sentences of a file."""
    return [line.text for line in read_sentences(path)]


def open_scorer(folder: Path) -> "ReferenceScorer":
    """The checkpoint in an Estimator of this process."""
    from bench.bert.checkpoints.prefix import find_prefix
    from bench.bert.config import GOOGLE_FILE, read_config
    from bench.bert.graph.reference_scorers import ColdPredict, EstimatorModel

    special = Tokenizer.from_folder(folder).special
    return ColdPredict(EstimatorModel(read_config(folder / GOOGLE_FILE), find_prefix(folder), special))


def report(folder: Path, corpus: Path | None, out: TextIO) -> None:
    """Prints a line for each set of sentences."""
    tokenizer, frequencies = Tokenizer.from_folder(folder), Frequencies.read(FREQUENCIES)
    sets = [
        ("held-out sentences of quotable sources", texts(HELD_OUT)),
        ("scenarios/data/sentences.tsv", texts(default_sentences())),
    ]
    if corpus is not None:
        sets.append(("held-out sentences of all sources", texts(corpus / HELD_OUT_FILE)))
    with open_scorer(folder) as scorer:
        for name, sentences in sets:
            found = evaluate(draw_pairs(sentences, tokenizer, frequencies, SEED), scorer)
            print(
                f"{name}: the real sentence wins in {found.right} of {found.pairs} pairs, {found.accuracy:.1%}",
                file=out,
            )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.bert.demo.quality", description="Evaluates the demo checkpoint."
    )
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, metavar="DIR", help="another checkpoint folder")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="what bench.bert.demo.corpus wrote: all its sources too"
    )
    args = parser.parse_args()
    limit_tensorflow_log()
    try:
        report(args.checkpoint, args.corpus, sys.stdout)
    except BenchError as error:
        print(f"quality: {error}", file=sys.stderr)
        return int(error.exit_code)
    return int(ExitCode.OK)


if __name__ == "__main__":
    sys.exit(main())
