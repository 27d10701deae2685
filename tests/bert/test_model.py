"""One model, many ways: Estimator, both signatures, padded or not, alone or together, against a numpy BERT."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bench.bert.checkpoints.huggingface import to_hugging_face
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.checkpoints.variables import variable_shapes
from bench.bert.contract.masked_requests import (
    ARTICLE_SIGNATURE,
    COMPACT_SIGNATURE,
    FixedShape,
    Likeliest,
    article_inputs,
    compact_inputs,
    piece_likeliest,
    piece_log_probs,
)
from bench.bert.graph import masked_lm as masked_lm_module
from bench.bert.graph.backbone import Network
from bench.bert.graph.masked_lm import masked_lm, slot_log_prob
from bench.bert.graph.score_graph import MaskedPieces
from bench.bert.graph.signatures import COMPACT_INPUTS, article_placeholders
from bench.bert.text.sentence import EncodedSentence
from tests.bert.conftest import encode, small_checkpoint
from tests.support.bert_oracle import Oracle

v1 = tf.compat.v1

TOP_K = 4


class Graph:
    """Both graphs of a checkpoint in one session."""

    def __init__(self, session: Any, checkpoint: Checkpoint) -> None:
        self.special = checkpoint.tokenizer.special
        self.session = session
        self.article = article_placeholders()
        self.rows = slot_log_prob(masked_lm(Network(checkpoint.config), self.article), self.article)
        ranks = (2, 2, 1)
        self.compact = {
            name: v1.placeholder(tf.int32, (None,) * rank) for name, rank in zip(COMPACT_INPUTS, ranks, strict=True)
        }
        with v1.variable_scope("", reuse=True):
            self.masked = MaskedPieces.of(Network(checkpoint.config), self.special, **self.compact)
            self.pieces, self.likeliest = self.masked.log_prob(), self.masked.top_k(TOP_K)
        variables = v1.trainable_variables()
        fed = [v1.placeholder(variable.dtype, variable.shape) for variable in variables]
        load = tf.group(*(variable.assign(value) for variable, value in zip(variables, fed, strict=True)))
        session.run(load, dict(zip(fed, (checkpoint.variables[v.op.name] for v in variables), strict=True)))

    def by_article(self, sentences: list[EncodedSentence], shape: FixedShape | None = None) -> list[Any]:
        inputs = article_inputs(sentences, self.special, shape)
        output = self.session.run(self.rows, {self.article[name]: value for name, value in inputs.items()})
        return piece_log_probs(output, sentences, ARTICLE_SIGNATURE)

    def by_score(self, sentences: list[EncodedSentence]) -> list[Any]:
        return piece_log_probs(self.run_score(**compact_inputs(sentences)), sentences, COMPACT_SIGNATURE)

    def top_k(self, sentences: list[EncodedSentence]) -> list[Likeliest]:
        fed = {self.compact[name]: value for name, value in compact_inputs(sentences).items()}
        ids, log_prob = self.session.run(self.likeliest, fed)
        return piece_likeliest(ids, log_prob, sentences, TOP_K)

    def run_score(self, **inputs: Any) -> Any:
        return self.session.run(self.pieces, {self.compact[name]: value for name, value in inputs.items()})


@contextmanager
def graph(checkpoint: Checkpoint) -> Iterator[Graph]:
    with tf.Graph().as_default(), v1.Session() as session:
        yield Graph(session, checkpoint)


@pytest.fixture(scope="module")
def small(checkpoint: Checkpoint) -> Iterator[Graph]:
    with graph(checkpoint) as built:
        yield built


def oracle_of(checkpoint: Checkpoint) -> Oracle:
    config = checkpoint.config
    return Oracle(to_hugging_face(checkpoint.variables), config.num_attention_heads, config.hidden_act)


def oracle_answers(checkpoint: Checkpoint, sentences: list[EncodedSentence]) -> list[Any]:
    special, oracle = checkpoint.tokenizer.special, oracle_of(checkpoint)
    return [
        oracle.sentence(sentence.token_ids, sentence.word_ids, special.cls, special.sep, special.mask)
        for sentence in sentences
    ]


def assert_likeliest(found: Likeliest, sentence: EncodedSentence, checkpoint: Checkpoint) -> None:
    special, oracle = checkpoint.tokenizer.special, oracle_of(checkpoint)
    rows = oracle.distributions(sentence.token_ids, sentence.word_ids, special.cls, special.sep, special.mask)
    expected = np.argsort(-rows, axis=1)[:, :TOP_K]
    np.testing.assert_array_equal(found.ids, expected)
    assert_same([found.log_prob], [np.take_along_axis(rows, expected, axis=1)])


def assert_same(given: list[Any], expected: list[Any], tolerance: float = 1e-4) -> None:
    for index, (one, other) in enumerate(zip(given, expected, strict=True)):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=f"sentence {index}")


def mixed(count: int, seed: int = 5) -> list[EncodedSentence]:
    """Sentences of 1 to 38 pieces, words of one to five."""
    random = np.random.default_rng(seed)
    sentences = []
    for length in random.integers(1, 39, count):
        words, left = [], int(length)
        while left:
            size = min(left, int(random.choice([1, 1, 1, 2, 3, 5])))
            words += [size]
            left -= size
        ids = random.integers(5, 27, length)
        word_ids = np.repeat(np.arange(len(words)), words)
        sentences.append(EncodedSentence("", ("x",) * int(length), tuple(map(int, ids)), tuple(map(int, word_ids))))
    return sentences


@pytest.mark.parametrize(("act", "layers"), [("gelu", 2), ("gelu_new", 1), ("relu", 3)])
def test_both_graphs_are_bert(act: str, layers: int) -> None:
    """Every activation, and one layer, where the first layer is the last one too."""
    checkpoint = small_checkpoint(seed=layers, act=act, layers=layers)
    sentences = encode()
    expected = oracle_answers(checkpoint, sentences)
    with graph(checkpoint) as built:
        assert_same(built.by_article(sentences), expected)
        assert_same(built.by_score(sentences), expected)
        assert_same([built.by_score([sentence])[0] for sentence in sentences], expected)


@pytest.mark.parametrize("step", [7, 1, 10_000])
def test_the_head_goes_in_steps(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Seven pieces of the vocabulary at a time, which it is no multiple of; one; more than there are."""
    assert checkpoint.config.vocab_size % 7
    monkeypatch.setattr(masked_lm_module, "_LOGITS", 0)
    monkeypatch.setattr(masked_lm_module, "_LEAST_STEP", step)
    sentences = encode()
    with graph(checkpoint) as built:
        assert_same(built.by_article(sentences), oracle_answers(checkpoint, sentences))
        assert_same(built.by_score(sentences), oracle_answers(checkpoint, sentences))
        for found, sentence in zip(built.top_k(sentences), sentences, strict=True):
            assert_likeliest(found, sentence, checkpoint)


