"""Bytes that arrive in pieces."""

from collections.abc import Iterator, Sequence
from typing import Final

from hypothesis import strategies as st

CUTS: Final = st.lists(st.integers(1, 60), max_size=12)
"""Sizes of the pieces; they are taken again and again. None: everything at once."""


def cut(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """`data` in pieces of these sizes, over and over."""
    at = index = 0
    while at < len(data):
        size = sizes[index % len(sizes)] if sizes else len(data)
        yield data[at : at + size]
        at, index = at + size, index + 1
