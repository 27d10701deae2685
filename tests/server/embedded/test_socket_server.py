"""No client, whatever it does or leaves undone, keeps the server from others."""

import gc
import select
import socket
import struct
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from bench.server.embedded.base.status import Code, StartError, StatusError
from bench.server.embedded.grpc.protocol import GrpcProtocol
from bench.server.embedded.net.connection import Connection, ConnectionProtocol, SlowClients
from bench.server.embedded.net.connection_table import DEFAULT_LIMITS, ConnectionTable, SocketLimits
from bench.server.embedded.net.cpu_budget import ON_TRUST
from bench.server.embedded.net.http1 import Http1Protocol
from bench.server.embedded.net.http_message import Request, Response
from bench.server.embedded.net.listeners import listen_tcp
from bench.server.embedded.net.socket_server import FRONT_THREADS, SocketServer
from bench.serving.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    connection_preface,
    frame,
)
from bench.serving.http2.grpc_wire import framed
from bench.serving.http2.hpack import encode
from benchmarks.fuzz.crowd import deaf_requests

LARGE = b"x" * (8 << 20)
GET = b"GET /%b HTTP/1.1\r\n\r\n"
MAX_BODY = 1 << 20
THREADS = 2
UNKNOWN = 200
CALL = encode([(b":method", b"POST"), (b":path", b"/large"), (b"content-type", b"application/grpc")])
SMALL_CALL_HEADERS = frame(
    HEADERS,
    END_HEADERS,
    1,
    encode([(b":method", b"POST"), (b":path", b"/small"), (b"content-type", b"application/grpc")]),
)
SMALL_CALL = SMALL_CALL_HEADERS + frame(DATA, END_STREAM, 1, framed(b""))


def answer(request: Request) -> Response:
    if request.path == "/fault":
        raise ZeroDivisionError
    return Response(200, LARGE if request.path == "/large" else request.body or b"ok")


class LargeAnswers:
    """gRPC methods whose answers are large."""

    def knows(self, method: str) -> bool:
        return True

    def is_streaming(self, method: str) -> bool:
        return False

    def is_brief(self, method: str) -> bool:
        return False

    def closing_message(self, method: str) -> bytes:
        return b""

    def handle(self, method: str, message: bytes, caller: Any) -> bytes:
        return LARGE if method == "/large" else b"ok"


@contextmanager
def serving(
    limits: SocketLimits = DEFAULT_LIMITS,
    protocol: Any = None,
    threads: int = THREADS,
    front: Callable[[], None] = lambda: None,
) -> Iterator[tuple[SocketServer, Any]]:
    """A server, by default with two threads, and a function that connects to it."""
    listener = listen_tcp("127.0.0.1", 0, "port")
    address = listener.getsockname()
    make = protocol or (lambda connection: Http1Protocol(connection, answer, MAX_BODY))
    server = SocketServer("test", [listener], threads, make, limits, front)
    server.start()
    with ExitStack() as stack:

        def connect(data: bytes = b"") -> socket.socket:
            made = stack.enter_context(socket.create_connection(address, timeout=30))
            made.sendall(data)
            return made

        try:
            yield server, connect
        finally:
            stack.close()
            server.stop(10)


def ask(client: socket.socket, data: bytes = GET % b"") -> bytes:
    """The answer to a request, up to the end of its body."""
    client.sendall(data)
    return read_answer(client)


def read_answer(client: socket.socket) -> bytes:
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = bytearray()
    while len(body) < length:
        body += client.recv(length - len(body))
    return bytes(head.split(b"\r\n")[0] + b"\n" + body)