def test_the_activations_are_told_apart() -> None:
    sentences = encode()
    by_act = [oracle_answers(small_checkpoint(act=act), sentences)[0] for act in ("gelu", "gelu_new")]
    assert np.abs(by_act[0] - by_act[1]).max() > 1e-3


def test_a_batch_of_64_mixed_sentences_answers_as_each_alone(small: Graph) -> None:
    sentences = mixed(64)
    alone = [small.by_score([sentence])[0] for sentence in sentences]
    assert_same(small.by_score(sentences), alone)
    assert_same(small.by_article(sentences), alone)


def test_the_articles_padding_changes_nothing(small: Graph) -> None:
    sentences = encode()
    assert_same(small.by_article(sentences, FixedShape(40, 9)), small.by_score(sentences))


@pytest.mark.parametrize("filler", ["zeros", "the first element", "nonsense"])
def test_what_lies_past_num_pieces_does_not_matter(small: Graph, filler: str) -> None:
    """Serving's batching pads with a tensor's own first element, and may add whole rows that way."""
    sentences = encode()
    inputs = compact_inputs(sentences)
    expected = small.run_score(**inputs)
    width = inputs["token_ids"].shape[1]
    for name in ("token_ids", "word_ids"):
        fill = {"zeros": 0, "the first element": inputs[name].flat[0], "nonsense": 10**6}[filler]
        padded = np.full((len(sentences), width + 7), fill, np.int32)
        for row, sentence in enumerate(sentences):
            padded[row, : sentence.num_pieces] = inputs[name][row, : sentence.num_pieces]
        inputs[name] = padded
    given = small.run_score(**inputs)
    np.testing.assert_allclose(given[:, :width], expected, rtol=0, atol=1e-6)
    assert (given[:, width:] == 0).all()


def test_empty_sentences_answer_with_nothing(small: Graph) -> None:
    sentence = encode(["the cat sat"])[0]
    alone = small.by_score([sentence])[0]
    ids = np.array([[9, 9, 9], sentence.token_ids, [0, 0, 0]], np.int32)
    words = np.array([[0, 0, 0], sentence.word_ids, [0, 0, 0]], np.int32)
    given = small.run_score(token_ids=ids, word_ids=words, num_pieces=np.array([0, 3, 0]))
    np.testing.assert_allclose(given[1], alone, atol=1e-5)
    assert (given[[0, 2]] == 0).all()


@pytest.mark.parametrize("shape", [(1, 0), (2, 3), (0, 4)])
def test_a_batch_of_empty_sentences_only(small: Graph, shape: tuple[int, int]) -> None:
    zeros = np.zeros(shape, np.int32)
    given = small.run_score(token_ids=zeros, word_ids=zeros, num_pieces=np.zeros(shape[0], np.int32))
    assert given.shape == shape
    assert not given.any()


@pytest.mark.parametrize(
    ("words", "pieces"),
    [([[0, 2]], [2]), ([[-1, 0]], [2]), ([[0, 1]], [3]), ([[2_000_000_000, 0]], [1])],
)
def test_word_ids_that_describe_no_sentence_are_refused(small: Graph, words: Any, pieces: Any) -> None:
    """Otherwise a request of a few bytes could ask for any amount of memory."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="do not describe sentences"):
        small.run_score(token_ids=np.full((1, 2), 7), word_ids=np.array(words), num_pieces=np.array(pieces))


def test_the_graph_has_the_listed_variables_and_no_other(small: Graph, checkpoint: Checkpoint) -> None:
    with small.session.graph.as_default():
        built = {variable.op.name: tuple(variable.shape.as_list()) for variable in v1.global_variables()}
    assert built == variable_shapes(checkpoint.config)
