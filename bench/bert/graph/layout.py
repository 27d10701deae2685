"""TF: where the tokens of a batch stand: lines of a matrix `[T, hidden]` to the rows and heads, and back."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Layout:
    """Where the T tokens of R rows stand, the longest row of S positions; here every position is a line, T = R * S.

    Args:
        rows: R.
        width: S.
        heads: attention heads.
    """

    rows: Any
    width: Any
    heads: int

    def to_heads(self, tokens: Any) -> Any:
        """`[T, hidden]` to `[R, heads, S, hidden / heads]`."""
        shape = (self.rows, self.width, self.heads, tokens.shape[-1] // self.heads)
        return tf.transpose(tf.reshape(tokens, shape), (0, 2, 1, 3))

    def from_heads(self, grid: Any) -> Any:
        """`[R, heads, S, size]` to `[T, heads * size]`."""
        return tf.reshape(tf.transpose(grid, (0, 2, 1, 3)), (-1, self.heads * grid.shape[-1]))


@dataclass(frozen=True)
class PackedLayout(Layout):
    """One with a line for each token only, whatever the rows' lengths: no line is padding.

    One gather moves the tokens and splits the heads: as cheap as the transposition that a padded layout needs.

    Args:
        slots: int32 `[R, S]`, the line of each position; any line where there is no token.
        head_slots: int32 `[R, heads, S]`, the same over lines cut into heads.
        head_lines: int32 `[T, heads]`, where each token's heads stand in the flattened `[R * heads * S]`.
    """

    slots: Any
    head_slots: Any
    head_lines: Any

    @classmethod
    def of(cls, slots: Any, lines: Any, heads: int) -> "PackedLayout":
        """Args:
        slots: see the class.
        lines: int32 `[T]`, the index of each token in the flattened `[R * S]`.
        heads: attention heads.
        """
        rows, width = tf.shape(slots)[0], tf.shape(slots)[1]
        each = tf.range(heads)
        row = lines // width
        return cls(
            rows=rows,
            width=width,
            heads=heads,
            slots=slots,
            head_slots=slots[:, tf.newaxis, :] * heads + each[:, tf.newaxis],
            head_lines=(row[:, tf.newaxis] * heads + each) * width + (lines - row * width)[:, tf.newaxis],
        )

    def to_heads(self, tokens: Any) -> Any:
        """`[T, hidden]` to `[R, heads, S, hidden / heads]`."""
        return tf.gather(tf.reshape(tokens, (-1, tokens.shape[-1] // self.heads)), self.head_slots)

    def from_heads(self, grid: Any) -> Any:
        """`[R, heads, S, size]` to `[T, heads * size]`."""
        size = grid.shape[-1]
        return tf.reshape(tf.gather(tf.reshape(grid, (-1, size)), self.head_lines), (-1, self.heads * size))
