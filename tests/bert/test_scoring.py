"""The stream of scored sentences: order, batching, bounds, errors."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.bert.contract import scoring
from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import COMPACT_SIGNATURE, TOP_K_SIGNATURE, FixedShape
from bench.bert.contract.scoring import BATCH_SENTENCES, LogProbs, ServedScorer, TopKScorer, batches, score_stream
from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.core.errors import UsageError
from bench.serving.errors import InvalidResponse, Rejected, Unavailable
from bench.serving.fake import FakeServingClient
from bench.serving.types import PredictRequest

SPECIAL = SpecialTokens(0, 1, 2, 3, 4)


def sentence(index: int, words: int) -> EncodedSentence:
    ids = tuple(100 * index + word for word in range(words))
    return EncodedSentence(f"s{index}", tuple(f"w{value}" for value in ids), ids, tuple(range(words)))


class EchoScorer:
    """Gives each piece its own id as log-probability; keeps what it was asked, and how many calls ran at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.most = self._now = 0
        self._lock = threading.Lock()

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.calls.append(len(sentences))
        try:
            return [-np.asarray(entry.token_ids, np.float32) for entry in sentences]
        finally:
            with self._lock:
                self._now -= 1


def test_output_is_in_input_order_whatever_the_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "READ_AHEAD", 16)
    rng = np.random.default_rng(1)
    given = [(2 * index + 1, sentence(index, int(rng.integers(1, 30)))) for index in range(100)]
    scorer = EchoScorer()
    found = list(score_stream(given, scorer, SentenceLimits(30), name="text.tsv"))
    assert [entry.line for entry in found] == [line for line, _ in given]
    for entry, (_, whole) in zip(found, given, strict=True):
        assert list(-entry.log_prob) == list(whole.token_ids)
    assert scorer.most <= 3


def test_memory_is_bounded_reading_stays_two_windows_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "READ_AHEAD", 8)
    read = 0

    def source() -> Iterator[tuple[int, EncodedSentence]]:
        nonlocal read
        for index in range(1000):
            read += 1
            yield index + 1, sentence(index, 3)

    for given, _ in enumerate(score_stream(source(), EchoScorer(), SentenceLimits(30), name="text.tsv")):
        assert read - given <= 3 * 8


def test_long_sentences_are_an_error_that_names_the_line_after_those_before_it() -> None:
    stream = score_stream(
        [(1, sentence(0, 3)), (5, sentence(1, 12))], EchoScorer(), SentenceLimits(10), name="text.tsv"
    )
    assert next(stream).line == 1
    with pytest.raises(UsageError, match=r"^text\.tsv line 5 has 12 WordPieces and the model takes 10"):
        next(stream)


def test_long_windows_give_each_word_its_answer() -> None:
    (found,) = score_stream(
        [(1, sentence(0, 40))], EchoScorer(), SentenceLimits(10), name="text.tsv", long_windows=True
    )
    assert list(-found.log_prob) == list(range(40))


FIXED = FixedExport(FixedShape(8, 2), "prob")


def fixed_answer(request: PredictRequest) -> dict[str, NDArray[Any]]:
    assert request.inputs["input_ids"].shape[1] == 8
    return {"output": np.full(request.inputs["masked_lm_ids"].shape, 0.5, np.float32)}


def test_sentences_of_a_fixed_export_end_at_its_shape() -> None:
    """Those before it are given; in windows longer ones are scored, except for a word that fits nowhere."""
    limits = SentenceLimits.of(38, FIXED)
    long_word = EncodedSentence("abcd", ("a", "##b", "##c"), (5, 6, 7), (0, 0, 0))
    given = [(1, sentence(0, 6)), (2, sentence(1, 7)), (3, long_word)]
    with ServedScorer(lambda: FakeServingClient(fixed_answer), SPECIAL, fixed=FIXED) as scorer:
        stream = score_stream(given, scorer, limits, name="text.tsv")
        assert next(stream).line == 1
        with pytest.raises(
            UsageError, match=r"^text\.tsv line 2 has 7 WordPieces and --fixed-length 8 takes 6; shorten it, or"
        ):
            next(stream)
        stream = score_stream(given, scorer, limits, name="text.tsv", long_windows=True)
        assert [len(entry.log_prob) for entry in (next(stream), next(stream))] == [6, 7]
        with pytest.raises(
            UsageError, match=r"^text\.tsv line 3 has a word of 3 WordPieces and --max-predictions takes 2; remove"
        ):
            next(stream)


