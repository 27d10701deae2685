"""The largest difference between a server's answers and the golden ones, and where it is."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE, TOP_K_SIGNATURE
from bench.bert.contract.scoring import LogProbs, TopKScorer
from bench.bert.text.sentence import EncodedSentence
from bench.server import clients
from bench.server.running import RunningServer
from bench.server.verification import BATCH_SIZES, largest_difference, verify
from bench.serving.fake import FakeServingClient
from bench.serving.types import PredictRequest
from tests.support.toy_golden import SPECIAL, toy_golden, write_model_dir

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


class Likely:
    """A server of an export with top-k: the golden answers, whose own piece is the likelier of two at each place.

    Args:
        change: of the outputs for the request with sentence 7, whose first row that is.
    """

    def __init__(self, change: Callable[[dict[str, NDArray[Any]]], None] = lambda outputs: None) -> None:
        self._change = change
        self.signatures: list[str] = []

    def connect(self, *_: object) -> FakeServingClient:
        return FakeServingClient(self._answer)

    def scorer(self) -> TopKScorer:
        return TopKScorer(self.connect, SPECIAL, "m", 1.0, 2)

    def _answer(self, request: PredictRequest) -> dict[str, NDArray[Any]]:
        self.signatures.append(request.signature)
        if request.signature == ARTICLE_SIGNATURE:
            return {"log_prob": np.zeros(request.inputs["masked_lm_ids"].shape, np.float32)}
        ids, counts = request.inputs["token_ids"], request.inputs["num_pieces"]
        log_prob = np.zeros(ids.shape, np.float32)
        for row, count in enumerate(counts):
            log_prob[row, :count] = RIGHT[tuple(ids[row, :count].tolist())]
        outputs = {
            "log_prob": log_prob,
            "top_ids": np.stack((ids, ids + 1), axis=-1),
            "top_log_prob": np.stack((log_prob, log_prob - 1), axis=-1),
        }
        if tuple(ids[0, : counts[0]].tolist()) == GOLDEN[6].sentence.token_ids:
            self._change(outputs)
        return outputs


def shift_log_prob(outputs: dict[str, NDArray[Any]]) -> None:
    outputs["log_prob"][0, 0] -= 0.25


def shift_the_own_one(outputs: dict[str, NDArray[Any]]) -> None:
    outputs["top_log_prob"][0, 0, 0] += 0.25


def leave_out_the_own_one(outputs: dict[str, NDArray[Any]]) -> None:
    outputs["top_ids"][0, 0] += 2
    outputs["top_log_prob"][0, 0] = outputs["log_prob"][0, 0] - np.array([0.125, 0.25], np.float32)


def put_the_second_first(outputs: dict[str, NDArray[Any]]) -> None:
    outputs["top_log_prob"][0, 0, 1] += 1.25


def repeat_one(outputs: dict[str, NDArray[Any]]) -> None:
    outputs["top_ids"][0, 0] = 9


def give_no_number(outputs: dict[str, NDArray[Any]]) -> None:
    outputs["top_log_prob"][0, 0, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (shift_log_prob, 0.25),
        (shift_the_own_one, 0.25),
        (leave_out_the_own_one, 0.25),
        (put_the_second_first, 0.25),
        (repeat_one, np.inf),
        (give_no_number, np.inf),
    ],
)
def test_the_likeliest_are_held_against_the_golden_answers(
    change: Callable[[dict[str, NDArray[Any]]], None], value: float
) -> None:
    right = largest_difference(Likely().scorer(), GOLDEN, 16)
    assert right.value == pytest.approx(0, abs=1e-6)
    found = largest_difference(Likely(change).scorer(), GOLDEN, 1)
    assert found.value == pytest.approx(value, abs=1e-5)
    assert (found.sentence, found.word) == (7, GOLDEN[6].sentence.words[0])


def test_all_signatures_of_an_export_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for top_k, signatures in (
        (0, [COMPACT_SIGNATURE, ARTICLE_SIGNATURE]),
        (2, [COMPACT_SIGNATURE, ARTICLE_SIGNATURE, TOP_K_SIGNATURE]),
    ):
        model = ExportedModel.open(write_model_dir(tmp_path / str(top_k), replace(toy_golden(30), top_k=top_k)))
        server = Likely()
        monkeypatch.setattr(clients, "connect", server.connect)
        ways = list(verify(RunningServer(None, "nowhere:1", "m", "remote"), model, GOLDEN[:3], 1.0))
        assert [(way.signature, way.batch_size) for way in ways] == [
            (signature, size) for signature in signatures for size in BATCH_SIZES
        ]
        assert set(server.signatures) == set(signatures)


def test_right_answers_do_not_differ() -> None:
    found = largest_difference(Shifted(1, 0.0), GOLDEN, 16)
    assert (found.value, found.sentence) == (0.0, 1)
