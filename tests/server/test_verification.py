"""The largest difference between a server's answers and the golden ones, and where it is."""

from collections.abc import Sequence

import numpy as np
import pytest

from bench.bert.contract.scoring import LogProbs
from bench.bert.text.sentence import EncodedSentence
from bench.server.verification import BATCH_SIZES, largest_difference
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(30).sentences
RIGHT = {entry.sentence.token_ids: entry.log_prob for entry in GOLDEN}


class Shifted:
    """Gives the golden answers; the last piece of one sentence is off by `shift`."""

    def __init__(self, number: int, shift: float) -> None:
        self._wrong = GOLDEN[number - 1].sentence.token_ids
        self._shift = np.float32(shift)
        self.sizes: list[int] = []

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        self.sizes.append(len(sentences))
        answers = [RIGHT[sentence.token_ids].copy() for sentence in sentences]
        for sentence, answer in zip(sentences, answers, strict=True):
            if sentence.token_ids == self._wrong:
                answer[-1] += self._shift
        return answers


@pytest.mark.parametrize("size", BATCH_SIZES)
@pytest.mark.parametrize("number", [1, 16, 17, 30])
def test_the_sentence_and_word_of_the_largest_difference(size: int, number: int) -> None:
    scorer = Shifted(number, -0.25)
    found = largest_difference(scorer, GOLDEN, size)
    assert found.value == pytest.approx(0.25, abs=1e-5)
    assert (found.sentence, found.word) == (number, GOLDEN[number - 1].sentence.words[-1])
    assert (sum(scorer.sizes), max(scorer.sizes)) == (30, size)


@pytest.mark.parametrize("shift", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_not_finite_is_infinitely_far(shift: float) -> None:
    found = largest_difference(Shifted(7, shift), GOLDEN, 16)
    assert (found.value, found.sentence) == (np.inf, 7)


def test_right_answers_do_not_differ() -> None:
    found = largest_difference(Shifted(1, 0.0), GOLDEN, 16)
    assert (found.value, found.sentence) == (0.0, 1)
