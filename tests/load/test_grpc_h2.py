"""The fast gRPC client, against servers that do what good ones seldom do."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from bench.load.transports import grpc_h2_connection
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import TransportPool
from bench.serving.access import Access
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Rejected,
    ServerFailed,
    Unavailable,
)
from bench.serving.http2.client import ClientConnection
from bench.serving.http2.frames import (
    CANCEL,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW,
    PREFACE,
    REFUSED_STREAM,
    SETTINGS,
    FrameReader,
    frame,
    goaway,
    rst_stream,
    window_update,
)
from bench.serving.http2.grpc_wire import framed
from bench.serving.http2.hpack import encode
from bench.serving.http2.server import Completed, Opened, Reset, ServerConnection
from bench.serving.tls import TlsOptions

TLS = Path(__file__).parent / "tls"
STATUS = (b":status", b"200")
TYPE = (b"content-type", b"application/grpc")
OK_TRAILERS = encode([(b"grpc-status", b"0")])


def answer(h2: Any, stream: Any, message: Any = b"answer") -> None:
    h2.respond(stream, encode([STATUS, TYPE]), framed(message), OK_TRAILERS)


class Server:
    """Hands each event of each connection to `on_event(h2, event)`; a true value ends the connection.

    Attributes:
        events: all of them, in their order.
        connections: how many there were.
    """

    def __init__(self, on_event: Any) -> None:
        self.events: list[Any] = []
        self.connections = 0
        self._on_event = on_event
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[Any] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        h2 = ServerConnection()
        with connection:
            while data := connection.recv(65536):
                ends = False
                for event in h2.receive(data):
                    self.events.append(event)
                    ends = ends or self._on_event(h2, event)
                connection.sendall(bytes(h2.out))
                h2.out.clear()
                if ends:
                    return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def serving(on_event: Any, **fields: Any) -> Iterator[Any]:
    """The server, and a pool of ways to it."""
    server = Server(on_event)
    pool = TransportPool(Endpoint(grpc=server.address, **fields))
    try:
        yield server, pool
    finally:
        pool.close()
        server.close()


def on_request(handle: Any) -> Any:
    """Calls `handle(h2, stream, message)` for each whole request."""
    return lambda h2, event: handle(h2, event.stream, event.body[5:]) if isinstance(event, Completed) else None


def wait_until(condition: Any) -> None:
    """Lets greenlets and threads go on until something has come true, which takes as long as it takes."""
    while not condition():
        gevent.sleep(0.005)


def test_users_share_a_connection_and_get_their_own_answers() -> None:
    """The answers come in another order than the requests."""
    held = []

    def handle(h2: Any, stream: Any, message: Any) -> None:
        held.append((stream, message))
        if len(held) == 3:
            for each in reversed(held):
                answer(h2, each[0], b"re: " + each[1])

    with serving(on_request(handle)) as (server, pool):
        users = [gevent.spawn(pool.make("grpc").exchange, b"%d" % index, 30) for index in range(3)]
        gevent.joinall(users, raise_error=True)
        assert [user.value for user in users] == [b"re: 0", b"re: 1", b"re: 2"]
        assert server.connections == 1


@pytest.mark.parametrize(
    ("block", "error", "text"),
    [
        (
            [STATUS, TYPE, (b"grpc-status", b"3"), (b"grpc-message", b"bad%20input")],
            Rejected,
            "INVALID_ARGUMENT: bad inp",
        ),
        ([STATUS, TYPE, (b"grpc-status", b"14"), (b"grpc-message", b"socket closed")], Unavailable, "overloaded"),
        ([STATUS, TYPE, (b"grpc-status", b"13")], ServerFailed, "INTERNAL"),
        ([STATUS, TYPE, (b"grpc-status", b"4")], DeadlineExceeded, "within 30 s"),
        ([STATUS, TYPE, (b"grpc-status", b"?")], ServerFailed, "UNKNOWN"),
        ([STATUS, TYPE], InvalidResponse, "gRPC port"),
        ([(b":status", b"404")], InvalidResponse, "HTTP status 404"),
        ([(b":status", b"503")], Unavailable, "HTTP status 503"),
        ([STATUS, TYPE, (b"grpc-status", b"0")], InvalidResponse, "not one uncompressed message"),
    ],
)
def test_answers_without_a_message(block: Any, error: Any, text: str) -> None:
    with serving(on_request(lambda h2, stream, message: h2.respond(stream, b"", b"", encode(block)))) as (_, pool):
        for _ in range(2):
            with pytest.raises(error, match=text):
                pool.make("grpc").exchange(b"question", 30)


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\5abc", b"\1" + framed(b"abc")[1:], framed(b"a") + framed(b"b")])
def test_messages_that_cannot_be_read(body: Any) -> None:
    def handle(h2: Any, stream: Any, message: Any) -> None:
        h2.respond(stream, encode([STATUS, TYPE]), body, OK_TRAILERS)

    with serving(on_request(handle)) as (_, pool), pytest.raises(InvalidResponse, match="not one uncompressed message"):
        pool.make("grpc").exchange(b"question", 30)


@pytest.mark.parametrize(
    ("code", "error"),
    [(REFUSED_STREAM, Unavailable), (CANCEL, Rejected), (ENHANCE_YOUR_CALM, Unavailable), (2, InvalidResponse)],
)
def test_calls_that_are_cut_off(code: Any, error: Any) -> None:
    def handle(h2: Any, stream: Any, message: Any) -> None:
        h2.out += rst_stream(stream, code)

    with serving(on_request(handle)) as (_, pool), pytest.raises(error, match=f"HTTP/2 error {code}"):
        pool.make("grpc").exchange(b"question", 30)


def test_a_connection_that_ends_fails_what_waits_and_the_next_request_makes_another() -> None:
    def handle(h2: Any, stream: Any, message: Any) -> Any:
        if message == b"end":
            return True
        return answer(h2, stream)

    with serving(on_request(handle)) as (server, pool):
        transport = pool.make("grpc")
        with pytest.raises(ConnectFailed, match="closed the connection"):
            transport.exchange(b"end", 30)
        assert transport.exchange(b"question", 30) == b"answer"
        assert server.connections == 2
        assert sum(isinstance(event, Completed) for event in server.events) == 2, "sent twice"


def test_an_idle_connection_that_the_server_ended_is_replaced() -> None:
    def handle(h2: Any, stream: Any, message: Any) -> bool:
        answer(h2, stream)
        return True

    with serving(on_request(handle)) as (server, pool):
        transport = pool.make("grpc")
        assert transport.exchange(b"question", 30) == b"answer"
        shared = pool._shared[0]
        wait_until(lambda: not shared._link.usable)
        assert transport.exchange(b"question", 30) == b"answer"
        assert server.connections == 2


def test_a_goodbye_lets_what_is_on_its_way_end_and_the_rest_go_elsewhere() -> None:
    held = []

    def handle(h2: Any, stream: Any, message: Any) -> None:
        if message == b"slow":
            held.append((h2, stream))
            h2.out += goaway(stream, 0)
        elif message == b"now":
            answer(h2, stream)
        return

    with serving(on_request(handle)) as (server, pool):
        slow = gevent.spawn(pool.make("grpc").exchange, b"slow", 30)
        shared = pool._shared[0]
        wait_until(lambda: held and not shared._link.usable)
        first = shared._link
        assert pool.make("grpc").exchange(b"now", 30) == b"answer"
        assert server.connections == 2
        assert not slow.ready()
        # A late frame of the first connection: the thread that serves it sleeps in `recv`, so the test sends it.
        h2, stream = held[0]
        answer(h2, stream, b"late")
        for request in first._connection.receive(bytes(h2.out)):
            first._waiting.pop(request).set()
        assert slow.get() == b"late"


def test_what_the_server_never_looked_at_goes_once_more() -> None:
    """A proxy that takes so many requests a connection: what it did not take is not the server's failure."""
    seen = []

    def handle(h2: Any, stream: Any, message: Any) -> None:
        seen.append(message)
        if len(seen) == 1:
            h2.out += goaway(0, 0)
        else:
            answer(h2, stream, b"re: " + message)

    with serving(on_request(handle)) as (server, pool):
        assert pool.make("grpc").exchange(b"question", 30) == b"re: question"
        assert (seen, server.connections) == ([b"question"] * 2, 2)