@pytest.mark.parametrize(("length", "predictions"), [(2, 1), (41, 1), (8, 0), (8, 41)])
def test_fixed_shapes_are_those_of_the_model(length: int, predictions: int) -> None:
    shape = FixedShape(length, predictions)
    with pytest.raises(UsageError, match="do not go with a model of 40 positions; give 3 to that many, and 1 to that"):
        SentenceLimits.of(38, FixedExport(shape, "prob"))


def test_a_failing_target_ends_the_stream_with_its_error() -> None:
    class Failing:
        def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
            raise Unavailable("no")

    with pytest.raises(Unavailable):
        list(score_stream([(1, sentence(0, 3))], Failing(), SentenceLimits(10), name="text.tsv"))


def test_batches_hold_like_lengths_within_bounds() -> None:
    rng = np.random.default_rng(2)
    lengths = [(int(size), int(size) + 2) for size in rng.integers(1, 60, 500)]
    groups = batches(lengths)
    assert sorted(index for group in groups for index in group) == list(range(500))
    for group in groups:
        assert len(group) <= BATCH_SENTENCES
        positions = sum(lengths[index][0] for index in group) * (max(lengths[index][1] for index in group) + 2)
        assert len(group) == 1 or positions <= scoring.BATCH_POSITIONS


def test_perplexities() -> None:
    whole = EncodedSentence("a bc", ("a", "b", "##c"), (1, 2, 3), (0, 1, 1))
    scored = scoring.ScoredSentence(1, whole, np.log(np.array([0.5, 0.5, 0.25], np.float32)))
    assert scored.ppl == pytest.approx((0.5 * 0.5 * 0.25) ** (-1 / 2))
    assert scored.ppl_per_piece == pytest.approx((0.5 * 0.5 * 0.25) ** (-1 / 3))
    assert np.exp(scored.word_log_prob) == pytest.approx([0.5, 0.125])
    unlikely = scoring.ScoredSentence(1, whole, np.full(3, -500, np.float32))
    assert unlikely.ppl is None
    assert unlikely.ppl_per_piece == pytest.approx(np.exp(500.0))
    empty = scoring.ScoredSentence(1, EncodedSentence("\x00", (), (), ()), np.zeros(0, np.float32))
    assert empty.ppl is None


def test_an_answer_that_is_no_language_models_is_an_invalid_response() -> None:
    for outputs in ({"y": np.zeros((1, 3))}, {"log_prob": np.zeros((1, 1))}, {"log_prob": np.zeros(3)}):
        client = FakeServingClient(lambda request, outputs=outputs: outputs)  # type: ignore[misc]
        with ServedScorer(lambda client=client: client, SPECIAL) as scorer, pytest.raises(InvalidResponse):  # type: ignore[misc]
            scorer.score([sentence(0, 3)])
        assert client.closed


def test_what_is_likeliest_comes_with_the_answers_window_by_window() -> None:
    """Whose two likeliest at each place are its own piece and the one after it."""

    def answer(request: PredictRequest) -> dict[str, NDArray[Any]]:
        ids = request.inputs["token_ids"]
        likeliest = np.stack((ids, ids + 1), axis=-1)
        return {"log_prob": -ids.astype(np.float32), "top_ids": likeliest, "top_log_prob": -likeliest / 2}

    client = FakeServingClient(answer)
    given = [(1, sentence(1, 40)), (2, sentence(2, 3)), (3, sentence(3, 0))]
    with TopKScorer(lambda: client, SPECIAL, "m", 1.0, 2) as scorer:
        found = list(score_stream(given, scorer, SentenceLimits(10), name="text.tsv", long_windows=True, in_flight=1))
    for entry, (_, whole) in zip(found[:2], given, strict=False):
        assert entry.likeliest is not None
        assert entry.likeliest.ids.tolist() == [[index, index + 1] for index in whole.token_ids]
        assert (entry.likeliest.log_prob == -entry.likeliest.ids / 2).all()
        assert (-entry.log_prob).tolist() == list(whole.token_ids)
    assert found[2].likeliest is None
    assert {call.signature for call in client.calls} == {TOP_K_SIGNATURE}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.01])
