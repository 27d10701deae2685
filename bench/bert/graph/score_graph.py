"""TF: the graph of the compact signature `score`: sentences in, log-probabilities of their pieces out.

A sentence of N words becomes N rows, a different word masked in each. No padding is computed:

- Rows stand only for words that are there, and of every row only the tokens that are there go through the encoder;
  only attention sees the rows padded to the longest, with the padding masked.
- The rows of a sentence differ in one word, so the first layer's embeddings and projections are computed once for
  each token of the sentence and once for [MASK] at each position, not once a row.
- Only the masked pieces are wanted, so the last layer's queries and all that follows are computed for those only.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from bench.bert.graph.backbone import Network, Queries, embed, encoder_layer, key_bias
from bench.bert.graph.layout import PackedLayout
from bench.bert.graph.masked_lm import Head
from bench.bert.text.sentence import SpecialTokens

v1 = tf.compat.v1


@dataclass(frozen=True)
class MaskedPieces:
    """The head over the K pieces of B sentences, each with its word masked, and where they stand.

    Args:
        batch: where everything stands.
        head: over the K pieces.
    """

    batch: "Batch"
    head: Head

    @classmethod
    def of(cls, net: Network, special: SpecialTokens, token_ids: Any, word_ids: Any, num_pieces: Any) -> "MaskedPieces":
        """Runs the encoder.

        Args:
            net: how the graph is built.
            special: ids of [CLS], [SEP] and [MASK].
            token_ids: int32 `[B, S]`, without [CLS] and [SEP].
            word_ids: int32 `[B, S]`, from 0 and growing by one a word.
            num_pieces: int32 `[B]`; nothing past it is looked at.
        """
        batch = Batch.plan(token_ids, word_ids, num_pieces, net.config.num_attention_heads)
        distinct = embed(net, *batch.distinct_tokens(special))
        return cls(batch, Head.over(net, _encode_pieces(net, distinct, batch)))

    def log_prob(self) -> Any:
        """Log-probability of each piece, float32 `[B, S]`, 0 past `num_pieces`."""
        return self.batch.spread(self.head.log_prob(self.batch.labels))

    def top_k(self, count: int) -> tuple[Any, Any]:
        """The ids, int32 `[B, S, count]`, and log-probabilities, float32, of the likeliest pieces at each place."""
        ids, log_prob = self.head.top_k(count)
        return self.batch.spread(ids), self.batch.spread(log_prob)


def _encode_pieces(net: Network, distinct: Any, batch: "Batch") -> Any:
    """The encoder's output at the K masked pieces, `[K, hidden]`, from the embeddings of the distinct tokens."""
    bias = key_bias(tf.sequence_mask(batch.row_lengths, batch.width))
    first, later, pieces = batch.first_layout(), batch.row_layout(), batch.piece_layout()
    x, layout = distinct, first
    for layer in range(net.config.num_hidden_layers):
        if layer == net.config.num_hidden_layers - 1:
            queries = Queries(tf.gather(x, batch.piece_lines(layout)), pieces)
        elif layer == 0:
            queries = Queries(x, first, residual=tf.gather(x, batch.token_lines(first)))
        else:
            queries = None
        x = encoder_layer(net, layer, x, layout, bias, queries=queries)
        layout = later
    return x