def test_a_server_that_never_looks_at_anything() -> None:
    with serving(on_request(lambda h2, stream, message: h2.out.extend(goaway(0, 0)))) as (server, pool):
        with pytest.raises(Unavailable, match="HTTP/2 error 7"):
            pool.make("grpc").exchange(b"question", 30)
        assert server.connections == 2


def test_a_goodbye_for_an_error_says_which() -> None:
    with serving(on_request(lambda h2, stream, message: h2.out.extend(goaway(0, 9)))) as (server, pool):
        with pytest.raises(InvalidResponse, match="HTTP/2 error 9"):
            pool.make("grpc").exchange(b"question", 30)
        assert server.connections == 1


def test_users_who_are_stopped_or_out_of_time_leave_the_connection_to_others() -> None:
    def handle(h2: Any, stream: Any, message: Any) -> None:
        if message != b"hang":
            answer(h2, stream)

    with serving(on_request(handle)) as (server, pool):
        stopped = gevent.spawn(pool.make("grpc").exchange, b"hang", 30)
        with pytest.raises(DeadlineExceeded, match="within 0.2 s"):
            pool.make("grpc").exchange(b"hang", 0.2)
        stopped.kill()
        assert pool.make("grpc").exchange(b"question", 30) == b"answer"
        wait_until(lambda: sum(isinstance(event, Reset) for event in server.events) == 2)
        assert server.connections == 1