@pytest.mark.parametrize("output", ["log_prob", "top_log_prob", "output"])
def test_what_is_no_log_probability_is_an_invalid_response(output: str, value: float) -> None:
    """Of a fixed export the output is a probability."""

    def answer(request: PredictRequest) -> dict[str, NDArray[Any]]:
        if output == "output":
            wrong = {np.inf: np.inf, -np.inf: 0.0, 0.01: 1.01}.get(value, value)
            return {"output": np.full(request.inputs["masked_lm_ids"].shape, wrong, np.float32)}
        ids = request.inputs["token_ids"]
        found = {"log_prob": -np.ones(ids.shape), "top_log_prob": -np.ones((*ids.shape, 2))}
        found[output].ravel()[1] = value
        return found | {"top_ids": np.zeros((*ids.shape, 2), int)}

    def scorer() -> ServedScorer:
        if output == "top_log_prob":
            return TopKScorer(lambda: FakeServingClient(answer), SPECIAL, "m", 1.0, 2)
        fixed = FIXED if output == "output" else None
        return ServedScorer(lambda: FakeServingClient(answer), SPECIAL, fixed=fixed)

    with scorer() as asked, pytest.raises(InvalidResponse, match="a log-probability in the response is") as caught:
        list(score_stream([(1, sentence(0, 3))], asked, SentenceLimits(10), name="text.tsv"))
    assert "\n" not in str(caught.value)


def test_rounding_above_a_probability_of_one_passes() -> None:
    client = FakeServingClient(lambda request: {"log_prob": np.full(request.inputs["token_ids"].shape, 1e-6)})
    with ServedScorer(lambda: client, SPECIAL) as scorer:
        (found,) = score_stream([(1, sentence(0, 3))], scorer, SentenceLimits(10), name="text.tsv")
    assert found.ppl == pytest.approx(1, abs=1e-5)


def test_likeliest_that_do_not_fit_are_an_invalid_response() -> None:
    good = {"log_prob": np.zeros((1, 3)), "top_ids": np.zeros((1, 3, 2), np.int32), "top_log_prob": np.zeros((1, 3, 2))}
    for change in (
        {"top_ids": np.zeros((1, 3, 2))},
        {"top_log_prob": np.zeros((1, 3, 1))},
        {"top_ids": np.zeros(3, int)},
        {"top_ids": np.full((1, 3, 2), -5)},
        {"top_ids": np.full((1, 3, 2), 2**40)},
        {"top_ids": np.zeros((1, 3, 1), int), "top_log_prob": np.zeros((1, 3, 1))},
    ):
        client = FakeServingClient(lambda request, change=change: good | change)  # type: ignore[misc]
        with TopKScorer(lambda client=client: client, SPECIAL, "m", 1.0, 2) as scorer, pytest.raises(InvalidResponse):  # type: ignore[misc]
            scorer.answers([sentence(0, 3)])


def test_a_server_without_the_likeliest_is_named() -> None:
    def refuse(request: PredictRequest) -> dict[str, NDArray[Any]]:
        raise Rejected(f'Serving signature name: "{request.signature}" not found in signature def', "400")

    scorer = TopKScorer(lambda: FakeServingClient(refuse), SPECIAL, "m", 1.0, 2)
    with scorer, pytest.raises(Rejected, match="--signature serving_default"):
        scorer.answers([sentence(0, 3)])


def test_served_scorer_asks_by_the_compact_signature() -> None:
    client = FakeServingClient(lambda request: {"log_prob": -request.inputs["token_ids"].astype(np.float32)})
    with ServedScorer(lambda: client, SPECIAL, model="m") as scorer:
        first, second = scorer.score([sentence(1, 3), sentence(2, 5)])
    assert list(-first) == [100, 101, 102]
    assert len(second) == 5
    assert client.calls[0].signature == COMPACT_SIGNATURE
    assert client.calls[0].model == "m"
