"""Examples of a request, and the context that each of them gets."""

import tracemalloc
from typing import Any

import pytest

from bench.server.embedded.api.examples import serialized_examples
from bench.server.embedded.base.status import Code, StatusError
from bench.serving.protos import input_pb2


def with_context(size: int, count: int) -> Any:
    """An Input of `count` examples with a context of somewhat more than `size` bytes."""
    given = input_pb2.Input()
    shared = given.example_list_with_context
    shared.context.features.feature["pad"].bytes_list.value.append(bytes(size))
    for _ in range(count):
        shared.examples.add()
    return given


def test_a_context_is_repeated_up_to_the_limit() -> None:
    given = with_context(1000, 10)
    length = 10 * given.example_list_with_context.context.ByteSize()
    assert sum(map(len, serialized_examples(given, length))) == length
    with pytest.raises(StatusError) as refused:
        serialized_examples(given, length - 1)
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.message == (
        f"a tensor of {length} bytes, most of which are not in the request, is larger than max_fill_bytes "
        f"({length - 1})"
    )


def test_what_is_in_the_request_has_no_limit() -> None:
    assert len(serialized_examples(with_context(1000, 1), 10)) == 1
    given = input_pb2.Input()
    for _ in range(100):
        given.example_list.examples.add().features.feature["pad"].bytes_list.value.append(bytes(100))
    assert len(serialized_examples(given, 10)) == 100


def test_nothing_is_built_for_a_context_that_is_refused() -> None:
    given = with_context(1 << 20, 1000)
    tracemalloc.start()
    try:
        with pytest.raises(StatusError):
            serialized_examples(given, 64 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