def test_time_runs_out_in_the_midst_of_a_large_message() -> None:
    """The rest of what was begun still goes, or the frames after it would make no sense."""
    slow = threading.Event()

    def handle(h2: Any, event: Any) -> None:
        slow.wait()
        if isinstance(event, Completed) and len(event.body) < 100:
            answer(h2, event.stream)

    with serving(handle) as (server, pool):
        large = bytes(64 << 20)
        with pytest.raises(DeadlineExceeded):
            pool.make("grpc").exchange(large, 0.5)
        slow.set()
        assert pool.make("grpc").exchange(b"question", 60) == b"answer"
        assert server.connections == 1


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(HEADERS, END_HEADERS | END_STREAM, 1, OK_TRAILERS)]
)
def test_something_else_listens(said: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(said)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        pool = TransportPool(Endpoint(grpc=f"127.0.0.1:{listener.getsockname()[1]}"))
        with pytest.raises(InvalidResponse, match="is this a gRPC port"):
            pool.make("grpc").exchange(b"question", 30)
        pool.close()
        thread.join()


def test_a_tls_server_that_resets_while_a_user_sends() -> None:
    """The reader closes the socket under whoever sends; that is a failed connection like any other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    full = threading.Event()

    def serve(listener: Any) -> None:
        connection, _ = listener.accept()
        secured = context.wrap_socket(connection, server_side=True)
        secured.recv(1 << 16)
        secured.sendall(frame(SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff") + window_update((1 << 31) - 1 - 65535))
        full.wait()
        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        secured.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        pool = TransportPool(Endpoint(grpc=address, grpc_secure=True, access=Access(tls=TlsOptions(ca=TLS / "ca.pem"))))
        users = [gevent.spawn(pool.make("grpc").exchange, bytes(32 << 20), 60) for _ in range(2)]
        wait_until(lambda: pool._shared[0]._link and pool._shared[0]._link._flushing)  # type: ignore[union-attr]
        full.set()
        for user in users:
            with pytest.raises(ConnectFailed):
                user.get()
        pool.close()
        thread.join()


def test_nobody_listens_or_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(DeadlineExceeded, match="within 0.1 s"):
            TransportPool(Endpoint(grpc=address)).make("grpc").exchange(b"question", 0.1)
    with pytest.raises(ConnectFailed, match="is the server up"):
        TransportPool(Endpoint(grpc=address)).make("grpc").exchange(b"question", 5)


def test_closing_the_pool_fails_who_still_waits() -> None:
    with serving(on_request(lambda h2, stream, message: None)) as (server, pool):
        transport = pool.make("grpc")
        user = gevent.spawn(transport.exchange, b"question", 30)
        wait_until(lambda: server.events)
        pool.close()
        with pytest.raises(ConnectFailed, match="closed here"):
            user.get()
        with pytest.raises(ConnectFailed, match="closed here"):
            transport.exchange(b"question", 30)


def test_the_end_of_a_connection_costs_each_user_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looked through the requests of all: 5,000 took more than a second."""
    looks = 0
    unanswered = ClientConnection.unanswered

    def look(connection: Any) -> Any:
        nonlocal looks
        looks += 1
        return unanswered.fget(connection)  # type: ignore[attr-defined]

    monkeypatch.setattr(ClientConnection, "unanswered", property(look))
    with serving(on_request(lambda h2, stream, message: message == b"last")) as (_, pool):
        users = [gevent.spawn(pool.make("grpc").exchange, b"question", 30) for _ in range(20)]
        gevent.sleep(0)
        users.append(gevent.spawn(pool.make("grpc").exchange, b"last", 30))
        for user in users:
            with pytest.raises(ConnectFailed):
                user.get()
    assert looks < 10


def test_settings_come_before_the_answer_and_are_taken() -> None:
    """A server of few streams: what it has no room for waits, and is answered."""
    most = threading.Semaphore(1)

    def handle(h2: Any, stream: Any, message: Any) -> None:
        if most.acquire(blocking=False):
            h2.out[:0] = frame(SETTINGS, 0, 0, b"\0\3\0\0\0\1")
        time.sleep(0.01)
        answer(h2, stream, message)

    with serving(on_request(handle)) as (_, pool):
        assert pool.make("grpc").exchange(b"first", 30) == b"first"
        users = [gevent.spawn(pool.make("grpc").exchange, b"%d" % index, 30) for index in range(5)]
        gevent.joinall(users, raise_error=True)
        assert [user.value for user in users] == [b"%d" % index for index in range(5)]


def test_a_connection_that_was_replaced_is_closed_after_its_last_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stall of a server left one, as it takes requests again when the server reads again."""
    monkeypatch.setattr(grpc_h2_connection, "_STUCK_AFTER", 0.05)
    go = threading.Event()

    def handle(h2: Any, event: Any) -> None:
        if isinstance(event, Opened) and server.connections == 1:
            go.wait(120)
        if isinstance(event, Completed):
            answer(h2, event.stream)

    with serving(handle) as (server, pool):
        transport = pool.make("grpc")
        large = gevent.spawn(transport.exchange, bytes(24 << 20), 120)
        shared = pool._shared[0]
        wait_until(lambda: shared._link and not shared._link.usable)
        assert transport.exchange(b"question", 30) == b"answer"
        go.set()
        assert large.get() == b"answer"
        assert (server.connections, len(shared._links)) == (2, 1)


def one_answer(stream: int, message: bytes) -> bytes:
    """The frames of an answer."""
    head = frame(HEADERS, END_HEADERS, stream, encode([STATUS, TYPE]))
    return (
        head + frame(DATA, 0, stream, framed(message)) + frame(HEADERS, END_HEADERS | END_STREAM, stream, OK_TRAILERS)
    )


def test_an_answer_does_not_wait_for_what_others_send() -> None:
    """Of a server that answers one request, and then does not read the next."""
    go = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(
                frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW))
                + window_update(LARGEST_WINDOW - DEFAULT_WINDOW)
            )
            reader, rest = FrameReader(), len(PREFACE)
            while data := connection.recv(65536):
                reader.feed(data[rest:])
                rest = max(rest - len(data), 0)
                for kind, flags, stream, _ in reader.frames():
                    if kind == DATA and flags & END_STREAM:
                        connection.sendall(one_answer(stream, b"%d" % stream))
                        if stream == 3:
                            go.wait(120)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    pool = TransportPool(Endpoint(grpc=f"127.0.0.1:{listener.getsockname()[1]}"))
    try:
        transport = pool.make("grpc")
        # The server's windows are known from here on.
        assert transport.exchange(b"small", 30) == b"1"
        users = [gevent.spawn(transport.exchange, bytes(12_000_000), 60) for _ in range(2)]
        gevent.joinall(users[:1], timeout=30)
        assert users[0].value == b"3"
        assert not users[1].ready()
        go.set()
        gevent.joinall(users, timeout=60)
        assert users[1].value == b"5"
    finally:
        go.set()
        pool.close()
        listener.close()
        thread.join()
