"""Compares a running server's answers with the golden ones over each protocol, signature and batch size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import GoldenSentence
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE, TOP_K_SIGNATURE
from bench.bert.contract.scoring import LogProbs, PieceAnswers, Scorer, TopKScorer
from bench.server.clients import protocols, served_scorer, top_k_scorer
from bench.server.running import RunningServer

BATCH_SIZES: Final = (1, 16)


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest difference between answers and golden answers.

    Args:
        value: |Δ log p| of a word; infinite where an answer is not finite.
        sentence: 1-based number of the golden sentence.
        word: the word.
    """

    value: float
    sentence: int
    word: str


@dataclass(frozen=True, slots=True)
class Verified:
    """One protocol, signature and batch size, and the largest difference there."""

    protocol: str
    signature: str
    batch_size: int
    difference: Difference


def verify(
    server: RunningServer, model: ExportedModel, golden: Sequence[GoldenSentence], timeout: float
) -> Iterator[Verified]:
    """Sends the golden sentences by each protocol and signature, in requests of 1 and of 16 sentences.

    Args:
        server: a running server.
        model: the export that it should serve.
        golden: sentences of the export, at least one.
        timeout: seconds for one request.

    Raises:
        ServingError: the server does not answer, or not as an export does.
    """
    signatures = (ARTICLE_SIGNATURE,) if model.golden.fixed else (COMPACT_SIGNATURE, ARTICLE_SIGNATURE)
    for protocol in protocols(server):
        for signature in signatures:
            with served_scorer(server, model, protocol, signature, timeout) as scorer:
                for size in BATCH_SIZES:
                    yield Verified(protocol, signature, size, largest_difference(scorer, golden, size))
        if model.golden.top_k:
            with top_k_scorer(server, model, protocol, timeout, instead="") as scorer:
                for size in BATCH_SIZES:
                    yield Verified(protocol, TOP_K_SIGNATURE, size, largest_difference(scorer, golden, size))


def largest_difference(scorer: Scorer | TopKScorer, golden: Sequence[GoldenSentence], batch_size: int) -> Difference:
    """The largest |Δ log p| over all words of `golden`, scored `batch_size` sentences at a time.

    Of a scorer that gives the likeliest WordPieces too, these are held against the golden answers as well.
    """
    found: list[Difference] = []
    for begin in range(0, len(golden), batch_size):
        group = golden[begin : begin + batch_size]
        sentences, numbers = [entry.sentence for entry in group], range(begin + 1, len(golden) + 1)
        if isinstance(scorer, TopKScorer):
            answers = scorer.answers(sentences)
            found += map(_sentence_difference, group, (answer.log_prob for answer in answers), numbers)
            found += map(_likeliest_difference, group, answers, numbers)
        else:
            found += map(_sentence_difference, group, scorer.score(sentences), numbers)
    return max(found, key=lambda difference: difference.value)


def _sentence_difference(entry: GoldenSentence, answer: LogProbs, number: int) -> Difference:
    words = np.asarray(entry.sentence.word_ids, np.intp)
    delta = np.bincount(words, answer - entry.log_prob, entry.sentence.num_words)
    distance = np.where(np.isfinite(delta), np.abs(delta), np.inf)
    word = int(distance.argmax())
    return Difference(float(distance[word]), number, entry.sentence.words[word])


def _likeliest_difference(entry: GoldenSentence, answer: PieceAnswers, number: int) -> Difference:
    """How far the likeliest WordPieces are from what the golden answer allows.

    That is, of each piece: its own log-probability where it is one of them, and otherwise one above the least of them;
    one that is above that of a likelier one; and infinity where one is there twice or a value is not finite.
    """
    assert answer.likeliest is not None
    ids, log_prob = answer.likeliest.ids, answer.likeliest.log_prob.astype(np.float64)
    wrong = ~np.isfinite(log_prob).all(axis=1)
    log_prob = np.where(wrong[:, None], 0, log_prob)
    own = ids == np.asarray(entry.sentence.token_ids, np.int32)[:, None]
    listed = np.where(own, np.abs(log_prob - entry.log_prob[:, None]), 0).max(axis=1)
    left_out = np.where(own.any(axis=1), 0, entry.log_prob - log_prob[:, -1])
    wrong |= (np.diff(np.sort(ids, axis=1), axis=1) == 0).any(axis=1)
    unordered = np.diff(log_prob, axis=1).max(axis=1, initial=0)
    distance = np.where(wrong, np.inf, np.maximum.reduce([listed, left_out, unordered]))
    piece = int(distance.argmax())
    return Difference(float(distance[piece]), number, entry.sentence.words[entry.sentence.word_ids[piece]])
