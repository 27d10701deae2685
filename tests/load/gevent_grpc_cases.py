"""gRPC transports; run by `test_transports.py` in a process of their own."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import gevent
import grpc
import pytest
from gevent.event import Event

from bench.load.transports.endpoint import Endpoint
from bench.load.transports.grpcio_channel import GrpcioChannel, shut_down_flooded
from bench.load.transports.pool import TransportPool
from bench.server.running import free_ports
from bench.serving.access import Access
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Rejected,
    ServerFailed,
    ServingError,
    Unavailable,
)
from bench.serving.headers import Headers
from bench.serving.http2.frames import goaway, rst_stream
from bench.serving.http2.grpc_wire import framed
from bench.serving.http2.hpack import encode
from bench.serving.tls import TlsOptions
from tests.load.test_grpc_h2 import OK_TRAILERS, STATUS, TYPE, Server, on_request
from tests.support.faulty_server import faulty
from tests.support.programmed_servers import grpc_server

TLS = Path(__file__).parent / "tls"
TRUSTED = TlsOptions(ca=TLS / "ca.pem")


@pytest.fixture(params=["fast", "grpcio"])
def grpc_pool(request: pytest.FixtureRequest) -> Any:
    return lambda address, **fields: TransportPool(Endpoint(grpc=address, **fields), {"grpc": request.param})


def test_grpc_messages_arrive_as_they_are(grpc_pool: Any) -> None:
    seen = []

    def answer(method: str, message: Any, context: Any) -> Any:
        seen.append((method, message, dict(context.invocation_metadata()).get("x-team")))
        return b"answer to " + message

    with grpc_server(answer) as address:
        pool = grpc_pool(address, access=Access(Headers([("X-Team", "search")])))
        assert pool.make("grpc").exchange(b"message", 5) == b"answer to message"
        pool.close()
    assert seen == [("/tensorflow.serving.PredictionService/Predict", b"message", "search")]


def test_grpc_calls_of_several_users_overlap_on_one_channel(grpc_pool: Any) -> None:
    """Without gRPC's own preparation for gevent each call would hold up all others."""
    together = Barrier(10)
    with grpc_server(lambda *_: b"%d" % together.wait(30)) as address:
        pool = grpc_pool(address)
        users = [gevent.spawn(pool.make("grpc").exchange, b"m", 60) for _ in range(10)]
        gevent.joinall(users, raise_error=True)
        assert {int(user.value) for user in users} == set(range(10))
        pool.close()


def test_channels_have_connections_of_their_own(grpc_pool: Any) -> None:
    peers = set()

    def answer(method: str, message: Any, context: Any) -> bytes:
        peers.add(context.peer())
        return b""

    with grpc_server(answer) as address:
        pool = grpc_pool(address, channels=3)
        for transport in [pool.make("grpc") for _ in range(9)]:
            transport.exchange(b"m", 5)
        pool.close()
    assert len(peers) == 3


def test_grpc_failures(grpc_pool: Any) -> None:
    def answer(method: str, message: Any, context: Any) -> None:
        if message == b"slow":
            time.sleep(0.5)
        context.abort(grpc.StatusCode[message.decode()] if message != b"slow" else grpc.StatusCode.OK, "because")

    with grpc_server(answer) as address:
        transport = grpc_pool(address).make("grpc")
        for name, error in (("INVALID_ARGUMENT", Rejected), ("UNAVAILABLE", Unavailable), ("INTERNAL", ServerFailed)):
            with pytest.raises(error, match="because"):
                transport.exchange(name.encode(), 5)
        with pytest.raises(DeadlineExceeded):
            transport.exchange(b"slow", 0.1)
    with pytest.raises(ConnectFailed):
        grpc_pool(f"127.0.0.1:{free_ports(1)[0]}").make("grpc").exchange(b"m", 2)


def respond(body: bytes, trailers: Any = OK_TRAILERS) -> Any:
    """Answers a request with a body and trailers, whatever they are."""
    return lambda h2, stream, _: h2.respond(stream, encode([STATUS, TYPE]), body, trailers)


def status(code: bytes, text: bytes) -> Any:
    """Answers a request with a status."""
    return respond(b"", encode([(b"grpc-status", code), (b"grpc-message", text)]))


def http(code: bytes) -> Any:
    """Answers a request as a proxy does that knows nothing of gRPC."""
    block = encode([(b":status", code), (b"content-type", b"text/html")])
    return lambda h2, stream, _: h2.respond(stream, b"", b"", block)


def ends(code: int) -> Any:
    """Resets the stream of a request."""
    return lambda h2, stream, _: h2.out.extend(rst_stream(stream, code))


