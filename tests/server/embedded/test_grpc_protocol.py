"""gRPC over HTTP/2, against the grpcio package's clients."""

import asyncio
import gzip
import os
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.grpc.grpcio_server import GrpcioServer
from bench.server.embedded.grpc.protocol import OPEN_CALL_BYTES, GrpcLimits, GrpcProtocol
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.connection import CloseConnectionError, Job
from bench.server.embedded.net.listeners import listen_tcp, listen_unix
from bench.server.embedded.net.socket_server import SocketServer
from bench.server.running import free_ports
from bench.serving.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    REFUSED_STREAM,
    RST_STREAM,
    connection_preface,
    frame,
    rst_stream,
)
from bench.serving.http2.grpc_wire import framed
from bench.serving.http2.hpack import encode

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

    def is_brief(self, method: str) -> bool:
        return self.is_streaming(method)

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
        server = GrpcioServer(methods, [place], 8, GrpcLimits())
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


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_grpcio_limits_messages_too(methods: Methods, compression: grpc.Compression) -> None:
    (port,) = free_ports(1)
    server = GrpcioServer(methods, [f"127.0.0.1:{port}"], 4, GrpcLimits(request_bytes=100_000))
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        echo = channel.unary_unary(ECHO)
        with pytest.raises(grpc.RpcError, match="Received message larger than max|larger than max") as caught:
            echo(bytes(100_001), timeout=30, compression=compression)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert echo(bytes(100), timeout=30, compression=compression) == bytes(100)
    server.stop(5)


@pytest.mark.parametrize("text", ["", "plain", "100 % of ünïcode\n\t{x}", "x" * 2000])
def test_errors_keep_their_text(channel: grpc.Channel, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(FAIL)(text.encode(), timeout=30)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ALREADY_EXISTS, text)


def test_an_error_text_that_is_no_utf8_is_sent_as_it_is(channel: grpc.Channel, request: pytest.FixtureRequest) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(FAIL)(b"\xff%", timeout=30)
    # The package's client reads such bytes as Latin-1; its server takes no bytes.
    own = request.node.callspec.params["address"] != "grpcio"
    assert caught.value.details() == ("\xff%" if own else "\ufffd%")


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


def test_streams_and_calls_without_their_requests_hold_no_thread(channel: grpc.Channel) -> None:
    over = threading.Event()

    def never() -> Iterator[bytes]:
        over.wait(60)
        yield from ()

    calls = [channel.stream_unary(ECHO).future(never()) for _ in range(20)]
    streams = [channel.unary_stream(WATCH)(b"watched", timeout=60) for _ in range(20)]
    assert [next(stream) for stream in streams] == [b"watched"] * 20
    assert channel.unary_unary(ECHO)(b"x", timeout=30) == b"x"
    for call in (*calls, *streams):
        call.cancel()
    over.set()


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


@pytest.mark.parametrize("own", [True, False])
def test_an_answer_that_stays_open_until_the_end(methods: Methods, own: bool) -> None:
    (port,) = free_ports(1)
    server: SocketServer | GrpcioServer
    if own:
        listener = listen_tcp("127.0.0.1", port, "port")
        server = SocketServer("test", [listener], 4, lambda connection: GrpcProtocol(connection, methods))
    else:
        server = GrpcioServer(methods, [f"127.0.0.1:{port}"], 4, GrpcLimits())
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


class Inert:
    """A connection that keeps what is sent."""

    unsent = 0
    owed_since: float | None = None

    def __init__(self) -> None:
        self.out = b""

    def send(self, data: bytes) -> None:
        self.out += data


def spoken(limits: GrpcLimits, *, encoding: bytes = b"identity") -> tuple[Inert, GrpcProtocol, bytes]:
    """A protocol whose client has introduced itself, and the header block of a call."""
    connection = Inert()
    protocol = GrpcProtocol(connection, Methods(), limits)  # type: ignore[arg-type]
    protocol.received(PREFACE + connection_preface())
    fields = [(b":path", ECHO.encode()), (b"content-type", b"application/grpc"), (b"grpc-encoding", encoding)]
    return connection, protocol, encode(fields)


@pytest.mark.parametrize(
    ("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"gzip", lambda data: data)]
)
def test_a_small_message_does_not_become_a_large_one(encoding: bytes, pack: Callable[[bytes], bytes]) -> None:
    for size, status in ((1000, b"0"), (1001, b"8")):
        connection, protocol, block = spoken(GrpcLimits(unpacked_bytes=1000), encoding=encoding)
        packed = pack(bytes(size))
        body = b"\1" + len(packed).to_bytes(4, "big") + packed
        for job in protocol.received(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, body)):
            assert job.run()
        expected = status if packed != bytes(size) else b"13"
        assert (b"grpc-status" + bytes([len(expected)]) + expected) in connection.out
        assert protocol.held() == 0
        assert protocol.idle()


