"""The answer of a gRPC call, from what HTTP/2 had of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from bench.serving.errors import InvalidResponse, Unavailable
from bench.serving.grpc_call import answer_of
from bench.serving.headers import Headers

HEADERS = Headers([("X-Api-Key", "planted-5f3a9c27")])


def call(status: bytes) -> Any:
    """A call that a proxy has answered, without a gRPC status."""
    return SimpleNamespace(too_large=False, reset=None, headers=[(b":status", status)], trailers=None, answer=b"")


def test_a_proxy_s_status_is_named_without_a_value_that_was_sent() -> None:
    with pytest.raises(Unavailable, match="HTTP status 503 without a gRPC status"):
        answer_of(call(b"503"), "h:1", 5, HEADERS)
    with pytest.raises(InvalidResponse, match="HTTP status <redacted> without a gRPC status") as caught:
        answer_of(call(b"planted-5f3a9c27"), "h:1", 5, HEADERS)
    assert "planted" not in str(caught.value)