def leaves(code: int) -> Any:
    """Takes no request on any connection."""
    return lambda h2, stream, _: h2.out.extend(goaway(0, code))


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (respond(b""), InvalidResponse, "is not one"),
        (respond(framed(b"cut off")[:-1]), InvalidResponse, "is not one"),
        (respond(b"\1" + framed(b"abc")[1:]), InvalidResponse, "."),
        (respond(framed(bytes(2001))), InvalidResponse, "response"),
        (respond(framed(b"<html>"), encode([(b"server", b"x")])), InvalidResponse, "."),
        (http(b"401"), Rejected, "give credentials"),
        (http(b"403"), Rejected, "give credentials"),
        (http(b"404"), InvalidResponse, "HTTP status 404"),
        (http(b"503"), Unavailable, "HTTP status 503"),
        (ends(0), InvalidResponse, "HTTP/2 error 0"),
        (ends(2), InvalidResponse, "HTTP/2 error 2"),
        (ends(7), Unavailable, "HTTP/2 error 7"),
        (ends(8), Rejected, "HTTP/2 error 8"),
        (ends(11), Unavailable, "HTTP/2 error 11"),
        (leaves(0), Unavailable, "HTTP/2 error 7"),
        (leaves(2), InvalidResponse, "HTTP/2 error 2"),
        (leaves(11), Unavailable, "HTTP/2 error 11"),
        (status(b"3", b"no content-type, deserializing rst_stream"), Rejected, "no content-type"),
        (status(b"14", b"upstream connect error, endpoint, ssl"), Unavailable, "overloaded or not ready .* upstream"),
        (status(b"8", b"SERVER: Received message larger than max (9 vs. 4)"), Rejected, "request of this size"),
        (status(b"8", b"Received message larger than max (9 vs. 4)"), Rejected, "request of this size"),
        (status(b"13", b"the transport failed"), ServerFailed, "the transport failed"),
    ],
)
def test_an_answer_is_of_one_kind_with_each_client(grpc_pool: Any, answer: Any, error: Any, text: str) -> None:
    server = Server(on_request(answer))
    pool = grpc_pool(server.address, max_response=2000)
    with pytest.raises(ServingError, match=text) as caught:
        pool.make("grpc").exchange(b"question", 30)
    assert type(caught.value) is error
    pool.close()
    server.close()


def test_the_largest_message_is_the_same_with_each_client(grpc_pool: Any) -> None:
    server = Server(on_request(respond(framed(bytes(2000)))))
    pool = grpc_pool(server.address, max_response=2000)
    assert pool.make("grpc").exchange(b"question", 30) == bytes(2000)
    pool.close()
    server.close()


def test_grpc_over_tls(grpc_pool: Any) -> None:
    """Three users at once, so that none holds up the others."""
    together = Barrier(3)

    class Handler(grpc.GenericRpcHandler):
        def service(self, call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(echo)

    def echo(message: Any, context: Any) -> Any:
        together.wait(30)
        return message

    server = grpc.server(ThreadPoolExecutor(3), handlers=(Handler(),))
    pair = ((TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        pool = grpc_pool(f"127.0.0.1:{port}", access=Access(tls=TRUSTED), grpc_secure=True)
        users = [gevent.spawn(pool.make("grpc").exchange, b"echo", 60) for _ in range(3)]
        gevent.joinall(users, raise_error=True)
        assert [user.value for user in users] == [b"echo"] * 3
        pool.close()
        with pytest.raises(ConnectFailed):
            grpc_pool(f"127.0.0.1:{port}", grpc_secure=True).make("grpc").exchange(b"echo", 3)
    finally:
        server.stop(None).wait()


def test_an_endless_header_block_ends_a_call(grpc_pool: Any) -> None:
    with faulty("grpc-continuation") as address:
        transport = grpc_pool(address).make("grpc")
        assert transport.exchange(b"question", 30) == b"good"
        with pytest.raises((DeadlineExceeded, InvalidResponse, Unavailable)):
            transport.exchange(b"question", 30)


def test_a_call_that_the_library_does_not_end_is_ended_with_its_connection() -> None:
    """As in an endless header block of a server that never acknowledges the client's settings."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        channel = GrpcioChannel(Endpoint(grpc=address))
        stuck = channel._call = lambda *_, **__: Event().wait()
        for flooded, text in ((False, "allow more time"), (True, "only data without end")):
            with socket.create_connection(listener.getsockname()) as connection, listener.accept()[0] as sender:
                if flooded:
                    sender.sendall(b"x")
                    assert connection.recv(1, socket.MSG_PEEK) == b"x"
                with pytest.raises(DeadlineExceeded, match=text):
                    channel.exchange(b"question", 0.1)
            assert (channel._call is stuck) == (not flooded), "the next call has a new connection"
        channel.close()


def test_only_connections_with_unread_data_are_shut_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        pairs = [(socket.create_connection(listener.getsockname()), listener.accept()[0]) for _ in range(2)]
        (idle, _), (flooded, sender) = pairs
        sender.sendall(b"x")
        assert flooded.recv(1, socket.MSG_PEEK) == b"x"
        assert shut_down_flooded(address) == 1
        with pytest.raises(OSError, match="Broken pipe|not connected"):
            flooded.sendall(b"y")
        idle.sendall(b"y")
        assert pairs[0][1].recv(1) == b"y"
        for connection in (end for pair in pairs for end in pair):
            connection.close()


def test_data_that_is_read_soon_is_no_flood() -> None:
    """An event loop that is late finds the answers of others unread."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as busy,
        listener.accept()[0] as sender,
    ):
        sender.sendall(b"x")
        assert busy.recv(1, socket.MSG_PEEK) == b"x"
        reader = gevent.spawn(busy.recv, 1)
        assert shut_down_flooded(f"127.0.0.1:{listener.getsockname()[1]}") == 0
        assert reader.get() == b"x"
        busy.sendall(b"y")
        assert sender.recv(1) == b"y"
