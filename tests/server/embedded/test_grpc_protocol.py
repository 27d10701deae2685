"""gRPC over HTTP/2, against the grpcio package's clients."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.grpc.grpcio_server import GrpcioServer
from bench.server.embedded.grpc.protocol import GrpcProtocol
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.socket_server import SocketServer, listen_tcp, listen_unix
from bench.server.running import free_ports

ECHO = "/test/Echo"
FAIL = "/test/Fail"
WAIT = "/test/Wait"
WATCH = "/test/Watch"


class Methods:
    """Says back what it is sent, fails, or waits until its caller is gone."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.seen: list[tuple[bool, float | None]] = []

    def knows(self, method: str) -> bool:
        return method in (ECHO, FAIL, WAIT, WATCH)

    def is_streaming(self, method: str) -> bool:
        return method == WATCH

    def closing_message(self, method: str) -> bytes:
        return b"bye"

    def handle(self, method: str, message: bytes, caller: Caller) -> bytes:
        if method == FAIL:
            raise StatusError(Code.ALREADY_EXISTS, message)
        if method == WAIT:
            left = caller.seconds_left()
            self.waiting.set()
            for _ in range(2000):
                if caller.cancelled():
                    break
                threading.Event().wait(0.005)
            self.seen.append((caller.cancelled(), left))
        return message


@pytest.fixture
def methods() -> Methods:
    return Methods()


@pytest.fixture(params=["own", "grpcio", "socket"])
def address(request: pytest.FixtureRequest, methods: Methods, tmp_path: Path) -> Iterator[str]:
    """Where a server of each kind answers."""
    (port,) = free_ports(1)
    place = f"unix:{tmp_path / 's'}" if request.param == "socket" else f"127.0.0.1:{port}"
    server: SocketServer | GrpcioServer
    if request.param == "grpcio":
        server = GrpcioServer(methods, [place], 8, None, [])
    else:
        listener = listen_unix(tmp_path / "s") if request.param == "socket" else listen_tcp("127.0.0.1", port, "port")
        server = SocketServer("test", [listener], 8, lambda connection: GrpcProtocol(connection, methods))
    server.start()
    yield place
    server.stop(5)


@pytest.fixture
def channel(address: str) -> Iterator[grpc.Channel]:
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options) as made:
        yield made


@pytest.mark.parametrize("size", [0, 1, 20_000, 70_000, 5_000_000, 40_000_000])
def test_messages_of_any_size(channel: grpc.Channel, size: int) -> None:
    message = os.urandom(size)
    assert channel.unary_unary(ECHO)(message, timeout=30) == message


def test_calls_side_by_side(channel: grpc.Channel) -> None:
    echo = channel.unary_unary(ECHO)
    messages = [bytes([number % 256]) * (number * 97) for number in range(400)]
    calls = [echo.future(message, timeout=30) for message in messages]
    assert [call.result() for call in calls] == messages


def test_a_client_that_does_not_use_threads(address: str) -> None:
    async def ask() -> list[bytes]:
        async with grpc.aio.insecure_channel(address) as channel:
            echo = channel.unary_unary(ECHO)
            return list(await asyncio.gather(*(echo(b"%d" % number, timeout=30) for number in range(50))))

    assert asyncio.run(ask()) == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_messages(channel: grpc.Channel, compression: grpc.Compression) -> None:
    assert channel.unary_unary(ECHO)(b"a" * 10_000, timeout=30, compression=compression) == b"a" * 10_000


@pytest.mark.parametrize("text", ["", "plain", "100 % of ünïcode\n\t{x}", "x" * 2000])
def test_errors_keep_their_text(channel: grpc.Channel, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(FAIL)(text.encode(), timeout=30)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ALREADY_EXISTS, text)


def test_an_error_text_that_is_no_utf8_is_sent_as_it_is(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(FAIL)(b"\xff%", timeout=30)
    # The package's client reads such bytes as Latin-1.
    assert caught.value.details() == "\xff%"


def test_a_method_that_is_not_there(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/test/Nope")(b"", timeout=30)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "")

    def endless() -> Iterator[bytes]:
        yield b"a"
        threading.Event().wait(30)

    # A client that means to go on sending hears of it at once.
    with pytest.raises(grpc.RpcError) as caught:
        next(channel.stream_stream("/test/Nope")(endless(), timeout=5))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_that_is_cancelled(channel: grpc.Channel, methods: Methods) -> None:
    call = channel.unary_unary(WAIT).future(b"", timeout=60)
    assert methods.waiting.wait(10)
    call.cancel()
    for _ in range(1000):
        if methods.seen:
            break
        threading.Event().wait(0.01)
    ((gone, left),) = methods.seen
    assert gone
    assert left is not None
    assert 50 < left < 65


def test_a_deadline_is_known(channel: grpc.Channel, methods: Methods) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(WAIT)(b"", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert methods.waiting.is_set()


def test_a_client_that_is_gone(address: str, methods: Methods) -> None:
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(WAIT).future(b"")
        assert methods.waiting.wait(10)
    assert call.done()
    for _ in range(1000):
        if methods.seen:
            break
        threading.Event().wait(0.01)
    assert methods.seen == [(True, None)]


def test_an_answer_that_stays_open_until_the_end(methods: Methods) -> None:
    (port,) = free_ports(1)
    listener = listen_tcp("127.0.0.1", port, "port")
    server = SocketServer("test", [listener], 4, lambda connection: GrpcProtocol(connection, methods))
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answers = channel.unary_stream(WATCH)(b"hello", timeout=30)
        assert next(answers) == b"hello"
        waiting = channel.unary_unary(WAIT).future(b"x", timeout=1)
        assert methods.waiting.wait(10)
        stopper = threading.Thread(target=server.stop, args=(10,))
        stopper.start()
        assert list(answers) == [b"bye"]
        assert waiting.exception() is not None
        stopper.join()
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(ECHO)(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