def rest_of(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            received += data
    return bytes(received)


def first_that_ends(clients: list[socket.socket]) -> bytes:
    """What came on the connection that the server closes first."""
    received = {client: bytearray() for client in clients}
    while readable := select.select(clients, [], [], 30)[0]:
        for client in readable:
            with suppress(ConnectionResetError):
                if data := client.recv(1 << 20):
                    received[client] += data
                    continue
            return bytes(received[client])
    raise AssertionError("the server closed none")


def read_until(client: socket.socket, part: bytes) -> None:
    received = b""
    while part not in received:
        more = client.recv(65536)
        assert more, "the server closed the connection"
        received += more


def test_an_address_of_no_interface_is_no_matter_of_ports() -> None:
    with pytest.raises(StartError, match=r"\); give an address of this machine with --bind_address$"):
        listen_tcp("192.0.2.1", 8500, "port")


def test_clients_that_do_not_read_hold_no_thread() -> None:
    with serving() as (_, connect):
        deaf = [connect((GET % b"large") * 3) for _ in range(4 * THREADS)]
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
        # One that reads late gets all of its answers.
        for _ in range(3):
            assert read_answer(deaf[0]).endswith(b"\n" + LARGE)
        assert ask(deaf[0]) == b"HTTP/1.1 200 OK\nok"


def test_clients_of_grpc_that_do_not_read_hold_no_thread() -> None:
    methods = LargeAnswers()
    call = frame(HEADERS, END_HEADERS, 1, CALL) + frame(DATA, END_STREAM, 1, framed(b""))
    with serving(protocol=lambda connection: GrpcProtocol(connection, methods)) as (_, connect):
        for _ in range(4 * THREADS):
            connect(PREFACE + connection_preface() + call)
        client = connect(PREFACE + connection_preface())
        client.sendall(SMALL_CALL)
        read_until(client, framed(b"ok"))


def test_a_flood_that_ends_in_a_violation_waits_for_the_end() -> None:
    """Else it could go on at once, on the next connection. It has its answer before."""
    flood, violation = frame(UNKNOWN, 0, 0, bytes(8)) * 5000, frame(DATA, 0, 1, b"of no stream")
    with serving(protocol=lambda connection: GrpcProtocol(connection, LargeAnswers())) as (_, connect):
        for data, least in ((flood + violation, 0.01), (violation, 0.0)):
            client = connect(PREFACE + connection_preface() + data)
            read_until(client, bytes([GOAWAY]))
            began = time.monotonic()
            assert rest_of(client) == b""
            assert time.monotonic() - began >= least


def watch_rests(server: SocketServer) -> list[bool]:
    """Whether each turn of a connection was followed by a rest."""
    rested: list[bool] = []
    rest = server._rests.rest

    def watched(connection: Connection, spent: float, violated: bool = False) -> bool:
        rested.append(rest(connection, spent, violated))
        return rested[-1]

    server._rests.rest = watched  # type: ignore[method-assign]
    return rested


@pytest.mark.parametrize("part", [b"\n", b"1\r\nx\r\n"])
def test_a_body_that_is_nothing_but_its_frame_rests(part: bytes) -> None:
    begin = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as (server, connect):
        rested = watch_rests(server)
        client = connect(begin + part * 20_000)
        while not any(rested):
            threading.Event().wait(0.01)
        client.sendall(b"1\r\nx\r\n0\r\n\r\n")
        assert read_answer(client).startswith(b"HTTP/1.1 200 OK")


def test_a_request_and_its_bytes_earn_time_once() -> None:
    connection: Any = SimpleNamespace(unsent=0)
    protocol = Http1Protocol(connection, answer, MAX_BODY)
    protocol.received(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + bytes(900_000))
    bytes_alone = protocol.earned()
    assert bytes_alone == pytest.approx(0.018, rel=0.01)
    assert protocol.earned() == 0
    protocol.received(bytes(100_000))
    assert protocol.earned() == pytest.approx(0.002 + 0.0002)


def test_a_large_request_earns_time_once_it_is_complete() -> None:
    """One that never ends asks for nothing."""
    connection: Any = SimpleNamespace(unsent=0, send=lambda _: None, owed_since=None)
    rest = Http1Protocol(connection, answer, 3 << 20)
    rest.received(b"POST / HTTP/1.1\r\nContent-Length: 3145728\r\n\r\n" + bytes(2 << 20))
    assert rest.earned() == pytest.approx(ON_TRUST * 2e-8)
    rest.received(bytes((1 << 20) - 1))
    assert rest.earned() == 0
    rest.received(b"\0" + GET[:9])
    assert rest.earned() == pytest.approx(2 * ON_TRUST * 2e-8 + 2e-4, rel=0.01)

    grpc = GrpcProtocol(connection, LargeAnswers())
    part = frame(DATA, 0, 1, bytes(1 << 14))
    grpc.received(PREFACE + connection_preface() + frame(HEADERS, END_HEADERS, 1, CALL) + part * 128)
    assert grpc.earned() == pytest.approx(ON_TRUST * 5e-9)
    grpc.received(frame(DATA, END_STREAM, 1, b"x"))
    assert grpc.earned() == pytest.approx(ON_TRUST * 5e-9 + 5e-5, rel=0.01)
    # One that is reset is not complete.
    grpc.received(frame(HEADERS, END_HEADERS, 3, CALL) + part.replace(bytes([1]), bytes([3])) * 128)
    assert grpc.earned() == pytest.approx(ON_TRUST * 5e-9)
    grpc.received(frame(RST_STREAM, 0, 3, bytes(4)))
    assert grpc.earned() == 0


def test_a_large_request_rests_while_it_comes_and_is_answered() -> None:
    message = framed(bytes(32 << 20))
    parts = [frame(DATA, 0, 1, message[begin : begin + (1 << 14)]) for begin in range(0, len(message), 1 << 14)]
    with serving(protocol=lambda connection: GrpcProtocol(connection, LargeAnswers())) as (server, connect):
        rested = watch_rests(server)
        client = connect(PREFACE + connection_preface() + SMALL_CALL_HEADERS)
        for part in parts:
            client.sendall(part)
        while not any(rested):
            threading.Event().wait(0.01)
        client.sendall(frame(DATA, END_STREAM, 1, b""))
        read_until(client, framed(b"ok"))


def test_a_flood_rests_and_its_call_is_answered() -> None:
    flood = frame(UNKNOWN, 0, 0, bytes(8)) * 3000
    with serving(protocol=lambda connection: GrpcProtocol(connection, LargeAnswers())) as (server, connect):
        rested = watch_rests(server)
        client = connect(PREFACE + connection_preface() + flood)
        while not any(rested):
            threading.Event().wait(0.01)
        client.sendall(SMALL_CALL)
        read_until(client, framed(b"ok"))


def test_all_threads_run_jobs_at_a_time_and_the_front_ones_are_told() -> None:
    threads = FRONT_THREADS + 2
    together, told = threading.Barrier(threads), set()

    def front() -> None:
        told.add(threading.current_thread().name)

    def wait_for_all(request: Request) -> Response:
        together.wait(60)
        return Response(200, b"ok")

    def make(connection: Connection) -> ConnectionProtocol:
        return Http1Protocol(connection, wait_for_all, MAX_BODY)

    with serving(protocol=make, threads=threads, front=front) as (_, connect):
        # Again, when the threads of the reserve have stood by.
        for _ in range(3):
            clients = [connect(GET % b"") for _ in range(threads)]
            for client in clients:
                assert read_answer(client) == b"HTTP/1.1 200 OK\nok"
    assert told == {f"test_{number}" for number in range(FRONT_THREADS)}


def test_clients_that_do_not_finish_hold_no_thread() -> None:
    unfinished = (b"", b"G", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", b"GET / HTTP/1.1\r\n")
    with serving() as (_, connect):
        for data in unfinished * THREADS:
            connect(data)
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"


def test_answers_that_nobody_takes_are_limited_too() -> None:
    """Of requests so small that they do not count themselves; at once, and not only once they are stuck."""
    with serving(SocketLimits(held_bytes=1 << 20, stuck_seconds=600)) as (server, connect):
        clients = [connect(GET % b"large") for _ in range(8)]
        for client in clients:
            # Until then the server may not have accepted it.
            with suppress(ConnectionResetError):
                client.recv(1, socket.MSG_PEEK)
        for _ in range(2000):
            if not server._connections.all():
                break
            threading.Event().wait(0.01)
        assert server._connections.all() == []
        assert all(len(rest_of(client)) < len(LARGE) for client in clients)
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"


def test_frames_that_are_not_complete_are_limited_too() -> None:
    begun = struct.pack(">BHBBI", 16, 0, DATA, 0, 1) + bytes(600_000)
    limits = SocketLimits(held_bytes=1 << 20)
    with serving(limits, lambda connection: GrpcProtocol(connection, LargeAnswers())) as (_, connect):
        clients = [connect(PREFACE + connection_preface() + begun) for _ in range(2)]
        # Whichever the server has read from last.
        assert bytes([GOAWAY]) in first_that_ends(clients)


@pytest.mark.parametrize("grpc", [False, True])
def test_what_a_closed_connection_held_is_freed_at_once(grpc: bool) -> None:
    """What refers to each other waits for the collector, which may come after gigabytes."""
    made: list[weakref.ref[Any]] = []

    def protocol(connection: Connection) -> ConnectionProtocol:
        one = GrpcProtocol(connection, LargeAnswers()) if grpc else Http1Protocol(connection, answer, MAX_BODY)
        made.append(weakref.ref(one))
        return one

    gc.collect()
    gc.disable()
    try:
        with serving(protocol=protocol) as (_, connect):
            if grpc:
                # No window for the answer.
                client = connect(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, CALL))
                client.sendall(frame(DATA, END_STREAM, 1, framed(b"")))
                read_until(client, frame(DATA, 0, 1, LARGE[:100])[9:])
            else:
                client = connect(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
                assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
            client.shutdown(socket.SHUT_RDWR)
            for _ in range(2000):
                if made[0]() is None:
                    break
                threading.Event().wait(0.005)
            assert made[0]() is None
    finally:
        gc.enable()


def test_a_call_that_failed_leaves_nothing() -> None:
    """Its error held the frames that held the error, and these the request."""
    left: list[weakref.ref[Any]] = []

    class Failing(LargeAnswers):
        def handle(self, method: str, message: bytes, caller: Any) -> bytes:
            request = {message}
            left.append(weakref.ref(request))
            raise StatusError(Code.INVALID_ARGUMENT, "no")

    gc.collect()
    gc.disable()
    try:
        with serving(protocol=lambda connection: GrpcProtocol(connection, Failing())) as (_, connect):
            read_until(connect(PREFACE + connection_preface() + SMALL_CALL), b"no")
            for _ in range(2000):
                if left[0]() is None:
                    break
                threading.Event().wait(0.005)
            assert left[0]() is None
    finally:
        gc.enable()


def test_a_client_that_goes_before_its_100_continue_leaves_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    asks = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    with serving() as (server, connect):
        for _ in range(20):
            client = connect(GET % b"" + asks)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
        while len(server._connections.all()) > 1:
            threading.Event().wait(0.01)
    assert capfd.readouterr().err == ""


def test_what_a_connection_holds_is_counted_while_no_other_thread_counts() -> None:
    """Else an older sum could replace a newer one, and stay."""
    table = ConnectionTable(DEFAULT_LIMITS)

    class Counted:
        number, counted = 1, 0

        @property
        def protocol(self) -> "Counted":
            return self

        def held(self) -> int:
            assert table._lock.locked()
            return 1 << 20

    connection: Any = Counted()
    table.add(connection, lambda: None)
    table.count(connection)
    assert connection.counted == 1 << 20


def test_the_end_does_not_wait_for_clients_that_do_not_read() -> None:
    with serving(SocketLimits(stuck_seconds_at_stop=0.1)) as (server, connect):
        deaf = connect(GET % b"large")
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
        stopper = threading.Thread(target=server.stop, args=(120,))
        stopper.start()
        stopper.join(60)
        assert not stopper.is_alive()
        assert len(rest_of(deaf)) < len(LARGE)


def test_a_client_that_takes_nothing_is_closed_after_a_while() -> None:
    with serving(SocketLimits(stuck_seconds=0.1)) as (server, connect):
        deaf = connect(GET % b"large")
        while not (known := server._connections.all()) or not known[0].unsent:
            threading.Event().wait(0.01)
        while server._connections.all():
            threading.Event().wait(0.01)
        assert len(rest_of(deaf)) < len(LARGE)


def test_a_client_that_opens_no_window_is_closed_after_a_while() -> None:
    methods = LargeAnswers()
    closed = frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0")
    call = frame(HEADERS, END_HEADERS, 1, CALL) + frame(DATA, END_STREAM, 1, framed(b""))
    limits = SocketLimits(stuck_seconds=0.1)
    with serving(limits, lambda connection: GrpcProtocol(connection, methods)) as (_, connect):
        assert len(rest_of(connect(PREFACE + closed + call))) < 1000


@pytest.mark.parametrize("grpc", [True, False])
def test_a_crowd_leaves_the_server_with_output(grpc: bool) -> None:
    methods, most = LargeAnswers(), 2 << 20

    def protocol(connection: Connection) -> ConnectionProtocol:
        return GrpcProtocol(connection, methods) if grpc else Http1Protocol(connection, answer, most)

    with serving(protocol=protocol) as (server, connect):
        client = connect()
        # It connects before the server takes the connection.
        while not (known := server._connections.all()):
            threading.Event().wait(0.01)
        client.sendall(deaf_requests(grpc))
        while not any(one.unsent or one.owed_since is not None for one in known):
            threading.Event().wait(0.01)
            known = server._connections.all()
            assert known, "the server closed the connection"


def test_a_fault_ends_one_connection_and_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as (_, connect):
        for _ in range(2 * THREADS):
            assert rest_of(connect(GET % b"fault")) == b""
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
    assert capsys.readouterr().err.count("Traceback") == 2 * THREADS


def test_a_fault_of_a_protocol_ends_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    class Faulty(Http1Protocol):
        def received(self, data: bytes) -> Any:
            if data == b"fault":
                raise MemoryError
            return super().received(data)

    with serving(protocol=lambda connection: Faulty(connection, answer, MAX_BODY)) as (_, connect):
        for _ in range(2 * THREADS):
            assert rest_of(connect(b"fault")) == b""
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
    assert "MemoryError" in capsys.readouterr().err


def test_a_connection_that_cannot_be_taken_up_keeps_no_other_out(capsys: pytest.CaptureFixture[str]) -> None:
    faults = [MemoryError]

    def protocol(connection: Connection) -> ConnectionProtocol:
        if faults:
            raise faults.pop()
        return Http1Protocol(connection, answer, MAX_BODY)

    with serving(protocol=protocol) as (_, connect):
        assert rest_of(connect()) == b""
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
    assert "MemoryError" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["busy", "paused", "resting"])
def test_a_late_event_of_a_closed_connection_gives_no_other_with_its_number(state: str) -> None:
    """Two threads read that one, and mixed up its bytes."""
    table = ConnectionTable(DEFAULT_LIMITS)
    newer: Any = SimpleNamespace(number=7, busy=False, paused=False, resting=False)
    table.add(newer, lambda: None)
    assert table.reserve(7) is newer
    newer.busy = False
    setattr(newer, state, True)
    assert table.reserve(7) is None


def test_output_of_a_connection_that_is_closed_takes_the_place_of_no_other() -> None:
    slow = SlowClients("test", lambda _: None, lambda _: None, lambda: None, 30)
    with ExitStack() as stack:
        ours, _ = (stack.enter_context(end) for end in socket.socketpair())
        ours.setblocking(False)
        closed = Connection(ours, slow)
        closed.protocol = SimpleNamespace(closed=lambda: None)
        closed.close()
        slow.add(closed)
        assert not slow._connections


def test_a_new_connection_closes_the_one_unused_the_longest() -> None:
    with serving(SocketLimits(connections=2)) as (_, connect):
        first, second = connect(), connect()
        for client in (first, second, first):
            assert ask(client) == b"HTTP/1.1 200 OK\nok"
        third = connect()
        assert ask(third) == b"HTTP/1.1 200 OK\nok"
        assert rest_of(second) == b""
        assert ask(first) == b"HTTP/1.1 200 OK\nok"


@pytest.mark.parametrize(
    "request_head",
    [b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY + 1)],
)
def test_a_body_above_the_limit_is_refused_before_it_comes(request_head: bytes) -> None:
    with serving() as (_, connect):
        page = rest_of(connect(b"POST / HTTP/1.1\r\n" + request_head))
        assert page.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
        body = b"a" * MAX_BODY
        sent = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
        assert ask(connect(), sent + body) == b"HTTP/1.1 200 OK\n" + body