@dataclass(frozen=True)
class Batch:
    """Where everything stands: B sentences, R rows (words) in all, T tokens in all rows, K pieces in all sentences.

    Args:
        heads: attention heads.
        token_ids: int32 `[B, S]`.
        where: int32 `[K, 2]`, sentence and position of each piece.
        labels: int32 `[K]`, the pieces' ids.
        lengths: int32 `[B]`, tokens of each sentence, [CLS] and [SEP] included.
        width: int32 scalar, the longest row.
        row_lengths: int32 `[R]`.
        row_sentence: int32 `[R]`.
        piece_row: int32 `[K]`, the row that each piece is masked in.
    """

    heads: int
    token_ids: Any
    where: Any
    labels: Any
    lengths: Any
    width: Any
    row_lengths: Any
    row_sentence: Any
    piece_row: Any

    @classmethod
    def plan(cls, token_ids: Any, word_ids: Any, num_pieces: Any, heads: int) -> "Batch":
        present = tf.sequence_mask(num_pieces, tf.shape(token_ids)[1])
        where = tf.cast(tf.where(present), tf.int32)
        words = tf.reduce_max(tf.where(present, word_ids + 1, 0), axis=1)
        sane = v1.Assert(
            tf.reduce_all((num_pieces <= tf.shape(token_ids)[1]) & (words <= tf.maximum(num_pieces, 0)))
            & (tf.reduce_min(tf.where(present, word_ids, 0)) >= 0),
            ["word_ids or num_pieces do not describe sentences"],
        )
        # Everything below follows from these two: nothing is sized by them before they are known to be sane.
        with tf.control_dependencies([sane]):
            words, num_pieces = tf.identity(words), tf.identity(num_pieces)
        first_row = tf.cumsum(words, exclusive=True)
        lengths = tf.where(num_pieces > 0, num_pieces + 2, 0)
        row_sentence = tf.repeat(tf.range(tf.size(words)), words)
        return cls(
            heads=heads,
            token_ids=token_ids,
            where=where,
            labels=tf.gather_nd(token_ids, where),
            lengths=lengths,
            width=tf.reduce_max(tf.concat((lengths, [2]), axis=0)),
            row_lengths=tf.gather(lengths, row_sentence),
            row_sentence=row_sentence,
            piece_row=tf.gather(first_row, where[:, 0]) + tf.gather_nd(word_ids, where),
        )

    def distinct_tokens(self, special: SpecialTokens) -> tuple[Any, Any]:
        """Ids and positions of the U tokens of all sentences, then of [MASK] at each of the S positions."""
        sentence = tf.repeat(tf.range(tf.size(self.lengths)), self.lengths)
        position = tf.range(tf.size(sentence)) - tf.gather(self._sentence_start, sentence)
        last = tf.gather(self.lengths, sentence) - 1
        inner = tf.clip_by_value(position - 1, 0, last)
        ids = tf.gather_nd(self.token_ids, tf.stack((sentence, tf.minimum(inner, last - 2)), axis=1))
        ids = tf.where(tf.equal(position, last), special.sep, ids)
        # `==` between tensors compares identity when a V1 graph is being built.
        ids = tf.where(tf.equal(position, 0), special.cls, ids)
        masks = tf.fill((self.width,), special.mask)
        return tf.concat((ids, masks), axis=0), tf.concat((position, tf.range(self.width)), axis=0)

    def first_layout(self) -> PackedLayout:
        """Of the first layer: rows of lines of the distinct tokens."""
        start = tf.gather(self._sentence_start, self.row_sentence)
        slots = self._slots(start, self.row_lengths, self.width)
        masked = tf.reduce_sum(self.lengths) + self.piece_position
        slots = tf.tensor_scatter_nd_update(slots, tf.stack((self.piece_row, self.piece_position), axis=1), masked)
        return PackedLayout.of(slots, self._token_lines, self.heads)

    def row_layout(self) -> PackedLayout:
        """Of the other layers: rows of lines of the T tokens."""
        slots = self._slots(self._row_start, self.row_lengths, self.width)
        return PackedLayout.of(slots, self._token_lines, self.heads)

    def piece_layout(self) -> PackedLayout:
        """Of the last layer's queries: rows of lines of the K pieces."""
        rows = tf.size(self.row_sentence)
        counts = tf.math.unsorted_segment_sum(tf.ones_like(self.piece_row), self.piece_row, rows)
        start = tf.cumsum(counts, exclusive=True)
        width = tf.reduce_max(tf.concat((counts, [1]), axis=0))
        ordinal = tf.range(tf.size(self.piece_row)) - tf.gather(start, self.piece_row)
        return PackedLayout.of(self._slots(start, counts, width), self.piece_row * width + ordinal, self.heads)

    def spread(self, values: Any) -> Any:
        """Values of the K pieces, `[K, ...]`, where the pieces stand, `[B, S, ...]`; 0 elsewhere."""
        shape = tf.concat((tf.shape(self.token_ids), tf.shape(values)[1:]), axis=0)
        return tf.scatter_nd(self.where, values, shape)

    def token_lines(self, layout: PackedLayout) -> Any:
        """int32 `[T]`: the line of each token among those that `layout` spreads."""
        return tf.gather(tf.reshape(layout.slots, (-1,)), self._token_lines)

    def piece_lines(self, layout: PackedLayout) -> Any:
        """int32 `[K]`: the lines of the masked pieces among those that `layout` spreads."""
        return tf.gather_nd(layout.slots, tf.stack((self.piece_row, self.piece_position), axis=1))

    @property
    def piece_position(self) -> Any:
        """int32 `[K]`: where in its row each piece stands, after [CLS]."""
        return self.where[:, 1] + 1

    @property
    def _sentence_start(self) -> Any:
        return tf.cumsum(self.lengths, exclusive=True)

    @property
    def _row_start(self) -> Any:
        return tf.cumsum(self.row_lengths, exclusive=True)

    @property
    def _token_lines(self) -> Any:
        """int32 `[T]`: index of each token in the flattened `[R * S]`."""
        return tf.cast(tf.where(tf.reshape(tf.sequence_mask(self.row_lengths, self.width), (-1,)))[:, 0], tf.int32)

    @staticmethod
    def _slots(start: Any, lengths: Any, width: Any) -> Any:
        """int32 `[R, width]`: lines from `start` on; past a row's end its last line again."""
        step = tf.minimum(tf.range(width)[tf.newaxis, :], tf.maximum(lengths - 1, 0)[:, tf.newaxis])
        return start[:, tf.newaxis] + step
