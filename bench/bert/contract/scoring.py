"""Scores a stream of sentences in order, in bounded memory: bucketed by length, batched, several requests at once."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import (
    ARTICLE_SIGNATURE,
    COMPACT_SIGNATURE,
    FIXED_OUTPUT,
    LOG_PROB,
    TOP_IDS,
    TOP_K_SIGNATURE,
    TOP_LOG_PROB,
    Likeliest,
    piece_likeliest,
    piece_log_probs,
    score_request,
)
from bench.bert.contract.sentence_limits import SentenceLimits, line_windows
from bench.bert.text.sentence import EncodedSentence, SpecialTokens
from bench.bert.text.windows import Window
from bench.core.errors import UsageError
from bench.core.types import Floats
from bench.serving.errors import InvalidResponse, Rejected
from bench.serving.types import DEFAULT_MODEL_NAME, ServingClient

LogProbs = NDArray[np.float32]

# Sentences that are sorted by length together; memory holds two such groups. A resumed job starts at a multiple of it,
# so that the batches, and with them the last bit of each answer, are those of an uninterrupted run.
READ_AHEAD = 512
# Positions (masked copies × padded length) of a batch: some 16 sentences of 14 words. Larger ones gain nothing on CPU.
BATCH_POSITIONS = 4096
BATCH_SENTENCES = 64
# A probability of 1 may come out of float32 or bfloat16 as a little more.
_MOST_LOG_PROB = 1e-3
WITHOUT_TOP_K = f"leave out what is likeliest with --signature {ARTICLE_SIGNATURE}"
"""What a user can do about a server without `score_top_k`."""


class Scorer(Protocol):
    """Gives log-probabilities: a served model or a reference scorer."""

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        """The natural log-probability of each piece, one float32 vector a sentence."""


@dataclass(frozen=True)
class PieceAnswers:
    """A model's answers for the N pieces of a sentence.

    Args:
        log_prob: log-probability of each piece, float32, N.
        likeliest: what the model finds likeliest at each place; None where it was not asked.
    """

    log_prob: LogProbs
    likeliest: Likeliest | None = None

    def part(self, keep: slice) -> "PieceAnswers":
        """Those for some of the pieces."""
        return PieceAnswers(self.log_prob[keep], self.likeliest and self.likeliest.part(keep))

    @classmethod
    def joined(cls, parts: Sequence["PieceAnswers"]) -> "PieceAnswers":
        """Those of one part of a sentence after the other."""
        if not parts:
            return cls(np.zeros(0, np.float32))
        likeliest = [part.likeliest for part in parts if part.likeliest is not None]
        log_prob = np.concatenate([part.log_prob for part in parts])
        return cls(log_prob, Likeliest.joined(likeliest) if likeliest else None)


@dataclass(frozen=True)
class ScoredSentence:
    """A sentence with its answer.

    Args:
        line: 1-based line in the input.
        sentence: the tokenized sentence, N pieces.
        log_prob: log-probability of each piece, float32, N.
        likeliest: what the model finds likeliest at each place; None where it was not asked.
    """

    line: int
    sentence: EncodedSentence
    log_prob: LogProbs
    likeliest: Likeliest | None = None

    @property
    def word_log_prob(self) -> Floats:
        """Log-probability of each word: the sum over its pieces."""
        words = np.asarray(self.sentence.word_ids, np.intp)
        return np.asarray(np.bincount(words, self.log_prob, self.sentence.num_words), np.float64)

    @property
    def ppl(self) -> float | None:
        """Pseudo-perplexity per *word*, as bert-as-language-model computes it; None without a word, or past a float."""
        return self._ppl(self.sentence.num_words)

    @property
    def ppl_per_piece(self) -> float | None:
        """Pseudo-perplexity per WordPiece; None without a piece, or past a float."""
        return self._ppl(self.sentence.num_pieces)

    def _ppl(self, count: int) -> float | None:
        if not count:
            return None
        with np.errstate(over="ignore"):
            value = float(np.exp(-self.log_prob.astype(np.float64).sum() / count))
        # JSON has no infinity.
        return value if value < math.inf else None


@dataclass(frozen=True)
class ComparedSentence(ScoredSentence):
    """A sentence that two models scored.

    Args:
        other: as the second model scores it; its tokenizer may split it otherwise.
    """

    other: ScoredSentence = field(kw_only=True)


class ServedScorer:
    """Scores through a server. Each thread that calls it gets a client of its own.

    Args:
        connect: makes a client.
        special: ids of the special tokens.
        signature: which of the two signatures is used.
        model: the model's name on the server.
        timeout: seconds a request may take.
        fixed: shapes and output of an export with only the article's signature.
    """

    def __init__(
        self,
        connect: Callable[[], ServingClient],
        special: SpecialTokens,
        signature: str = COMPACT_SIGNATURE,
        model: str = DEFAULT_MODEL_NAME,
        timeout: float = 60.0,
        fixed: FixedExport | None = None,
    ) -> None:
        self._connect = connect
        self._special = special
        self._signature = ARTICLE_SIGNATURE if fixed else signature
        self._fixed = fixed
        self._model = model
        self._timeout = timeout
        self._local = threading.local()
        self._clients: list[ServingClient] = []

    def score(self, sentences: Sequence[EncodedSentence]) -> list[LogProbs]:
        """One request for all `sentences`.

        Raises:
            ServingError: the server or the connection failed, or the response does not fit the request.
        """
        outputs = self._outputs(sentences)
        with _expected():
            return piece_log_probs(self._log_prob(outputs), sentences, self._signature)

    def _outputs(self, sentences: Sequence[EncodedSentence]) -> Mapping[str, NDArray[Any]]:
        """The server's answer to one request for all `sentences`."""
        shape = self._fixed.shape if self._fixed else None
        request = score_request(sentences, self._special, self._signature, shape, self._model)
        return self._client().predict(request, self._timeout).outputs

    def _log_prob(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The output with the log-probabilities; a single output has no name in a REST answer."""
        if self._fixed:
            return self._fixed.log_prob(outputs.get(FIXED_OUTPUT, outputs.get("", np.zeros(0, np.float32))))
        return outputs[LOG_PROB] if LOG_PROB in outputs else outputs[""]

    def close(self) -> None:
        """Closes all clients."""
        while self._clients:
            self._clients.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()

    def _client(self) -> ServingClient:
        client: ServingClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
            self._clients.append(client)
        return client


class TopKScorer(ServedScorer):
    """Scores through the signature `score_top_k` of a server.

    Args:
        connect: see `ServedScorer`, as for `special`, `model` and `timeout`.
        count: likeliest WordPieces at each place.
        instead: what else to do about a server without the signature, after an "or"; "" for nothing.
    """

    def __init__(
        self,
        connect: Callable[[], ServingClient],
        special: SpecialTokens,
        model: str,
        timeout: float,
        count: int,
        instead: str = WITHOUT_TOP_K,
    ) -> None:
        super().__init__(connect, special, TOP_K_SIGNATURE, model, timeout)
        self._count = count
        self._instead = instead

    def answers(self, sentences: Sequence[EncodedSentence]) -> list[PieceAnswers]:
        """One request for all `sentences`, with what the model finds likeliest. For the errors see `score`."""
        try:
            outputs = self._outputs(sentences)
        except Rejected as error:
            if TOP_K_SIGNATURE not in str(error):
                raise
            raise Rejected(
                f"the server's model has no signature {TOP_K_SIGNATURE}, which --model-dir has: serve that export"
                + (f", or {self._instead}" if self._instead else ""),
                error.code,
            ) from error
        with _expected():
            log_prob = piece_log_probs(outputs[LOG_PROB], sentences, TOP_K_SIGNATURE)
            likeliest = piece_likeliest(outputs[TOP_IDS], outputs[TOP_LOG_PROB], sentences, self._count)
            return list(map(PieceAnswers, log_prob, likeliest))


@contextmanager
def _expected() -> Iterator[None]:
    """Outputs that are missing or do not fit the request are a response of something else."""
    try:
        yield
    except (KeyError, ValueError) as error:
        raise InvalidResponse(
            f"the response is not that of a language model ({error}); does the server have an export of bertbench?"
        ) from error


def batches(lengths: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices grouped so that sentences of like length go together and no batch grows past its bounds.

    Args:
        lengths: (words, pieces) of each sentence.

    Returns:
        Index lists, longest sentences first, so that no long batch runs last.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index][1], reverse=True)
    groups: list[list[int]] = []
    rows = width = 0
    for index in order:
        words, pieces = lengths[index]
        full = groups and (len(groups[-1]) >= BATCH_SENTENCES or (rows + words) * width > BATCH_POSITIONS)
        if not groups or full:
            groups.append([])
            rows, width = 0, pieces + 2
        groups[-1].append(index)
        rows += words
    return groups


class _Chunk:
    """Sentences scored together, and the futures of their batches."""

    def __init__(self, items: list[tuple[int, EncodedSentence]], windows: list[list[Window]]) -> None:
        self.items = items
        self.windows = windows
        self.units = [(row, window) for row, cut in enumerate(windows) for window in cut if window.part.num_pieces]
        self.futures: list[tuple[list[int], Future[list[PieceAnswers]]]] = []

    def submit(self, pool: ThreadPoolExecutor, ask: Callable[[list[EncodedSentence]], list[PieceAnswers]]) -> None:
        parts = [window.part for _, window in self.units]
        for group in batches([(part.num_words, part.num_pieces) for part in parts]):
            self.futures.append((group, pool.submit(ask, [parts[index] for index in group])))

    def results(self) -> Iterator[ScoredSentence]:
        found: dict[int, PieceAnswers] = {}
        for group, future in self.futures:
            found |= zip(group, future.result(), strict=True)
        answers: list[list[PieceAnswers]] = [[] for _ in self.items]
        for index, (row, window) in enumerate(self.units):
            answers[row].append(found[index].part(window.keep))
        for (line, sentence), parts in zip(self.items, answers, strict=True):
            whole = PieceAnswers.joined(parts)
            yield ScoredSentence(line, sentence, whole.log_prob, whole.likeliest)

    def cancel(self) -> None:
        for _, future in self.futures:
            future.cancel()


def score_stream(
    sentences: Iterable[tuple[int, EncodedSentence]],
    scorer: Scorer | TopKScorer,
    limits: SentenceLimits,
    *,
    name: str,
    long_windows: bool = False,
    in_flight: int = 3,
) -> Iterator[ScoredSentence]:
    """Scores (line number, sentence) pairs, in order.

    Args:
        sentences: any number of them; two windows of `READ_AHEAD` are held at a time.
        scorer: what gives the log-probabilities, and the likeliest pieces if it can; called from `in_flight` threads.
        limits: what the model takes.
        name: of the file, for messages.
        long_windows: cut longer sentences into overlapping windows instead of refusing them.
        in_flight: batches under way at once.

    Raises:
        UsageError: a sentence or a word is too long; the message names file and line. Those before it are given first.
        BenchError: whatever `scorer` raises.
    """

    def ask(parts: list[EncodedSentence]) -> list[PieceAnswers]:
        if isinstance(scorer, TopKScorer):
            return list(map(_checked, scorer.answers(parts)))
        return [_checked(PieceAnswers(log_prob)) for log_prob in scorer.score(parts)]

    source = iter(sentences)
    chunks: deque[_Chunk] = deque()
    pool = ThreadPoolExecutor(in_flight, thread_name_prefix="score")
    failed: UsageError | None = None
    try:
        while True:
            while len(chunks) < 2 and failed is None:
                items, windows, failed = _take(source, name, limits, long_windows)
                if not items:
                    break
                chunks.append(_Chunk(items, windows))
                chunks[-1].submit(pool, ask)
            if not chunks:
                break
            yield from chunks.popleft().results()
        if failed is not None:
            raise failed
    finally:
        for chunk in chunks:
            chunk.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


def _checked(answers: PieceAnswers) -> PieceAnswers:
    """The same answers.

    Raises:
        InvalidResponse: one is not the logarithm of a probability above 0.
    """
    for values in (answers.log_prob, *((answers.likeliest.log_prob,) if answers.likeliest else ())):
        wrong = values[~(np.isfinite(values) & (values <= _MOST_LOG_PROB))]
        if wrong.size:
            raise InvalidResponse(
                f"a log-probability in the response is {wrong[0]}, which no language model gives; check the server "
                "with bertbench verify"
            )
    return answers


def _take(
    source: Iterator[tuple[int, EncodedSentence]], name: str, limits: SentenceLimits, long_windows: bool
) -> tuple[list[tuple[int, EncodedSentence]], list[list[Window]], UsageError | None]:
    """The next sentences up to `READ_AHEAD`, and the error that ended them early, if one did."""
    items: list[tuple[int, EncodedSentence]] = []
    windows: list[list[Window]] = []
    try:
        for line, sentence in islice(source, READ_AHEAD):
            windows.append(line_windows(f"{name} line {line}", sentence, limits, long_windows))
            items.append((line, sentence))
    except UsageError as error:
        return items, windows, error
    return items, windows, None