def test_the_bytes_of_all_requests_are_limited() -> None:
    head, part = b"POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n", b"a" * 300_000
    with serving(SocketLimits(held_bytes=700_000)) as (server, connect):
        first, second = connect(head + part), connect(head + part)
        while server._connections._held < 600_000:
            threading.Event().wait(0.01)
        assert rest_of(connect(head + part)).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert ask(connect()) == b"HTTP/1.1 200 OK\nok"
        first.close()
        while server._connections._held > 400_000:
            threading.Event().wait(0.01)
        assert ask(connect(), head.replace(b"900000", b"300000") + part).endswith(part)
        second.close()
        while server._connections._held:
            threading.Event().wait(0.01)


def test_requests_sent_together_are_answered_in_their_order() -> None:
    with serving() as (_, connect):
        client = connect(b"".join(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n%03d" % place for place in range(100)))
        received = b""
        while received.count(b"\r\n\r\n") < 100:
            received += client.recv(65536)
        bodies = [part[:3] for part in received.split(b"\r\n\r\n")[1:]]
        assert bodies == [b"%03d" % place for place in range(100)]


@pytest.mark.parametrize(
    ("sent", "answers"), [(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 1), ((GET % b"large") * 2, 2)]
)
def test_a_client_that_sends_no_more_gets_its_answers(sent: bytes, answers: int) -> None:
    with serving() as (_, connect):
        client = connect(sent)
        client.shutdown(socket.SHUT_WR)
        assert rest_of(client).count(b"HTTP/1.1 200 OK") == answers
