"""The demo checkpoint is as good as its note says."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.demo import CHECKPOINT, default_sentences
from bench.bert.demo.pairs import Frequencies, Pair, draw_pairs
from bench.bert.demo.quality import FREQUENCIES, HELD_OUT, SEED, Quality, evaluate, open_scorer, texts
from bench.bert.text.sentence import EncodedSentence
from bench.bert.text.tokenizer import Tokenizer

# Pairs that the shipped checkpoint gets right, as its note says. The closest of them lie half a nat apart.
RIGHT = {"held-out": 277, "sentences": 222}


class ScoreById:
    """A scorer to which a piece is the likelier the smaller its id."""

    def score(self, sentences: Sequence[EncodedSentence]) -> list[NDArray[Any]]:
        return [-np.asarray(sentence.token_ids, np.float32) for sentence in sentences]


def pair(real: tuple[int, ...], altered: tuple[int, ...]) -> Pair:
    real_side, altered_side = (
        EncodedSentence("", tuple(map(str, ids)), ids, tuple(range(len(ids)))) for ids in (real, altered)
    )
    return Pair(real_side, altered_side, word=0)


def test_a_pair_is_right_when_the_real_sentence_has_the_larger_sum() -> None:
    pairs = [pair((1, 2), (1, 3)), pair((3, 2), (1, 2)), pair((1, 2), (1, 2)), pair((1, 2), (4,))]
    assert evaluate(pairs, ScoreById()) == Quality(right=2, pairs=4)  # type: ignore[arg-type]
    assert Quality(right=2, pairs=4).accuracy == 0.5


@pytest.fixture(scope="module")
def scorer() -> Iterator[Any]:
    with open_scorer(CHECKPOINT) as scorer:
        yield scorer


@pytest.mark.parametrize("name", ["held-out", "sentences"])
def test_the_figures_of_the_note(scorer: Any, name: str) -> None:
    path = HELD_OUT if name == "held-out" else default_sentences()
    pairs = draw_pairs(texts(path), Tokenizer.from_folder(CHECKPOINT), Frequencies.read(FREQUENCIES), SEED)
    found = evaluate(pairs, scorer)
    assert found.right == RIGHT[name]
    assert found.accuracy >= 0.9
    assert f"| {found.pairs} | {100 * found.accuracy:.1f} % |" in (CHECKPOINT / "README.md").read_text()


def test_there_are_three_hundred_pairs() -> None:
    pairs = draw_pairs(texts(HELD_OUT), Tokenizer.from_folder(CHECKPOINT), Frequencies.read(FREQUENCIES), SEED)
    assert len(pairs) == 300


def test_the_checkpoint_is_small_whole_and_takes_every_default_sentence() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= 5_000_000
    checkpoint = open_checkpoint("demo")
    assert checkpoint.config.max_position_embeddings == 128
    assert checkpoint.tokenizer.options.do_lower_case
    sentences = [checkpoint.tokenizer.encode(text) for text in texts(default_sentences())]
    assert max(sentence.num_pieces for sentence in sentences) <= checkpoint.config.max_pieces
