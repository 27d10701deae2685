"""A rest of bytes does not keep what was sent."""

import pytest

from bench.serving.http2.buffers import trimmed


@pytest.mark.parametrize(("begin", "whole"), [(0, True), (400, True), (501, False), (999, False), (1000, False)])
def test_a_small_rest_stands_alone(begin: int, whole: bool) -> None:
    data = bytes(range(250)) * 4
    rest = trimmed(memoryview(data)[begin:])
    assert rest == data[begin:]
    assert (rest.obj is data) == whole
