"""Concatenates the tensors of several requests along the first dimension, and splits them (batching_util.cc)."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.runtime.session import Feeds
from bench.server.embedded.runtime.tensors import Tensor

_PADDABLE_DIMENSIONS = 6
# Bytes of a batch's tensor that is padded: one long row would make as much of each of a thousand short ones.
_MAX_PADDED: Final = 256 << 20
_STRING_BYTES: Final = 32


def join_tasks(tasks: Sequence[Feeds], padding: int, pad_lengths: bool) -> list[tuple[str, Tensor]]:
    """One tensor per name, with the rows of all tasks.

    Args:
        tasks: each task's tensors by name; all tasks have the same names.
        padding: rows to append: copies of the last task's first row.
        pad_lengths: whether inner dimensions may differ; shorter ones are padded with the tensor's first value.

    Raises:
        StatusError: the shapes do not match.
    """
    joined = []
    for name in sorted(name for name, _ in tasks[0]):
        tensors = [dict(feeds)[name] for feeds in tasks]
        if pad_lengths:
            tensors = _same_lengths(tensors)
        elif any(tensor.shape[1:] != tensors[0].shape[1:] for tensor in tensors):
            raise StatusError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off."
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name"
                "have equal dimensions starting with the first dim.",
            )
        if any(tensor.dtype != tensors[0].dtype for tensor in tensors):
            raise StatusError(Code.INTERNAL, f"Tensor concat operation failed: types of '{name}' differ")
        if padding:
            last = tensors[-1]
            _check_padded(last, (sum(tensor.shape[0] for tensor in tensors) + padding, *last.shape[1:]))
            first_row = split_rows(last, [1, last.shape[0] - 1])[0] if last.shape[0] else last
            tensors = [*tensors, *[first_row] * padding]
        joined.append((name, join_rows(tensors)))
    return joined


def join_rows(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenates tensors of one type and inner shape."""
    if len(tensors) == 1:
        return tensors[0]
    first = tensors[0]
    rows = sum(tensor.shape[0] for tensor in tensors)
    values: Any
    if isinstance(first.values, list):
        values = list(itertools.chain.from_iterable(tensor.values for tensor in tensors))
    else:
        values = np.concatenate([tensor.values for tensor in tensors])
    return Tensor(first.dtype, (rows, *first.shape[1:]), values)


def split_rows(tensor: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Splits a tensor along its first dimension."""
    width = math.prod(tensor.shape[1:])
    parts, at = [], 0
    for size in sizes:
        parts.append(Tensor(tensor.dtype, (size, *tensor.shape[1:]), tensor.values[at * width : (at + size) * width]))
        at += size
    return parts


def split_outputs(outputs: Sequence[Tensor], sizes: Sequence[int], padding: int) -> list[list[Tensor]]:
    """Each task's part of a batch's outputs.

    Raises:
        StatusError: an output's rows do not match the input's.
    """
    if len(sizes) == 1 and not padding and all(tensor.shape[:1] == (sizes[0],) for tensor in outputs):
        return [list(outputs)]
    for tensor in outputs:
        if not tensor.shape:
            raise StatusError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if tensor.shape[0] != sum(sizes) + padding:
            raise StatusError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the input "
                "tensors",
            )
    parts = [split_rows(tensor, sizes) for tensor in outputs]
    return [[part[task] for part in parts] for task in range(len(sizes))]


def _same_lengths(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, padded to the largest inner dimensions."""
    ranks = {len(tensor.shape) for tensor in tensors}
    if len(ranks) > 1:
        raise StatusError(Code.INTERNAL, "Tensor concat operation failed: ranks differ")
    largest = tuple(max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True))
    if any(tensor.shape[1:] != largest for tensor in tensors):
        _check_padded(tensors[0], (sum(tensor.shape[0] for tensor in tensors if tensor.shape), *largest))
    return [_padded(tensor, largest) for tensor in tensors]


def _check_padded(tensor: Tensor, shape: tuple[int, ...]) -> None:
    width = _STRING_BYTES if isinstance(tensor.values, list) else tensor.values.itemsize
    if (length := math.prod(shape) * width) > _MAX_PADDED:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED, f"a batch padded to {length} bytes is larger than {_MAX_PADDED}; send shorter rows"
        )


def _padded(tensor: Tensor, inner: tuple[int, ...]) -> Tensor:
    rank = len(tensor.shape)
    if not 1 <= rank <= _PADDABLE_DIMENSIONS:
        raise invalid_argument("Only tensors with rank from 1 to 6 can be padded.")
    shape = (tensor.shape[0], *inner)
    if math.prod(shape) == tensor.size:
        return Tensor(tensor.dtype, shape, tensor.values)
    if not tensor.size:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    is_text = isinstance(tensor.values, list)
    values: Any = np.array([*tensor.values, None], object)[:-1] if is_text else tensor.values
    grid = np.full(shape, values[0], values.dtype)
    grid[tuple(slice(size) for size in tensor.shape)] = values.reshape(tensor.shape)
    return Tensor(tensor.dtype, shape, grid.ravel().tolist() if is_text else grid.ravel())