def test_a_request_above_the_limit_is_refused_while_it_comes() -> None:
    connection, protocol, block = spoken(GrpcLimits(request_bytes=1000))
    begin = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, 0, 1, bytes(600))
    assert protocol.received(begin) == []
    assert protocol.held() == 600 + OPEN_CALL_BYTES
    assert protocol.received(frame(DATA, 0, 1, bytes(600))) == []
    assert b"Received message larger than max (1200 vs. 1000)" in connection.out
    assert protocol.held() == 0
    again = frame(HEADERS, END_HEADERS, 3, block) + frame(DATA, END_STREAM, 3, framed(b"x"))
    (job,) = protocol.received(frame(DATA, END_STREAM, 1, bytes(600)) + again)
    assert job.run()
    assert framed(b"x") in connection.out


def test_calls_that_are_reset_before_they_run_are_not_run() -> None:
    connection, protocol, block = spoken(GrpcLimits())
    jobs: list[Job] = []
    for stream in range(1, 2001, 2):
        data = frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, framed(b"message"))
        jobs += protocol.received(data + frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
    # As many as may run at a time are still remembered; more are refused.
    assert len(jobs) == 1000
    assert protocol.received(frame(HEADERS, END_HEADERS, 2001, block)) == []
    assert connection.out.endswith(rst_stream(2001, REFUSED_STREAM))
    for job in jobs:
        assert job.run()
    assert b"message" not in connection.out
    assert protocol.held() == 0
    (job,) = protocol.received(frame(HEADERS, END_HEADERS, 2003, block) + frame(DATA, END_STREAM, 2003, framed(b"x")))
    assert job.run()
    assert framed(b"x") in connection.out


def test_a_violation_frees_the_bodies_of_calls_that_are_not_complete() -> None:
    """The connection may stay for a while."""
    _, protocol, block = spoken(GrpcLimits())
    whole = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, framed(b"message"))
    (job,) = protocol.received(whole + frame(HEADERS, END_HEADERS, 3, block) + frame(DATA, 0, 3, bytes(10_000)))
    assert protocol.held() > 10_000
    with pytest.raises(CloseConnectionError):
        protocol.received(frame(HEADERS, END_HEADERS, 2, block))
    assert 0 < protocol.held() - 2 * OPEN_CALL_BYTES < 100
    assert job.run()
    assert protocol.held() == OPEN_CALL_BYTES
    protocol.closed()
    assert protocol.held() == 0


def test_calls_that_are_not_complete_are_held() -> None:
    _, protocol, block = spoken(GrpcLimits())
    tracemalloc.start()
    try:
        assert protocol.received(b"".join(frame(HEADERS, END_HEADERS, one, block) for one in range(1, 2001, 2))) == []
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 500_000 < taken <= protocol.held()
    assert protocol.overloaded()
    assert not protocol._calls
    assert protocol.held() == 0


def test_a_connection_that_is_over_the_limit_has_no_watch_to_end() -> None:
    """It may rest when the server stops."""
    connection, protocol, _ = spoken(GrpcLimits())
    block = encode([(b":path", WATCH.encode()), (b"content-type", b"application/grpc")])
    (job,) = protocol.received(frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, framed(b"x")))
    assert job.run()
    assert protocol._streaming == {1}
    assert protocol.overloaded()
    protocol.draining()
    assert b"bye" not in connection.out


def test_large_messages_that_come_compressed_are_read_one_at_a_time() -> None:
    limits = GrpcLimits()
    connection, protocol, block = spoken(limits, encoding=b"gzip")
    packed = gzip.compress(bytes(3 << 20))
    body = b"\x01" + len(packed).to_bytes(4, "big") + packed
    streams = iter(range(1, 99, 2))

    def status(sent: bytes) -> bytes:
        stream = next(streams)
        connection.out = b""
        (job,) = protocol.received(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, sent))
        assert job.run()
        return connection.out

    for _ in range(3):
        assert b"send this one again" not in status(body)
        assert len(connection.out) > 1000
    with limits.large_messages.message(body, b"gzip", limits.unpacked_bytes) as message:
        assert message == bytes(3 << 20)
        assert b"a compressed message of more than 2097152 bytes is being read; send this one again" in status(body)
        assert framed(b"x") in status(framed(b"x"))
    assert b"send this one again" not in status(body)
    reader = limits.large_messages.message(body, b"gzip", 5 << 19)
    with pytest.raises(StatusError, match="Received message larger than max"):
        reader.__enter__()
    assert b"send this one again" not in status(body)


def test_the_body_of_a_call_that_is_refused_is_not_kept() -> None:
    _, protocol, _ = spoken(GrpcLimits())
    block = encode([(b":path", b"/test/Nope"), (b"content-type", b"application/grpc")])
    call = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, framed(bytes(1000)))
    assert protocol.received(call) == []
    assert protocol.held() == 0
