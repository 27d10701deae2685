"""The plain clients against servers that stall and flood; `tests/support/faulty_server.py` has them."""

import contextlib
import gzip
import time
from typing import Any

import pytest

from bench.serving.errors import DeadlineExceeded, InvalidResponse, ServingError
from bench.serving.grpc_client import GrpcClient
from bench.serving.rest import RestClient
from tests.support.faulty_server import REST_FLOODS, faulty
from tests.support.programmed_servers import rest_server

TIMEOUT = 0.5
# More than a busy machine takes, and far less than a flood that is read to its end.
GENEROUS = 10.0
GRPC = ["grpc-silence", "grpc-byte-by-byte", "grpc-pings", "grpc-settings", "grpc-empty-data", "grpc-large"]


def failed(ask: Any) -> Any:
    """How a call failed, within the timeout and some."""
    started = time.perf_counter()
    with pytest.raises(ServingError) as caught:
        ask(TIMEOUT)
    assert time.perf_counter() - started < TIMEOUT + GENEROUS
    return caught.value


@pytest.mark.parametrize("name", [*REST_FLOODS, "rest-bomb"])
def test_rest_ends_in_time(name: Any) -> None:
    with faulty(name) as address, RestClient(f"http://{address}", max_response=8_000_000) as client:
        if name != "rest-bomb":
            assert client.post("/", b"question", 30) == b"good"
        assert isinstance(
            failed(lambda seconds: client.post("/", b"question", seconds)), DeadlineExceeded | InvalidResponse
        )


def test_interim_responses_without_end_are_refused_before_they_hold_up_others() -> None:
    with faulty("rest-interim") as address, RestClient(f"http://{address}") as client:
        assert client.post("/", b"question", 30) == b"good"
        found = failed(lambda seconds: client.post("/", b"question", seconds))
    assert isinstance(found, InvalidResponse)
    assert "more than 100 interim responses" in str(found)


@pytest.mark.parametrize("name", ["rest-small-chunks", "rest-trailers"])
def test_others_have_their_turn_during_a_flood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that arrives is there at once: a client in gevent's loop would hold up all others until its timeout."""
    pauses: list[float] = []
    with faulty(name) as address, RestClient(f"http://{address}") as client:
        assert client.post("/", b"question", 30) == b"good"
        monkeypatch.setattr(time, "sleep", pauses.append)
        failed(lambda seconds: client.post("/", b"question", seconds))
    assert len(pauses) >= 2
    assert min(pauses) > 0, "gevent serves timers and sockets in such a pause only"


@pytest.mark.parametrize("name", [*REST_FLOODS, "rest-bomb"])
def test_the_status_of_a_model_ends_in_time(name: str) -> None:
    with faulty(name) as address, RestClient(f"http://{address}") as client:
        # What the first call gets is no status.
        with contextlib.suppress(InvalidResponse):
            client.status("bert", 30)
        assert isinstance(failed(lambda seconds: client.status("bert", seconds)), DeadlineExceeded | InvalidResponse)


@pytest.mark.parametrize("name", GRPC)
def test_grpc_ends_in_time(name: Any) -> None:
    with faulty(name) as address, GrpcClient(address) as client:
        # What the first call gets is no status.
        with contextlib.suppress(InvalidResponse):
            client.status("bert", 30)
        assert isinstance(failed(lambda seconds: client.status("bert", seconds)), DeadlineExceeded | InvalidResponse)


@pytest.mark.parametrize("name", ["never-reads", "handshake-stalls"])
def test_servers_that_take_nothing(name: str) -> None:
    scheme, size = ("https", 9) if name == "handshake-stalls" else ("http", 30_000_000)
    with faulty(name) as address:
        with RestClient(f"{scheme}://{address}") as client:
            assert isinstance(failed(lambda seconds: client.post("/", bytes(size), seconds)), DeadlineExceeded)
        with GrpcClient(address, secure=scheme == "https") as client:
            assert isinstance(failed(lambda seconds: client.status("b" * size, seconds)), DeadlineExceeded)


@pytest.mark.parametrize(("most", "fits"), [(2000, True), (1999, False)])
def test_the_largest_response(most: int, fits: bool) -> None:
    """Unpacked, too."""
    for body, headers in ((bytes(2000), {}), (gzip.compress(bytes(2000)), {"Content-Encoding": "gzip"})):
        with rest_server(lambda *_: (200, body, headers)) as url, RestClient(url, max_response=most) as client:  # noqa: B023
            if fits:
                assert client.get("/", 30) == bytes(2000)
            else:
                with pytest.raises(InvalidResponse, match="more than 2 kB"):
                    client.get("/", 30)


def test_the_largest_status() -> None:
    """Whatever size a response to Predict may have."""
    with rest_server(lambda *_: (200, bytes(1_000_001))) as url, RestClient(url) as client:
        assert len(client.get("/", 30)) == 1_000_001
        with pytest.raises(InvalidResponse, match="more than 1 MB"):
            client.status("bert", 30)


def test_a_coding_that_is_not_known_is_named() -> None:
    server = rest_server(lambda *_: (200, b"?", {"Content-Encoding": "compress"}))
    with server as url, RestClient(url) as client, pytest.raises(InvalidResponse, match="'compress'"):
        client.get("/", 30)
